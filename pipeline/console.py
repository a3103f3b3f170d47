"""What the commands of `siliang-pipeline` share: JSON lines, the option --progress, and the end by Ctrl-C."""

import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from pipeline.progress import MODES, PLAIN_SECONDS, StageProgress

out = Console(highlight=False, markup=False, emoji=False)

_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]")
"""What JSON may leave as it is and a terminal obeys: DEL, the C1 controls, line separators, bidirectional controls."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT."""


class StoppedError(Exception):
    """Ctrl-C in a command whose work is kept; the message says what is kept."""


def _mode(value: str) -> str:
    if value not in MODES:
        raise typer.BadParameter(f"'{value}' is none of {', '.join(MODES)}")
    return value


ProgressMode = Annotated[
    str,
    typer.Option(
        "--progress",
        callback=_mode,
        help="How to show the work on stderr: auto (a bar on a terminal, else plain), plain (a line per interval), "
        "json (an object per interval), none.",
    ),
]
ProgressSeconds = Annotated[
    float, typer.Option("--progress-seconds", min=0.1, help="The interval of plain and json progress.")
]
SECONDS = PLAIN_SECONDS


@contextmanager
def stoppable(progress: StageProgress, output: str) -> Iterator[None]:
    """Raises StoppedError in place of KeyboardInterrupt, with what lies in `output` by then."""
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError(_kept(progress, output)) from None


def _kept(progress: StageProgress, output: str) -> str:
    running, finished = progress.meter, ", ".join(progress.finished)
    stages = f"the finished stages {finished}" if finished else ""
    if running is None:
        return f"stopped; {output} keeps {stages or 'what it held before'}"
    parts = f"{running.finished_parts:,} parts of this one"
    return f"stopped in {running.stage}; {output} keeps {' and '.join(filter(None, (stages, parts)))}"


def go_on(program: str, arguments: Sequence[str]) -> str:
    """The line that tells of the command to go on with."""
    return f"the same command goes on from there:\n  {program} {shlex.join(arguments)}"


def write_json(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        sys.stdout.write(_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", orjson.dumps(row).decode()) + "\n")
