"""From a config to the module that is trained."""

from trainer.config import TrainConfig
from trainer.model.config import ModelConfig
from trainer.tasks.masked_lm import MaskedLM
from trainer.tasks.task import Task


def build_task(config: TrainConfig, model_config: ModelConfig) -> Task:
    """The task of `config.task` on a new encoder of `model_config`."""
    return MaskedLM(model_config)
