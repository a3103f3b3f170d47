"""An early-exit classifier that `siliang-trainer quantise` wrote, at one speed.

Arguments: path, speed.
"""

from pathlib import Path
from typing import Any

import torch

from trainer.export.exit_directory import load_exits
from trainer.finetune.examples import Encoding, collate
from trainer.finetune.table import Row


class SmallExits:
    def __init__(self, path: Path, speed: float) -> None:
        self.loaded, self.speed = load_exits(path), speed
        self.size = sum(file.stat().st_size for file in path.glob("*.onnx"))

    def label(self, texts: list[str], length: int | None) -> list[str]:
        head, longest = self.loaded.head, self.loaded.config.max_length
        encoding = Encoding(self.loaded.tokenizer, head.kind, min(length or head.max_length, longest), head.pair, False)
        examples = [encoding.encode(Row("text", text)) for text in texts]
        batch = collate(examples, range(len(examples)), longest)
        logits, _ = self.loaded.answer(batch.tokens_BT.numpy(), batch.segments_BT.numpy(), self.speed)
        return [head.labels[k] for k in logits.argmax(-1).tolist()]


def load(arguments: dict[str, Any], threads: int) -> SmallExits:
    torch.set_num_threads(threads)
    return SmallExits(Path(arguments["path"]), arguments["speed"])
