"""Raw files, plain or compressed, as a stream of byte chunks that ends with an error where the file does.

Apache Beam's own readers take a truncated .gz or .zst for a whole file, and need quadratic time for a .gz of many
members.
"""

import bz2
import errno
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import IO, Any, cast

import fsspec
import zstandard

from pipeline.config import InputConfig
from pipeline.io.filesystem import is_url
from pipeline.io.formats.names import compression_of, unpacked_by_reader

CHUNK = 1 << 20
ZSTD_SLICE = 512
"""Compressed bytes handed over at once. A zstd block of 4 bytes can hold 128 KiB: 512 bytes grow to 16 MiB at most."""
ZSTD_WINDOW = 1 << 27
"""128 MiB, what `zstd` without --long can make."""
BLOCK_SLICE = 1 << 16
"""Compressed bytes handed to bzip2, xz and deflate at once: what a member leaves over is copied for the next one."""
XZ_MEMORY = 1 << 28
"""256 MiB; `xz -9` needs 65."""
BOMB_FLOOR = 1 << 20
"""The expansion ratio is looked at once more than this came out."""
TRANSIENT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN, errno.ETIMEDOUT})
"""Errors of the machine, not of the file: raised, so that the runner tries again."""


class ReadError(Exception):
    """A part of a file that cannot be used: the reason code of the quarantine and a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def open_raw(path: str) -> IO[bytes]:
    """The bytes of a local path or an fsspec URL as they are stored.

    Raises ReadError `unreadable`. Errors that may pass (a network, too many open files) are raised as they are.
    """
    try:
        if not is_url(path):
            return open(path, "rb", buffering=0)
        return cast(IO[bytes], fsspec.open(path, "rb", compression=None).open())
    except OSError as error:
        raise unreadable(error, remote=is_url(path)) from error


def unreadable(error: OSError, remote: bool = False) -> Exception:
    """ReadError `unreadable` for an error of the file; the error itself where another try may succeed."""
    lasting = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
    if error.errno in TRANSIENT or (remote and not lasting):
        return error
    return ReadError("unreadable", f"the file cannot be read: {error.strerror or type(error).__name__}")


def read_chunks(path: str, size: int, config: InputConfig) -> Generator[bytes, None, None]:
    """The content after decompression (of .warc.gz as it is stored), in chunks of at most 16 MiB.

    `size` is the stored size, against which the expansion is judged. Raises ReadError `unreadable`,
    `truncated_stream`, `corrupt_stream` or `decompression_bomb` behind the last sound chunk.
    """
    with open_raw(path) as raw:
        counted = _CountingReader(raw, remote=is_url(path))
        compression = compression_of(path)
        if compression is None or unpacked_by_reader(path):
            yield from iter(lambda: counted.read(CHUNK), b"")
            return
        yield from _decompress(counted, compression, size, config)


def read_range(path: str, start: int, end: int) -> Generator[bytes, None, None]:
    """The bytes from `start` up to `end` as they are stored. Raises ReadError `unreadable`, or `truncated_stream`
    where the file ends before."""
    with open_raw(path) as raw:
        raw.seek(start)
        counted = _CountingReader(raw, remote=is_url(path))
        while left := end - start - counted.consumed:
            chunk = counted.read(min(left, CHUNK))
            if not chunk:
                detail = f"the file ends at byte {start + counted.consumed}, and had {end} bytes when it was listed"
                raise ReadError("truncated_stream", detail)
            yield chunk


def decompress(chunks: Iterator[bytes], compression: str, size: int, config: InputConfig) -> Iterator[bytes]:
    """The same for a stream inside of another one: a compressed member of an archive."""
    return _decompress(_CountingReader(cast(IO[bytes], ChunkReader(chunks)), False), compression, size, config)


def _decompress(raw: "_CountingReader", compression: str, size: int, config: InputConfig) -> Iterator[bytes]:
    produced = 0
    for chunk in _DECOMPRESS[compression](raw):
        produced += len(chunk)
        check_expansion(produced, max(size, raw.consumed), config)
        yield chunk


def check_expansion(produced: int, consumed: int, config: InputConfig) -> None:
    """Raises ReadError `decompression_bomb` where `consumed` stored bytes gave too many bytes."""
    if produced > BOMB_FLOOR and produced > config.max_expansion * consumed:
        raise ReadError(
            "decompression_bomb",
            f"{consumed} compressed bytes grew to {produced} bytes or more: over max_expansion = "
            f"{config.max_expansion:g}",
        )
    if produced > config.max_file_bytes:
        raise ReadError(
            "decompression_bomb", f"more than max_file_bytes = {config.max_file_bytes} bytes after decompression"
        )


class ChunkReader:
    """A stream of chunks as a file that is read forward."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self.position = 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, and none only at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        piece = bytes(self._rest[: size if size >= 0 else None])
        self._rest = self._rest[len(piece) :]
        self.position += len(piece)
        return piece


class _CountingReader(io.RawIOBase):
    """Reads through and counts; errors of the disk become ReadError."""

    def __init__(self, raw: IO[bytes], remote: bool) -> None:
        self._raw = raw
        self._remote = remote
        self.consumed = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._raw.read(size)
        except OSError as error:
            raise unreadable(error, self._remote) from error
        self.consumed += len(data)
        return data


def _gunzip(raw: _CountingReader) -> Iterator[bytes]:
    stream = gzip.GzipFile(fileobj=cast(IO[bytes], raw), mode="rb")
    produced = 0
    try:
        while chunk := stream.read1(CHUNK):
            produced += len(chunk)
            yield chunk
    except EOFError as error:
        raise _truncated("gzip", produced, raw) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise _corrupt("gzip", produced, raw, error) from error


def _unzstd(raw: _CountingReader) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    frame = None
    produced = 0
    try:
        while data := raw.read(CHUNK):
            at = 0
            while at < len(data):
                piece = data[at : at + ZSTD_SLICE]
                at += len(piece)
                frame = frame or decompressor.decompressobj()
                chunk = frame.decompress(piece)
                if frame.eof:
                    at -= len(frame.unused_data)
                    frame = None
                if chunk:
                    produced += len(chunk)
                    yield chunk
    except zstandard.ZstdError as error:
        raise _corrupt("zstd", produced, raw, error) from error
    if frame is not None:
        raise _truncated("zstd", produced, raw)


def _unbzip2(raw: _CountingReader) -> Iterator[bytes]:
    return _bounded(raw, "bzip2", bz2.BZ2Decompressor)


def _unxz(raw: _CountingReader) -> Iterator[bytes]:
    return _bounded(raw, "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY), padding=b"\0")


def _bounded(raw: _CountingReader, kind: str, new: Callable[[], Any], padding: bytes = b"") -> Iterator[bytes]:
    """Streams one behind another, maybe with `padding` between them; at most CHUNK bytes come out at once."""
    decoder = None
    rest = b""
    produced = 0
    while data := rest or raw.read(BLOCK_SLICE):
        rest = b""
        if decoder is None:
            data = data.lstrip(padding) if padding else data
            if not data:
                continue
            decoder = new()
        while True:
            try:
                chunk = decoder.decompress(data, CHUNK)
            except (OSError, ValueError, EOFError, lzma.LZMAError) as error:
                raise _corrupt(kind, produced, raw, error) from error
            if chunk:
                produced += len(chunk)
                yield chunk
            if decoder.eof or decoder.needs_input:
                break
            data = b""
        if decoder.eof:
            rest, decoder = decoder.unused_data, None
    if decoder is not None:
        raise _truncated(kind, produced, raw)


def _inflate(raw: _CountingReader) -> Iterator[bytes]:
    """One bare deflate stream, as in .zip."""
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    produced = 0
    chunk = b""
    while not decoder.eof:
        data = decoder.unconsumed_tail or raw.read(BLOCK_SLICE)
        if not data and len(chunk) < CHUNK:  # a full chunk may leave output behind
            raise _truncated("deflate", produced, raw)
        try:
            chunk = decoder.decompress(data, CHUNK)
        except zlib.error as error:
            raise _corrupt("deflate", produced, raw, error) from error
        if chunk:
            produced += len(chunk)
            yield chunk


_DECOMPRESS: dict[str, Callable[[_CountingReader], Iterator[bytes]]] = {
    "gzip": _gunzip,
    "zstd": _unzstd,
    "bzip2": _unbzip2,
    "xz": _unxz,
    "deflate": _inflate,
}


def _truncated(kind: str, produced: int, raw: _CountingReader) -> ReadError:
    where = f"after {raw.consumed} stored bytes ({produced} bytes decompressed)"
    return ReadError("truncated_stream", f"the {kind} stream ends {where} before its end mark: the file is cut off")


def _corrupt(kind: str, produced: int, raw: _CountingReader, error: Exception) -> ReadError:
    where = f"within the first {raw.consumed} stored bytes ({produced} bytes decompressed)"
    return ReadError("corrupt_stream", f"the {kind} stream is damaged {where}: {error}")
