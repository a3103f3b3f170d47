"""Peer: an exported directory in transformers, eager, with its own tokenizer. Needs torch and transformers alone.

Arguments: path, code (whether the directory's own modelling file may run: one that `siliang-trainer export` wrote).
"""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class Eager:
    def __init__(self, path: str, code: bool) -> None:
        transformers.logging.set_verbosity_error()
        self.tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=code)
        model = AutoModelForSequenceClassification.from_pretrained(path, trust_remote_code=code, dtype=torch.float32)
        self.model = model.eval()
        self.size = (Path(path) / "model.safetensors").stat().st_size

    @torch.inference_mode()
    def _logits(self, texts: list[str], length: int | None) -> torch.Tensor:
        longest = length or self.tokenizer.model_max_length
        rows = self.tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        return self.model(**rows).logits

    def logits(self, texts: list[str]) -> list[list[float]]:
        return self._logits(texts, None).tolist()

    def label(self, texts: list[str], length: int | None) -> list[str]:
        return [self.model.config.id2label[k] for k in self._logits(texts, length).argmax(-1).tolist()]


def load(arguments: dict[str, Any], threads: int) -> Eager:
    torch.set_num_threads(threads)
    return Eager(arguments["path"], arguments["code"])
