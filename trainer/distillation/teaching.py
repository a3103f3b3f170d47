"""What a run learns from beside its rows: a teacher that runs along, its stored logits, or neither."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from trainer.config import ConfigError, TrainConfig
from trainer.distillation.store import Store
from trainer.distillation.task import DistilledMaskedLM
from trainer.distillation.teacher import Teacher, load_teacher
from trainer.model.config import ModelConfig

if TYPE_CHECKING:
    from trainer.data.stream import Stream


class Teaching:
    """The teacher, or what is stored of it; both where the student is to start as layers of the former."""

    def __init__(
        self, config: TrainConfig, model: ModelConfig, data: dict[str, Any], stream: "Stream", fresh: bool
    ) -> None:
        """For a student of shape `model` on `data` (`trainer.resume.data_identity`); `fresh`: it has not begun.

        Raises ConfigError, CorpusError, RunError, CheckpointError.
        """
        self.settings = told = config.distillation
        self.teacher: Teacher | None = None
        self.store: Store | None = None
        if told.logits:
            self.store = Store(told.logits)
            self.store.check(stream, told, data["vocabulary"])
        if not told.logits or (fresh and told.layers):
            self.teacher = load_teacher(config, model, data)
            if self.store is not None and self.store.digest != self.teacher.digest:
                raise ConfigError("distillation.logits were stored by another teacher than distillation.teacher names")

    def task(self, model: ModelConfig) -> DistilledMaskedLM:
        """A fresh student. Raises ConfigError where its layers cannot be paired with the teacher's."""
        try:
            return DistilledMaskedLM(model, self.settings, self.teacher, self.store)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def start(self, model: ModelConfig) -> dict[str, Tensor]:
        """What the student's weights begin as, by name; empty for a fresh start. Raises ConfigError."""
        if self.teacher is None or not self.settings.layers:
            return {}
        return self.teacher.start(model, self.settings.layers)
