"""Zip archives: members in the order of the directory at the end of the file.

`zipfile` reads that directory and finds the members. Their content is decompressed here, in bounded pieces: the readers
of `zipfile` expand whole blocks of bzip2 and LZMA.
"""

import copy
import errno
import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, cast

from pipeline.config import InputConfig
from pipeline.io.decompress import CHUNK, ReadError, decompress, unreadable
from pipeline.io.formats.member import Member, member_name

_METHODS = {8: "deflate", 12: "bzip2", 93: "zstd", 95: "xz"}
_STORED = 0
_ENTRY = 128
"""Bytes of the directory for each allowed member: 46 and a name. `zipfile` holds the whole directory in memory."""
DAMAGE = (zipfile.BadZipFile, ValueError, LookupError, NotImplementedError, EOFError, OverflowError, MemoryError)
"""What `zipfile` raises on damaged archives."""


def read_zip(source: IO[bytes], config: InputConfig) -> Iterator[Member]:
    """Reads from a seekable file. Encrypted members have the problem `encrypted`, links `special_member`."""
    archive = open_zip(source, config)
    if not isinstance(archive, zipfile.ZipFile):
        yield from archive
        return
    for number, info in enumerate(archive.infolist(), 1):
        name, renamed = member_name(info.filename)
        if info.is_dir() or _kind(info) == stat.S_IFDIR:
            continue
        yield Member(number, name, info.compress_size, content_of(archive, info, config), problem_of(info), renamed)


def open_zip(source: IO[bytes], config: InputConfig) -> zipfile.ZipFile | list[Member]:
    """The archive, or what stands in its place: nothing, or one member with the problem."""
    if source.seek(0, io.SEEK_END) == 0:
        return []
    try:
        # Private, but as it is since Python 2: [.., entries on this disk, entries, directory size, ...] or None.
        end = zipfile._EndRecData(source)  # type: ignore[attr-defined]
        if end is not None and end[5] > max(CHUNK, config.max_members * _ENTRY):
            detail = f"the directory takes {end[5]} bytes, too many for max_members = {config.max_members}"
            return [Member(1, "", problem=ReadError("too_many_members", detail))]
        return zipfile.ZipFile(source)
    except DAMAGE as error:
        return [Member(1, "", problem=ReadError("corrupt_archive", f"no usable zip archive: {one_line(error)}"))]


def _kind(info: zipfile.ZipInfo) -> int:
    return stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0


def problem_of(info: zipfile.ZipInfo) -> ReadError | None:
    """Why the entry cannot be read, as far as the directory tells."""
    kind = _kind(info)
    if kind not in (0, stat.S_IFREG):
        what = "a link; links are not followed" if kind == stat.S_IFLNK else "a device or a pipe"
        return ReadError("special_member", f"the entry is {what}")
    if info.flag_bits & 0x1:
        return ReadError("encrypted", "the entry is encrypted")
    if info.compress_type != _STORED and info.compress_type not in _METHODS:
        known = "stored, deflate, bzip2, zstd and xz"
        detail = f"the entry is compressed with method {info.compress_type}; known are {known}"
        return ReadError("unsupported_format", detail)
    return None


def content_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo, config: InputConfig) -> Iterator[bytes]:
    """The entry's content, decompressed and checked. Raises ReadError."""
    stored = _stored(archive, info)
    if info.compress_type != _STORED:
        stored = decompress(stored, _METHODS[info.compress_type], info.compress_size, config)
    size = checksum = 0
    for chunk in stored:
        size += len(chunk)
        checksum = zlib.crc32(chunk, checksum)
        yield chunk
    if size != info.file_size or checksum != info.CRC:
        found = f"{size} bytes with CRC {checksum:08x} where the directory says {info.file_size} and {info.CRC:08x}"
        raise ReadError("corrupt_stream", f"the entry is damaged: {found}")


def _stored(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The entry's bytes as they are stored. Raises ReadError."""
    raw = copy.copy(info)
    raw.compress_type, raw.file_size = zipfile.ZIP_STORED, info.compress_size
    raw.CRC = cast(int, None)  # that of the content: `zipfile` checks none
    try:
        with archive.open(raw) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except EOFError as error:
        raise ReadError("truncated_stream", "the archive is cut off within the entry") from error
    except RuntimeError as error:
        raise ReadError("encrypted", one_line(error)) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: the directory points in front of the file
            raise unreadable(error) from error
        raise ReadError("corrupt_archive", "the entry lies outside of the archive") from error
    except DAMAGE as error:
        raise ReadError("corrupt_archive", f"the entry cannot be found: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
