"""The files of a fine-tuning, read and encoded before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.finetune.examples import Encoding, Example
from trainer.finetune.labels import LabelError, Labels, learn_labels
from trainer.finetune.table import Columns, Row, TableError, read_plain, read_rows
from trainer.sections.finetune import FinetuneConfig
from trainer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Files:
    """The labelled data, and texts without labels, of which a teacher tells something."""

    train: Path
    valid: Path
    columns: Columns
    test: Path | None = None
    """Scored once, with the weights that validation chose."""
    unlabelled: Sequence[Path] = ()
    """Tables whose labels are not read, or plain files with one text a line."""

    def named(self) -> dict[str, Path]:
        """The labelled ones."""
        return {"train": self.train, "valid": self.valid} | ({"test": self.test} if self.test else {})

    def every(self) -> dict[str, Path]:
        return self.named() | {f"unlabelled {number}": path for number, path in enumerate(self.unlabelled, 1)}


@dataclass(frozen=True)
class Data:
    """Examples by file."""

    labels: Labels
    examples: dict[str, list[Example]]
    cut: dict[str, int]
    """How many texts lost their end."""
    rows: list[Row]
    """Of the training examples, as they were read: first those with a label."""


def read_data(files: Files, config: FinetuneConfig, tokenizer: Tokenizer, longest: int) -> Data:
    """Raises TableError and LabelError, naming file and line."""
    if files.columns.label is None:
        raise TableError("fine-tuning needs a label column")
    rows = {name: list(read_rows(path, files.columns)) for name, path in files.named().items()}
    if empty := [name for name in rows if not rows[name]]:
        raise TableError(f"{files.named()[empty[0]]}: holds no example")
    labels = learn_labels(rows["train"], config.kind, config.labels)
    pair = files.columns.text_b is not None
    encoding = Encoding(tokenizer, config.kind, longest, pair, config.long == "refuse")
    examples = {name: [encoding.encode(row, labels) for row in part] for name, part in rows.items()}
    plain = [row for path in files.unlabelled for row in read_plain(path, files.columns)]
    examples["train"] += [encoding.encode(row) for row in plain]
    if config.kind == "tokens" and not any(example.at for example in examples["valid"]):
        raise LabelError(f"{files.valid}: every word was cut off")
    cut = {name: sum(e.cut for e in part) for name, part in examples.items()}
    return Data(labels, examples, cut, [*rows["train"], *plain])
