"""A classifier that ONNX Runtime computes, for `predict`."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from trainer.checkpoint import CheckpointError
from trainer.export.onnx_directory import OnnxDirectory, read_described, session_of
from trainer.export.source import ExportError
from trainer.finetune.directory import Head
from trainer.finetune.examples import Example, collate, scoring_batches
from trainer.finetune.prediction import BATCH_TOKENS
from trainer.tokenizer import Tokenizer


class OnnxClassifier(BaseModel):
    """Ready to predict."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    session: Any
    tokenizer: Tokenizer
    head: Head
    longest: int
    """Positions of a row, at most."""

    def logits(self, examples: Sequence[Example], numbers: Iterable[int]) -> NDArray[np.float32]:
        """Of the examples `numbers` in one batch: [B, outputs], of words [B, T, outputs]. Raises as `answer`."""
        batch = collate(examples, numbers, self.longest)
        fed = {"input_ids": batch.tokens_BT.numpy(), "attention_mask": batch.segments_BT.numpy()}
        (found,) = self.session.run(["logits"], fed)
        if not np.isfinite(found).all():
            raise CheckpointError("model.onnx: answers with numbers that are not finite; export it again")
        return found

    def answer(self, examples: Sequence[Example]) -> Iterator[tuple[NDArray[np.float32], dict[str, Any]]]:
        """(logits [predictions, outputs], {}) of each example, in order. Raises CheckpointError for numbers that are
        not finite."""
        logits: list[Any] = [None] * len(examples)
        for numbers in scoring_batches(examples, BATCH_TOKENS):
            found = self.logits(examples, numbers)
            for row, k in enumerate(numbers):
                logits[k] = found[row, examples[k].at] if found.ndim == 3 else found[row : row + 1]
        for row_ in logits:
            yield row_, {}


def load_onnx(path: str | Path) -> OnnxClassifier:
    """Raises RunError, CheckpointError, TokenizerError where it is damaged, ExportError for a masked LM."""
    described, tokenizer = read_described(path)
    head = described.classification
    if head is None:
        raise ExportError(f"{path}: is a masked LM, no classifier")
    session = session_of(OnnxDirectory(path).onnx.read_bytes(), torch.get_num_threads())
    outputs = {output.name: output.shape for output in session.get_outputs()}
    if "logits" not in outputs or outputs["logits"][-1] != head.meaning().outputs:
        raise CheckpointError(f"{path}: model.onnx has not the outputs that model.json describes")
    return OnnxClassifier(session=session, tokenizer=tokenizer, head=head, longest=described.config.max_length)
