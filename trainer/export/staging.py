"""A directory that appears whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.run import RunInUseError


def check_empty(output: str | Path) -> None:
    """Raises RunInUseError where something is there."""
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise RunInUseError(f"{output}: is a file; name another --output")
    if output.exists() and any(output.iterdir()):
        raise RunInUseError(f"{output}: is not empty; name another --output, or empty it first")


@contextmanager
def staged(output: str | Path) -> Iterator[Path]:
    """A directory to write into, renamed to `output` at the end of the block; removed where the block raises.

    Raises RunInUseError where `output` holds something, OSError.
    """
    output = Path(output)
    check_empty(output)
    beside = output.absolute().with_name(f".{output.absolute().name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        for path in sorted(p for p in beside.rglob("*") if p.is_file()):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        if output.exists():
            output.rmdir()
        os.replace(beside, output)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
