"""The INPUT arguments to a sorted list of files: what will be read, under which name, from which source."""

import errno
import glob
import itertools
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
from fsspec.utils import glob_translate

from pipeline.config import InputConfig
from pipeline.io.datasets import CARD_BYTES, describing
from pipeline.io.decompress import ReadError, open_raw, read_chunks
from pipeline.io.filesystem import is_url
from pipeline.io.formats.names import ARCHIVES, basename, chosen_format, format_of, hidden, stem
from pipeline.io.formats.sniff import sniff

_NAMED = re.compile(r"([^/\\:=*?\[\]]+)=(.+)", re.S)
_MAGIC = re.compile(r"[*?\[]")


class InputError(ValueError):
    """An INPUT that cannot be used, in one line for the user."""


class Span(NamedTuple):
    """A range of a file's bytes that begins and ends between lines."""

    start: int
    end: int
    line: int
    """Number of the first line."""


@dataclass(frozen=True)
class InputFile:
    path: str
    """Absolute local path, or fsspec URL."""
    relative: str
    """Name in the run: forward slashes, valid Unicode, unique."""
    source: str
    """The INPUT's name; of a single one without NAME= the first directory below it."""
    size: int
    """Stored bytes, of the span if there is one; 0 where a problem hides them."""
    problem: str | None = None
    """`unsupported_format`, `unreadable` or `link_loop`: gives one quarantined record."""
    span: Span | None = None
    """The part that is meant; None: the whole file."""


@dataclass(frozen=True)
class _Input:
    argument: str
    path: str
    name: str
    named: bool
    """Written NAME=PATH."""
    pattern: bool

    @property
    def root(self) -> str:
        """Of a pattern: the directory in front of its first component with a wildcard."""
        parts = self.path.split("/")
        fixed = next((i for i, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
        return "/".join(parts[:fixed]) or "/"


@dataclass(frozen=True)
class _Found:
    """A file, or a directory with a problem."""

    path: str
    relative: str
    """To the root of its INPUT."""
    size: int = 0
    problem: str | None = None


def name_of(argument: str) -> str | None:
    """The NAME of an INPUT that is written NAME=PATH. Raises InputError."""
    entry = _parse(argument)
    return entry.name if entry.named else None


def list_inputs(
    inputs: Sequence[str], formats: Mapping[str, str] | None = None, several: bool = False
) -> list[InputFile]:
    """The files of all INPUTs, sorted by the bytes of `relative`, whatever the order of INPUTs and directories.

    An INPUT is a file, a directory or a glob pattern, local or an fsspec URL, or NAME= before one of these (an existing
    file whose name holds "=" is a file). Below an INPUT, names that begin with "." or "_" are ignored.
    `formats` are patterns over `relative` that name a format, see InputConfig. `several`: name the files as if there
    were more INPUTs than these. Raises InputError.
    """
    if not inputs:
        raise InputError("no INPUT given: give a file, a directory, a pattern or NAME=PATH")
    parsed = [_parse(argument) for argument in inputs]
    arguments: dict[str, str] = {}
    for entry in parsed:
        if entry.name in arguments:
            both = f"{arguments[entry.name]} and {entry.argument}"
            raise InputError(f"two INPUTs are called '{entry.name}': {both}; write NAME=PATH for one of them")
        arguments[entry.name] = entry.argument
    files = [file for entry in parsed for file in _list(entry, several or len(parsed) > 1, formats or {})]
    files.sort(key=lambda file: file.relative.encode())
    for one, two in itertools.pairwise(files):
        if one.relative == two.relative:
            raise InputError(f"two input files are called '{one.relative}': {one.path!r} and {two.path!r}")
    _check_archives(files, formats or {})
    return files


def _check_archives(files: Sequence[InputFile], formats: Mapping[str, str]) -> None:
    """Members of the archive `a.tar` are called `a.tar/...`: in an object store files may be called so too."""
    archives = {f.relative for f in files if chosen_format(f.relative, f.path, formats) in ARCHIVES}
    for file in files if archives else ():
        for parent in itertools.accumulate(file.relative.split("/")[:-1], lambda left, right: f"{left}/{right}"):
            if parent in archives:
                raise InputError(f"'{file.relative}' could be a member of the archive '{parent}': rename one of them")


def outside(files: Sequence[InputFile], directory: str) -> list[InputFile]:
    """The files that do not lie in `directory`, whichever links lead there."""
    if is_url(directory):
        return [file for file in files if not file.path.startswith(directory.rstrip("/") + "/")]
    root = os.path.realpath(os.path.expanduser(directory))
    inside: dict[str, bool] = {}
    for file in files:
        parent = os.path.dirname(file.path)
        if parent not in inside:
            real = os.path.realpath(parent)
            inside[parent] = not is_url(file.path) and os.path.commonpath([real, root]) == root
    return [file for file in files if not inside[os.path.dirname(file.path)]]


def _parse(argument: str) -> _Input:
    named = _NAMED.fullmatch(argument)
    path = named[2] if named and not os.path.lexists(argument) else argument
    name = named[1] if named and path != argument else ""
    path = path.removeprefix("file://")
    if not path:
        raise InputError(f"'{argument}' is no INPUT: the path is empty")
    if not is_url(path):
        path = os.path.abspath(os.path.expanduser(path))
    pattern = _MAGIC.search(path) is not None and (is_url(path) or not os.path.lexists(path))
    entry = _Input(argument, path, "", bool(name), pattern)
    last = basename(entry.root if pattern else path).rstrip(":") or "root"
    return _Input(argument, path, _unicode(name or last), bool(name), pattern)


def _unicode(name: str) -> str:
    """File names that are not UTF-8 get their odd bytes spelt as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _list(entry: _Input, several: bool, formats: Mapping[str, str]) -> Iterator[InputFile]:
    found = {item.path: item for item in (_list_url(entry) if is_url(entry.path) else _list_local(entry))}
    if not found:
        raise InputError(f"{entry.argument}: no files there (names that begin with '.' or '_' are ignored)")
    if entry.path not in found:  # a file that is named itself is meant
        found = _without_metadata(found)
    for item in found.values():
        relative = _unicode(item.relative)
        first, _, rest = relative.partition("/")
        whole = item.path == entry.path  # the INPUT is this file
        own = entry.name if entry.named or not whole else stem(entry.name)
        # Whoever gives several INPUTs, or names one, has told the sources apart; else the first directories do.
        source = own if several or entry.named or not rest else first
        if several and (entry.named or not whole):
            relative = f"{entry.name}/{relative}"
        problem = item.problem
        if problem is None and chosen_format(relative, item.path, formats) is None and not _sniff(item):
            problem = "unsupported_format"
        yield InputFile(item.path, relative, source, item.size, problem)


def _without_metadata(found: Mapping[str, _Found]) -> dict[str, _Found]:
    """Without what describes a dataset, and what SQLite keeps beside a database."""
    paths = {item.relative: item.path for item in found.values() if item.problem is None}

    def head(relative: str) -> bytes:
        try:
            with open_raw(paths[relative]) as raw:
                return raw.read(CARD_BYTES)
        except ReadError:
            return b""

    ignored = describing(paths, head)
    for relative in paths:
        database, dash, kept = relative.rpartition("-")
        if dash and kept in ("wal", "shm", "journal") and format_of(database) == "sqlite" and database in paths:
            ignored.add(relative)
    return {path: item for path, item in found.items() if item.relative not in ignored}


def _sniff(item: _Found) -> bool:
    with closing(read_chunks(item.path, item.size, InputConfig())) as chunks:
        return sniff(chunks)[0] is not None


def _list_local(entry: _Input) -> Iterator[_Found]:
    if not entry.pattern:
        if not os.path.lexists(entry.path):
            raise InputError(f"{entry.argument}: there is no such file or directory")
        if not os.path.isdir(entry.path):
            yield _local_file(entry.path, os.path.basename(entry.path))
            return
        if not os.access(entry.path, os.R_OK | os.X_OK):
            raise InputError(f"{entry.argument}: the directory cannot be read")
        yield from _walk(entry.path, "")
    elif "**" in entry.path:
        # Not glob: where links loop it visits every path up to 40 levels deep.
        wanted = re.compile(glob_translate(entry.path[len(entry.root.rstrip("/")) + 1 :]))
        for item in _walk(entry.root, ""):
            if item.problem == "link_loop" or wanted.match(item.relative):
                yield item
    else:
        for path in glob.glob(entry.path):
            relative = os.path.relpath(path, entry.root)
            if hidden(relative):
                continue
            if os.path.isdir(path):
                yield from _walk(path, relative)
            else:
                yield _local_file(path, relative)


def _local_file(path: str, relative: str) -> _Found:
    try:
        info = os.stat(path)
    except OSError as error:
        return _Found(path, relative, 0, "link_loop" if error.errno == errno.ELOOP else "unreadable")
    if not stat.S_ISREG(info.st_mode):  # a pipe or a device: opening it could wait for ever
        return _Found(path, relative, 0, "unsupported_format")
    return _Found(path, relative, info.st_size, None if os.access(path, os.R_OK) else "unreadable")


def _walk(root: str, relative: str) -> Iterator[_Found]:
    """Files below `root`. Real directories go first and linked ones after them, level by level, so that which path to
    a directory counts as its first does not depend on the order of names on disk."""
    real = Path(os.path.realpath(root))
    seen = {_identity(os.stat(parent)) for parent in real.parents}
    links = [(root, relative)]
    while links:
        level, links = sorted(links), []
        for linked in level:
            directories = [linked]
            while directories:
                directory, name = directories.pop()
                try:
                    identity = _identity(os.stat(directory))
                    if identity in seen:
                        yield _Found(directory, name, 0, "link_loop")
                        continue
                    seen.add(identity)
                    with os.scandir(directory) as entries:
                        children = sorted(entries, key=lambda child: child.name)
                except OSError:
                    yield _Found(directory, name, 0, "unreadable")
                    continue
                for child in children:
                    if hidden(child.name):
                        continue
                    below = f"{name}/{child.name}" if name else child.name
                    if not os.path.isdir(child.path):
                        yield _local_file(child.path, below)
                    elif child.is_symlink():
                        links.append((child.path, below))
                    else:
                        directories.append((child.path, below))


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _list_url(entry: _Input) -> Iterator[_Found]:
    try:
        fs, path = fsspec.url_to_fs(entry.path)
        if entry.pattern:
            matches = fs.glob(path, detail=True)
            root = fs._strip_protocol(entry.root)
        else:
            matches = {path: fs.info(path)}
            root = path if matches[path]["type"] == "directory" else path.rpartition("/")[0]
        files: dict[str, dict[str, Any]] = {}
        for name, info in matches.items():
            files.update(fs.find(name, detail=True) if info["type"] == "directory" else {name: info})
    except ImportError as error:
        raise InputError(f"{entry.argument}: its file system is not installed: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{entry.argument}: there is no such file or directory") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{entry.argument}: cannot be listed: {error}") from error
    for name, info in files.items():
        relative = name.removeprefix(root).strip("/")
        alone = not entry.pattern and name == path
        if info["type"] != "file" or not relative or (hidden(relative) and not alone):
            continue
        # The argument itself where it is the file, so that both spellings of a path are one.
        yield _Found(entry.path if alone else fs.unstrip_protocol(name), relative, int(info["size"] or 0))
