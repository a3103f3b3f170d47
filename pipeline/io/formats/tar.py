"""Tar archives (ustar, GNU, pax) as a stream of members, with bounded memory.

`tarfile` parses the headers. It does not read the archive: it trusts the sizes of name and pax records, which then come
into memory whole, seeks, and takes damage for the end.
"""

import tarfile
from collections.abc import Iterator

from pipeline.io.decompress import CHUNK, ChunkReader, ReadError
from pipeline.io.formats.member import Member, member_name

_BLOCK = tarfile.BLOCKSIZE
_NAMES = 1 << 16
"""Bytes of a long name or a pax header; PATH_MAX is 4096."""
_NO_RECORD = frozenset({tarfile.DIRTYPE, tarfile.XGLTYPE, b"V", b"M", b"D"})
"""Directories, pax headers for all members, GNU's volume labels, continued files and directory dumps."""


def read_tar(chunks: Iterator[bytes]) -> Iterator[Member]:
    """Members in stored order. Links, devices and sparse files have the problem `special_member`.

    Behind a damaged header the next sound one is looked for; blocks of zeros end the archive, but what stands behind
    them (archives put one behind the other) is read as well. Without an end mark it is cut off.
    """
    stream = ChunkReader(chunks)
    number, ended, lost = 0, False, False
    extended: dict[str, str] = {}  # from the headers in front of the member
    while True:
        at = stream.position
        try:
            block = _take(stream, _BLOCK)
            if not block and (ended or at == 0):
                return
            if not block and not lost:
                raise ReadError("truncated_stream", f"the archive ends at byte {at} without its end mark")
            if len(block) < _BLOCK:
                if lost or (ended and not block.strip(b"\0")):
                    return
                raise ReadError("truncated_stream", f"the archive is cut off within the header at byte {at}")
            if not block.strip(b"\0"):
                ended = True
                continue
            header = _header(block)
            if header is None:
                if not lost:
                    number, lost, ended = number + 1, True, False
                    detail = f"entry {number}: there is no tar header at byte {at}"
                    yield Member(number, "", problem=ReadError("corrupt_archive", detail))
                continue
            ended = lost = False
            if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                extended.update(_extended(_content(stream, header.size, at), header.type))
                continue
            size = int(extended.get("size", header.size))
            stored = extended.get("path", header.name)
            sparse = any(key.startswith("GNU.sparse.") for key in extended)
            extended = {}
            if header.type in _NO_RECORD or header.type == tarfile.GNUTYPE_LONGLINK:
                _skip(stream, size, at)
                continue
        except ReadError as error:
            yield Member(number + 1, "", problem=error)
            return
        number += 1
        name, renamed = member_name(stored)
        end = stream.position + -(-size // _BLOCK) * _BLOCK
        if header.type not in tarfile.REGULAR_TYPES or header.type == tarfile.GNUTYPE_SPARSE or sparse:
            problem = ReadError("special_member", f"the entry at byte {at} is {_kind(header, sparse)}")
            end = stream.position if header.islnk() or header.issym() else end
            yield Member(number, name, problem=problem, renamed=renamed)
        else:
            content = _Content(stream, size, at)
            yield Member(number, name, size, content.chunks(), renamed=renamed)
            if content.failed:
                return  # the reader of the member has said so
        try:
            _skip(stream, end - stream.position, at)
        except ReadError as error:
            yield Member(number + 1, "", problem=error)
            return


class _Content:
    def __init__(self, stream: ChunkReader, size: int, at: int) -> None:
        self._stream = stream
        self._left = size
        self._at = at
        self.failed = False

    def chunks(self) -> Iterator[bytes]:
        try:
            while self._left:
                chunk = self._stream.read(min(self._left, CHUNK))
                if not chunk:
                    raise _cut_off(self._at)
                self._left -= len(chunk)
                yield chunk
        except ReadError:
            self.failed = True
            raise


def _take(stream: ChunkReader, size: int) -> bytes:
    data = stream.read(size)
    while data and len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data


def _skip(stream: ChunkReader, size: int, at: int) -> None:
    while size > 0:
        skipped = len(stream.read(min(size, CHUNK)))
        if not skipped:
            raise _cut_off(at)
        size -= skipped


def _cut_off(at: int) -> ReadError:
    return ReadError("truncated_stream", f"the archive is cut off within the entry whose header is at byte {at}")


def _header(block: bytes) -> tarfile.TarInfo | None:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError):
        return None
    return header if header.size >= 0 else None


def _content(stream: ChunkReader, size: int, at: int) -> bytes:
    if size > _NAMES:
        raise ReadError("corrupt_archive", f"the name or pax header at byte {at} takes {size} bytes, over {_NAMES}")
    padded = -(-size // _BLOCK) * _BLOCK
    content = _take(stream, padded)
    if len(content) < padded:
        raise _cut_off(at)
    return content[:size]


def _extended(content: bytes, kind: bytes) -> dict[str, str]:
    """What a GNU long name or a pax header says. Raises ReadError `corrupt_archive`."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")}
    found = {}
    at = 0
    while at < len(content) and content[at]:  # records "LENGTH KEY=VALUE\n"
        digits, space, _ = content[at : at + 12].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = content[at + len(digits) + 1 : at + length - 1].partition(b"=")
        if not space or not equals or length <= len(digits) + 2:
            raise ReadError("corrupt_archive", "a pax header is damaged")
        found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at += length
    if "size" in found and not (found["size"].isascii() and found["size"].isdigit() and len(found["size"]) < 20):
        raise ReadError("corrupt_archive", "a pax header names a size that is no number")
    return found


def _kind(header: tarfile.TarInfo, sparse: bool) -> str:
    if header.islnk() or header.issym():
        return f"a link to '{member_name(header.linkname)[0][:200]}'; links are not followed"
    if header.isdev():
        return "a device or a pipe"
    if sparse or header.issparse():
        return "a sparse file"
    return f"of the unknown type {header.type!r}"
