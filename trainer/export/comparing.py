"""What int8 costs: scores before and after, on labelled texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.any_classifier import open_classifier
from trainer.config import ConfigError
from trainer.finetune.classifier import scores_of
from trainer.finetune.examples import Encoding, Example
from trainer.finetune.prediction import Answer, Reader
from trainer.finetune.table import Columns, TableError, read_rows
from trainer.light.early_exit.wish import Wish


@dataclass(frozen=True)
class Labelled:
    """A classifier and texts to score it on."""

    reader: Reader
    answer: Answer
    examples: list[Example]


def read_labelled(path: str | Path, file: str | Path, columns: Columns) -> Labelled:
    """Raises ConfigError for columns that the classifier does not read, TableError, LabelError naming file and line,
    and what `open_classifier` raises."""
    reader, answer = open_classifier(path, Wish())
    head = reader.head
    if head.pair != (columns.text_b is not None):
        told = "pairs: add --text-b COL" if head.pair else "single texts: no --text-b"
        raise ConfigError(f"{path}: reads {told}")
    encoding = Encoding(reader.tokenizer, head.kind, head.max_length, head.pair, False)
    labels = head.meaning()
    examples = [encoding.encode(row, labels) for row in read_rows(file, columns)]
    if not any(example.at for example in examples):
        raise TableError(f"{file}: holds no example")
    return Labelled(reader, answer, examples)


def compare_scores(labelled: Labelled, quantised: str | Path) -> dict[str, Any]:
    """{'examples', 'fp32': scores, 'int8': scores, 'agreement': share of equal answers, None of values}; of early exits
    also 'layers', the means that they took."""
    head, examples = labelled.reader.head, labelled.examples
    labels = head.meaning()
    whole, layers = _run(labelled.answer, examples)
    int8, fewer = _run(open_classifier(quantised, Wish())[1], examples)
    agreement = None
    if head.kind == "regression":
        # Scores are of standardised values, as in training; the exported model answers with values.
        int8 = [(part - head.mean) / head.scale for part in int8]
    else:
        pairs = [(a.argmax(-1), b.argmax(-1)) for a, b in zip(whole, int8, strict=True)]
        agreement = sum(int((a == b).sum()) for a, b in pairs) / sum(len(a) for a, _ in pairs)
    found = {
        "examples": len(examples),
        "fp32": scores_of(whole, examples, labels),
        "int8": scores_of(int8, examples, labels),
        "agreement": agreement,
    }
    return found | ({"layers": {"fp32": layers, "int8": fewer}} if layers is not None else {})


def _run(answer: Answer, examples: list[Example]) -> tuple[list[NDArray[np.float32]], float | None]:
    """(logits, mean of the layers where they are told)."""
    answers = list(answer(examples))
    layers = [told["layers"] for _, told in answers if "layers" in told]
    return [logits for logits, _ in answers], sum(layers) / len(layers) if layers else None
