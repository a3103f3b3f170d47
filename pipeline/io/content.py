"""The content of a file, or of a member of an archive, to records: by the format that its name promises."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import IO

import pyarrow as pa

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError, check_expansion, decompress, open_raw, read_chunks
from pipeline.io.filesystem import is_url
from pipeline.io.formats.arrow import read_arrow
from pipeline.io.formats.csv import read_csv
from pipeline.io.formats.epub import read_epub
from pipeline.io.formats.html import read_html, read_xhtml
from pipeline.io.formats.json import read_json
from pipeline.io.formats.jsonl import read_jsonl
from pipeline.io.formats.mail import read_mail, read_mbox
from pipeline.io.formats.member import Member
from pipeline.io.formats.names import ARCHIVES, KNOWN, compression_of, format_of, hidden, unpacked_by_reader
from pipeline.io.formats.parquet import read_parquet
from pipeline.io.formats.record import Record, failed, quarantined
from pipeline.io.formats.sniff import sniff
from pipeline.io.formats.sqlite import read_sqlite
from pipeline.io.formats.tar import read_tar
from pipeline.io.formats.text import read_text
from pipeline.io.formats.tsv import read_tsv
from pipeline.io.formats.warc import read_warc
from pipeline.io.formats.wikiextractor import read_wikiextractor
from pipeline.io.formats.zip import read_zip

_STREAMING: dict[str, Callable[[Iterator[bytes], InputConfig], Iterator[Record]]] = {
    "text": read_text,
    "html": read_html,
    "xhtml": read_xhtml,
    "json": read_json,
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": read_tsv,
    "wikiextractor": read_wikiextractor,
    "mail": read_mail,
    "mbox": read_mbox,
    "warc": read_warc,
}


def read_content(path: str, kind: str | None, size: int, config: InputConfig) -> Iterator[Record]:
    """The records of a file in order, maybe none; `kind` is its format, or None if only its content tells.

    Raises ReadError where it cannot be opened or decompressed.
    """
    reader = _Reader(config, size)
    if kind is None or kind in _STREAMING or kind == "tar" or compression_of(path) is not None:
        with closing(read_chunks(path, size, config)) as stored:
            chunks: Iterator[bytes] = stored
            if kind is None:
                kind, chunks = sniff(chunks)  # list_inputs did the same; None: it has changed since
            if kind != "sqlite" or is_url(path) or compression_of(path) is not None:
                yield from reader.stream(kind or "wikiextractor", chunks, "", 1)
                return
        yield from reader.local(kind, path, "", 1)
        return
    with open_raw(path) as raw:
        if not is_url(path):
            yield from reader.local(kind, path, "", 1)
        elif kind in ("parquet", "zip", "epub"):
            yield from reader.seekable(kind, raw, "", 1)
        else:
            with closing(read_chunks(path, size, config)) as chunks:
                yield from reader.stream(kind, chunks, "", 1)


class _Reader:
    """Reads one file. `member` is the path of the archive inside of the file ("" the file itself), `depth` counts the
    archives from the file on."""

    def __init__(self, config: InputConfig, stored: int) -> None:
        self._config = config
        self._stored = stored or sys.maxsize  # some stores do not say
        self._produced = 0
        self._names: set[str] = set()
        self._exhausted: ReadError | None = None

    def stream(self, kind: str, chunks: Iterator[bytes], member: str, depth: int) -> Iterator[Record]:
        if kind in _STREAMING:
            yield from _STREAMING[kind](chunks, self._config)
        elif kind == "tar":
            yield from self._members(read_tar(chunks), member, depth)
        else:  # read from its end, or at any place
            with tempfile.NamedTemporaryFile() as whole:
                for chunk in chunks:
                    whole.write(chunk)
                whole.flush()
                yield from self.local(kind, whole.name, member, depth)

    def local(self, kind: str, path: str, member: str, depth: int) -> Iterator[Record]:
        if kind == "arrow":
            yield from read_arrow(path, self._config)
        elif kind == "sqlite":
            yield from read_sqlite(path, self._config)
        elif kind == "parquet":
            with pa.OSFile(path) as source:
                yield from read_parquet(source, self._config)
        else:
            with open(path, "rb") as source:
                yield from self.seekable(kind, source, member, depth)

    def seekable(self, kind: str, source: IO[bytes], member: str, depth: int) -> Iterator[Record]:
        if kind == "parquet":
            yield from read_parquet(source, self._config)
        else:
            members = (read_epub if kind == "epub" else read_zip)(source, self._config)
            yield from self._members(members, member, depth)

    def _members(self, members: Iterator[Member], archive: str, depth: int) -> Iterator[Record]:
        for member in members:
            name = f"{archive}/{member.name}" if archive else member.name
            end = self._end(member)
            if end is not None:
                yield failed(member.number, end, f"entry {member.number}, which is not read, nor are those behind it")
                return
            if not member.name:
                problem = member.problem or ReadError("corrupt_archive", "the entry has no usable name")
                yield _below(archive, failed(member.number, problem, f"entry {member.number}"))
            elif member.kind is None and hidden(member.name):
                continue
            elif name in self._names:
                detail = f"entry {member.number} has the name '{member.name}' of an earlier one, which is used"
                yield _below(archive, quarantined(member.number, "duplicate_member", detail))
            else:
                self._names.add(name)
                for record in self._member(member, name, depth):
                    yield _below(name, record, member.renamed)

    def _end(self, member: Member) -> ReadError | None:
        if self._exhausted is None and member.number > self._config.max_members:
            return ReadError("too_many_members", f"the archive has more than max_members = {self._config.max_members}")
        return self._exhausted

    def _member(self, member: Member, name: str, depth: int) -> Iterator[Record]:
        """At least one record, none of an error raised."""
        last = 0
        try:
            if member.problem is not None:
                raise member.problem
            for record in self._member_content(member, name, depth):
                last = record.position
                yield record
        except ReadError as error:
            last += 1
            yield failed(last, error)
        if not last:
            yield quarantined(1, "empty", "the member holds no record" if member.size else "the member is empty")

    def _member_content(self, member: Member, name: str, depth: int) -> Iterator[Record]:
        kind, compression = format_of(member.name), compression_of(member.name)
        if member.kind is not None:
            kind, compression = member.kind, None
        if kind in ARCHIVES and depth >= self._config.max_archive_depth:
            limit = f"max_archive_depth = {self._config.max_archive_depth}"
            raise ReadError("nested_archive", f"the member is an archive, nested deeper than {limit}")
        chunks = member.chunks
        if compression is not None and not unpacked_by_reader(member.name):
            chunks = decompress(chunks, compression, member.size, self._config)
        chunks = self._counted(chunks)
        if kind is None:
            kind, chunks = sniff(chunks)
        if kind is None:
            raise ReadError("unsupported_format", f"the format of the member is not known; known are {KNOWN}")
        for record in self.stream(kind, chunks, name, depth + 1):
            yield record._replace(media="html") if kind == "html" else record

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """An archive as a whole may not grow more than a compressed file: its entries may share their bytes."""
        for chunk in chunks:
            self._produced += len(chunk)
            try:
                check_expansion(self._produced, self._stored, self._config)
            except ReadError as error:
                self._exhausted = error
                raise
            yield chunk


def _below(member: str, record: Record, renamed: bool = False) -> Record:
    """The record as one of a member; what stands in an archive in the archive has its name already."""
    if record.member or not member:
        return record
    repairs = ("member_path", *record.repairs) if renamed else record.repairs
    return record._replace(member=member, repairs=repairs)
