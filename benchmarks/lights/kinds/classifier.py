"""A directory that `siliang-trainer finetune` (or distillation, or pruning) wrote, as `predict` would answer.

Arguments: path.
"""

from pathlib import Path
from typing import Any

import torch

from trainer.finetune.directory import Loaded, load_classifier
from trainer.finetune.examples import Encoding, Example, collate
from trainer.finetune.table import Row


def encode(loaded: Loaded, texts: list[str], length: int | None) -> list[Example]:
    longest = min(length or loaded.head.max_length, loaded.model.encoder.config.max_length)
    encoding = Encoding(loaded.tokenizer, loaded.head.kind, longest, loaded.head.pair, False)
    return [encoding.encode(Row("text", text)) for text in texts]


class Classifier:
    def __init__(self, path: Path) -> None:
        self.loaded = load_classifier(path)
        self.size = (path / "model.safetensors").stat().st_size

    @torch.inference_mode()
    def _logits(self, texts: list[str], length: int | None) -> torch.Tensor:
        examples = encode(self.loaded, texts, length)
        longest = self.loaded.model.encoder.config.max_length
        return self.loaded.model(collate(examples, range(len(examples)), longest, self.loaded.finder))[0]

    def logits(self, texts: list[str]) -> list[list[float]]:
        return self._logits(texts, None).tolist()

    def label(self, texts: list[str], length: int | None) -> list[str]:
        return [self.loaded.head.labels[k] for k in self._logits(texts, length).argmax(-1).tolist()]


def load(arguments: dict[str, Any], threads: int) -> Classifier:
    torch.set_num_threads(threads)
    return Classifier(Path(arguments["path"]))
