"""From a config to the module that is trained."""

import torch

from trainer.config import TrainConfig
from trainer.model.config import ModelConfig
from trainer.tasks.masked_lm import MaskedLM
from trainer.tasks.task import Task


def build_task(config: TrainConfig, model_config: ModelConfig) -> Task:
    """The task of `config.task` on a new encoder of `model_config`."""
    return MaskedLM(model_config)


def task_flops(config: TrainConfig, model_config: ModelConfig) -> float:
    """Operations per token of training on rows of the config (`Task.flops_per_token`), without any memory."""
    with torch.device("meta"):
        task = build_task(config, model_config)
    return task.flops_per_token(config.data.sequence_length, config.data.mask_rate)
