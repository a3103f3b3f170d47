"""The texts of an early exit, read and encoded before anything is written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from schemas.manifest import file_digest
from trainer.config import ConfigError
from trainer.finetune.directory import Loaded
from trainer.finetune.examples import Encoding, Example
from trainer.finetune.table import Columns, Row, TableError, read_plain, read_rows
from trainer.sections.early_exit import EarlyExitConfig


@dataclass(frozen=True)
class Texts:
    """The files."""

    columns: Columns
    """Of tables; without a label column speeds are judged by agreement with the fine-tuned model."""
    valid: Path
    """What branches' epochs and speeds are chosen by."""
    train: Path | None = None
    unlabelled: Sequence[Path] = ()
    """Tables whose labels are not read, or plain files with one text a line."""
    test: Path | None = None
    """Scored once, at the speed that was chosen."""


@dataclass
class Read:
    """Texts as pieces."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]
    cut: dict[str, int] = field(default_factory=dict)


def encoding_of(loaded: Loaded, config: EarlyExitConfig) -> Encoding:
    head = loaded.head
    return Encoding(loaded.tokenizer, head.kind, head.max_length, head.pair, config.long == "refuse")


def read_texts(texts: Texts, loaded: Loaded, config: EarlyExitConfig) -> Read:
    """All of it, before anything is written. Raises TableError, LabelError, ConfigError, naming file and line."""
    head, columns = loaded.head, texts.columns
    if (columns.text_b is not None) != head.pair:
        raise ConfigError(f"this classifier reads {'pairs: add --text-b COL' if head.pair else 'single texts'}")
    if texts.train is None and not texts.unlabelled:
        raise ConfigError("branches learn from texts: name --train FILE or --unlabelled FILE")
    if config.label_share and (columns.label is None or texts.train is None or texts.unlabelled):
        raise ConfigError("label_share needs labels of every text: --train FILE with --label COL, no --unlabelled")
    _check_apart(texts)
    encoding, labels = encoding_of(loaded, config), head.meaning()
    plain = Columns(columns.text, columns.text_b)

    def encode(rows: Iterable[Row], labelled: bool, path: Path) -> list[Example]:
        found = [encoding.encode(row, labels if labelled else None) for row in rows]
        if not found:
            raise TableError(f"{path}: holds no text")
        return found

    labelled = columns.label is not None
    judged = columns if labelled else plain
    read = Read([], encode(read_rows(texts.valid, judged), labelled, texts.valid), [])
    if texts.train is not None:
        taught = bool(config.label_share)
        read.train += encode(read_rows(texts.train, columns if taught else plain), taught, texts.train)
    for path in texts.unlabelled:
        read.train += encode(read_plain(path, columns), False, path)
    if texts.test is not None:
        read.test = encode(read_rows(texts.test, judged), labelled, texts.test)
    read.cut = {name: sum(e.cut for e in part) for name, part in vars(read).items() if name != "cut"}
    return read


def _check_apart(texts: Texts) -> None:
    """Raises TableError where a speed would be chosen by what was learnt, or judged by what it was chosen by."""
    try:
        files = (texts.train, *texts.unlabelled, texts.valid, texts.test)
        digests = {path: file_digest(path) for path in files if path}
    except OSError as error:
        raise TableError(f"{error.filename}: cannot be read ({error.strerror})") from error
    learnt = {digests[path] for path in (texts.train, *texts.unlabelled) if path}
    if digests[texts.valid] in learnt:
        raise TableError(f"{texts.valid}: holds what branches learn; --valid needs texts held out")
    if texts.test and digests[texts.test] in learnt | {digests[texts.valid]}:
        raise TableError(f"{texts.test}: is what was learnt or chosen by; --test needs texts of its own")
