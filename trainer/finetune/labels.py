"""Labels as numbers, and back: classes, values, or a class for each word."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.finetune.table import Row
from trainer.sections.finetune import Kind


class LabelError(ValueError):
    """A label that cannot be used. The message names file and line."""


@dataclass(frozen=True)
class Labels:
    """What a head's outputs mean."""

    kind: Kind
    names: tuple[str, ...] = ()
    """Classes by number; none for regression."""
    mean: float = 0.0
    scale: float = 1.0
    """Regression: the head predicts (value - mean) / scale, both of the training file."""

    @property
    def outputs(self) -> int:
        return len(self.names) or 1

    def encode(self, row: Row) -> list[float]:
        """One number, or one for each word. Raises LabelError."""
        if self.kind == "regression":
            return [(_value(row) - self.mean) / self.scale]
        number = {name: k for k, name in enumerate(self.names)}
        found = label_names(row, self.kind)
        for name in found:
            if name not in number:
                known = ", ".join(self.names[:12]) + (", ..." if len(self.names) > 12 else "")
                raise LabelError(f"{row.where}: label '{name}' was never seen in training; known: {known}")
        return [number[name] for name in found]


def label_names(row: Row, kind: Kind) -> list[str]:
    """The names of a row's classes. Raises LabelError where there are none or not one a word."""
    if kind != "tokens":
        if isinstance(row.label, list):
            raise LabelError(f"{row.where}: the label is a list; one class is wanted (kind = 'tokens' has one a word)")
        name = (row.label or "").strip()
        if not name:
            raise LabelError(f"{row.where}: no label")
        return [name]
    names = row.label if isinstance(row.label, list) else (row.label or "").split()
    words = words_of(row)
    if len(names) != len(words):
        raise LabelError(f"{row.where}: {len(names)} labels for {len(words)} words (both are separated by spaces)")
    return names


def words_of(row: Row) -> list[str]:
    """Words of a row of kind 'tokens'. Raises LabelError where there is none."""
    words = row.text if isinstance(row.text, list) else row.text.split()
    if not words or not all(word.strip() for word in words):
        raise LabelError(f"{row.where}: no words, or an empty one")
    return words


def _value(row: Row) -> float:
    try:
        value = float(row.label if isinstance(row.label, str) else "list")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabelError(f"{row.where}: label '{row.label}' is not a number")
    return value


def learn_labels(rows: Sequence[Row], kind: Kind, told: Sequence[str] | None = None) -> Labels:
    """Those of the training file. `told` are all classes there are; each needs an example.

    Raises LabelError for an unknown or empty class, or where all examples have the same label.
    """
    if not rows:
        raise LabelError("the training file holds no example")
    file = rows[0].where.rpartition(": line ")[0]
    if kind == "regression":
        values = np.array([_value(row) for row in rows])
        if values.std() == 0:
            raise LabelError(f"{file}: every label is {values[0]:g}; there is nothing to learn")
        return Labels(kind, (), float(values.mean()), float(values.std()))
    found = Counter(name for row in rows for name in label_names(row, kind))
    if told is not None:
        if empty := [name for name in told if not found[name]]:
            raise LabelError(f"{file}: class '{empty[0]}' has no training example")
        labels = Labels(kind, tuple(told))
        for row in rows:
            labels.encode(row)
        return labels
    if len(found) < 2:
        raise LabelError(f"{file}: every label is '{next(iter(found))}'; there is nothing to learn")
    return Labels(kind, tuple(sorted(found, key=_sort_key)))


def _sort_key(name: str) -> tuple[int, float, str]:
    """Numbers by value, before names."""
    try:
        value = float(name)
    except ValueError:
        return 1, 0.0, name
    return (0, value, name) if math.isfinite(value) else (1, 0.0, name)


def balanced_weights(encoded: Sequence[list[float]], classes: int) -> NDArray[np.float64]:
    """n / (classes * n_c) of each class: the mean weight of an example is 1."""
    counts = np.bincount([int(k) for labels in encoded for k in labels], minlength=classes)
    return counts.sum() / (classes * np.maximum(counts, 1))
