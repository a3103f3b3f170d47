"""Raw files, plain or compressed, as a stream of byte chunks that ends with an error where the file does.

Apache Beam's own readers take a truncated .gz or .zst for a whole file, and need quadratic time for a .gz of many
members.
"""

import errno
import gzip
import io
import zlib
from collections.abc import Generator, Iterator
from typing import IO, cast

import fsspec
import zstandard

from pipeline.config import InputConfig
from pipeline.io.filesystem import is_url
from pipeline.io.formats.names import compression_of

CHUNK = 1 << 20
ZSTD_SLICE = 512
"""Compressed bytes handed over at once. A zstd block of 4 bytes can hold 128 KiB: 512 bytes grow to 16 MiB at most."""
ZSTD_WINDOW = 1 << 27
"""128 MiB, what `zstd` without --long can make."""
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
    """The content after decompression, in chunks of at most 16 MiB.

    `size` is the stored size, against which the expansion is judged. Raises ReadError `unreadable`,
    `truncated_stream`, `corrupt_stream` or `decompression_bomb` behind the last sound chunk.
    """
    with open_raw(path) as raw:
        counted = _CountingReader(raw, remote=is_url(path))
        compression = compression_of(path)
        if compression is None:
            yield from iter(lambda: counted.read(CHUNK), b"")
            return
        chunks = _gunzip(counted) if compression == "gzip" else _unzstd(counted)
        produced = 0
        for chunk in chunks:
            produced += len(chunk)
            check_expansion(produced, max(size, counted.consumed), config)
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


def _truncated(kind: str, produced: int, raw: _CountingReader) -> ReadError:
    where = f"after {raw.consumed} stored bytes ({produced} bytes decompressed)"
    return ReadError("truncated_stream", f"the {kind} stream ends {where} before its end mark: the file is cut off")


def _corrupt(kind: str, produced: int, raw: _CountingReader, error: Exception) -> ReadError:
    where = f"within the first {raw.consumed} stored bytes ({produced} bytes decompressed)"
    return ReadError("corrupt_stream", f"the {kind} stream is damaged {where}: {error}")
