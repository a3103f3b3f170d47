"""A directory that is there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from pipeline.io.filesystem import is_url


class ExportError(ValueError):
    """An export that cannot be made as it was asked for; the message says what to do."""


@contextmanager
def whole_directory(output: str | Path) -> Iterator[Path]:
    """Gives a temporary directory beside `output`, which takes its name at the end; an error removes it.

    Raises ExportError where `output` is a file, a URL, or a directory that holds anything.
    """
    if is_url(str(output)):
        raise ExportError(f"{output}: exports are written to local directories; copy it there afterwards")
    target = Path(output).absolute()
    if target.is_dir():
        if any(target.iterdir()):
            raise ExportError(f"{output} is not empty; choose another --output, or empty this one")
    elif target.exists() or target.is_symlink():
        raise ExportError(f"{output} is no directory; choose another --output")
    temporary = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    try:  # before it is there: Ctrl-C may come at any place
        temporary.mkdir(parents=True)
        yield temporary
        if target.is_dir():
            target.rmdir()  # raises where something was written there meanwhile
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
