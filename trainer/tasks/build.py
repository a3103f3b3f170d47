"""From a config to the module that is trained."""

import torch

from trainer.config import ConfigError, TrainConfig
from trainer.model.config import ModelConfig
from trainer.tasks.masked_lm import MaskedLM
from trainer.tasks.multiple_choice import MultipleChoice
from trainer.tasks.replaced_token import ReplacedToken
from trainer.tasks.task import Task


def build_task(config: TrainConfig, model_config: ModelConfig) -> Task:
    """The task of `config.task` on a new encoder of `model_config`. Raises ConfigError for a bad difficulty."""
    if config.task.kind == "masked-lm":
        return MaskedLM(model_config)
    kind = MultipleChoice if config.task.kind == "multiple-choice" else ReplacedToken
    try:
        return kind(model_config, config.task, config.system.seed, config.data.mask_rate)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def task_flops(config: TrainConfig, model_config: ModelConfig) -> float:
    """Operations per token of training on rows of the config (`Task.flops_per_token`), without any memory."""
    with torch.device("meta"):
        task = build_task(config, model_config)
    return task.flops_per_token(config.data.sequence_length, config.data.mask_rate)
