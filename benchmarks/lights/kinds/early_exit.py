"""A directory that `siliang-trainer compress early-exit` wrote, at one speed.

Arguments: path, speed.
"""

from pathlib import Path
from typing import Any

import torch

from benchmarks.lights.kinds.classifier import encode
from trainer.finetune.examples import collate
from trainer.light.early_exit.directory import load_early_exit
from trainer.light.early_exit.model import EarlyExitClassifier


class EarlyExit:
    def __init__(self, path: Path, speed: float) -> None:
        self.loaded, self.speed = load_early_exit(path), speed
        self.size = (path / "model.safetensors").stat().st_size

    @torch.inference_mode()
    def label(self, texts: list[str], length: int | None) -> list[str]:
        examples, model = encode(self.loaded, texts, length), self.loaded.model
        assert isinstance(model, EarlyExitClassifier)
        batch = collate(examples, range(len(examples)), model.encoder.config.max_length, self.loaded.finder)
        found = model.answer(batch, self.speed)
        return [self.loaded.head.labels[k] for k in found.logits_BK.argmax(-1).tolist()]


def load(arguments: dict[str, Any], threads: int) -> EarlyExit:
    torch.set_num_threads(threads)
    return EarlyExit(Path(arguments["path"]), arguments["speed"])
