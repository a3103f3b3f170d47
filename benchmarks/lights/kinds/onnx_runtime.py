"""A directory that `siliang-trainer quantise` or `export --format onnx` wrote, in ONNX Runtime.

Arguments: path.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.export.onnx_classifier import load_onnx
from trainer.finetune.examples import Encoding
from trainer.finetune.table import Row


class Exported:
    def __init__(self, path: Path) -> None:
        self.loaded = load_onnx(path)
        self.size = (path / "model.onnx").stat().st_size

    def _logits(self, texts: list[str], length: int | None) -> np.ndarray:
        head = self.loaded.head
        longest = min(length or head.max_length, self.loaded.longest)
        encoding = Encoding(self.loaded.tokenizer, head.kind, longest, head.pair, False)
        examples = [encoding.encode(Row("text", text)) for text in texts]
        # Of one batch, as the other kinds are measured.
        return self.loaded.logits(examples, range(len(examples)))

    def logits(self, texts: list[str]) -> list[list[float]]:
        return self._logits(texts, None).tolist()

    def label(self, texts: list[str], length: int | None) -> list[str]:
        return [self.loaded.head.labels[k] for k in self._logits(texts, length).argmax(-1).tolist()]


def load(arguments: dict[str, Any], threads: int) -> Exported:
    torch.set_num_threads(threads)
    return Exported(Path(arguments["path"]))
