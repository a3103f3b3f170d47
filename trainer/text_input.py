"""Texts that a command is given: lines of a file or of standard input, or a column of a table."""

import sys
from collections.abc import Iterator

from trainer.config import ConfigError
from trainer.finetune.table import Columns, Row, TableError, read_lines, read_rows

FORMATS = ("tsv", "csv", "jsonl")


def check_input(columns: Columns | None, input_format: str | None) -> None:
    """Raises ConfigError for options that do not go together."""
    if input_format not in (None, *FORMATS):
        raise ConfigError(f"--format {input_format}: allowed: {', '.join(FORMATS)}")
    if columns is None and input_format is not None:
        raise ConfigError("--format belongs to tables: add --text COL")


def read_input(
    file: str, columns: Columns | None = None, input_format: str | None = None, pair: bool = False
) -> Iterator[Row]:
    """Rows of a table, or lines of plain text (of a pair: with a tab between); '-' is standard input.

    Args:
        input_format: of a table whose name does not tell it.

    Raises:
        TableError: naming file and line.
    """
    name = "standard input" if file == "-" else file
    lines = sys.stdin.buffer if file == "-" else None
    if columns is None:
        yield from read_lines(name, pair, lines)
    elif lines is None and input_format:
        try:
            with open(file, "rb") as table:
                yield from read_rows(f"{name}.{input_format}", columns, table)
        except OSError as error:
            raise TableError(f"{file}: cannot be read ({error.strerror})") from error
    else:
        yield from read_rows(f"{name}.{input_format}" if input_format else name, columns, lines)
