"""A classifier of any form: as it was fine-tuned, with early exits, for ONNX Runtime, in int8."""

from collections.abc import Callable
from pathlib import Path

from trainer.config import ConfigError
from trainer.export import exit_directory
from trainer.export import onnx_directory as onnx
from trainer.export.onnx_classifier import load_onnx
from trainer.finetune.directory import load_classifier, task_of
from trainer.finetune.prediction import Answer, Reader, whole_model
from trainer.light.early_exit.calibration import machine
from trainer.light.early_exit.directory import TASK, load_early_exit
from trainer.light.early_exit.prediction import early
from trainer.light.early_exit.wish import Wish


def open_classifier(
    path: str | Path, wish: Wish, warn: Callable[[str], None] = lambda text: None
) -> tuple[Reader, Answer]:
    """By the task that model.json names.

    Raises ConfigError for a wish that this classifier cannot fulfil, RunError, CheckpointError, TokenizerError where it
    is damaged, ExportError where a package is missing.
    """
    task = task_of(path)
    if task == exit_directory.TASK:
        small = exit_directory.load_exits(path)
        if wish.latency is not None:
            raise ConfigError(f"{path}: its times are not measured in int8; --speed or --lose")
        return small, small.at(wish.choose(small.exits.calibration) if wish.named else small.exits.speed)
    if task == TASK:
        exits = load_early_exit(path)
        calibration = exits.exits.calibration
        if wish.latency is not None and machine() != calibration.machine:
            warn(f"times are of {calibration.machine}; `compress calibrate {path} ...` measures this machine")
        return exits, early(exits, wish.choose(calibration) if wish.named else exits.exits.speed)
    if wish.named:
        raise ConfigError(
            f"{path}: answers with all of its layers; `compress early-exit {path} ...` makes one with speeds"
        )
    if task == onnx.TASK:
        exported = load_onnx(path)
        return exported, exported.answer
    loaded = load_classifier(path)
    return loaded, whole_model(loaded)
