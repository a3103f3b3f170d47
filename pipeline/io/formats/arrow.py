"""Arrow IPC files and streams (Feather V2 among them), batch by batch, the text column alone."""

import struct
from collections.abc import Iterator

import pyarrow as pa

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError, check_expansion
from pipeline.io.formats.columns import (
    DAMAGE,
    Place,
    as_binary,
    damaged,
    locate,
    record_of,
    select,
    size_of,
    values_of,
)
from pipeline.io.formats.record import Record, failed, missing_text

_FILE = b"ARROW1"
_FEATHER_1 = b"FEA1"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_ROWS = 256
"""Rows turned into Python objects at once, at most."""
_BYTES = 1 << 26
"""Their bytes, at most, unless a single row is longer."""


def read_arrow(path: str, config: InputConfig) -> Iterator[Record]:
    """Position: ordinal of the row in the file. A file is read as the stream that it holds, so that the batches in
    front of a cut are used; a file or stream without its end mark is `truncated_stream`.

    A batch whose offsets or indices are damaged is one record `corrupt_arrow`, and the others are used; one that cannot
    be decoded ends the file. Reads a local path, memory-mapped: a batch that is not compressed is never held whole.
    """
    with pa.memory_map(path) as mapped:
        whole = mapped.read_buffer()
    if not whole.size:
        return
    position = 1
    try:
        stream, problem = _stream(whole)
        _check_declared(stream, whole.size, config)
        reader = pa.ipc.open_stream(stream)
        names = list(reader.schema.names)
        place = locate(reader.schema, config.text_fields)
        if place is not None:
            included = [reader.schema.get_field_index(place.parts[0])]
            options = pa.ipc.IpcReadOptions(included_fields=included, use_threads=False)
            reader = pa.ipc.open_stream(stream, options=options)
        produced = 0
        for batch in reader:
            if place is None:
                for _ in range(batch.num_rows):
                    yield failed(position, missing_text(names, config.text_fields), f"row {position}")
                    position += 1
                continue
            try:
                column = _column(batch, place)
            except DAMAGE as error:
                where = f"rows {position} to {position + batch.num_rows - 1}"
                yield failed(position, damaged(error, "corrupt_arrow"), where)
                position += batch.num_rows
                continue
            for part in _parts(column):
                for value in values_of(part):
                    size = size_of(value)
                    produced += size
                    check_expansion(produced, whole.size, config)
                    yield record_of(position, value, size, place, config)
                    position += 1
    except ReadError as error:
        yield failed(position, error, f"row {position}")
        return
    except DAMAGE as error:
        cut = isinstance(error, OSError | pa.ArrowInvalid) and _bytes_missing(error)
        reason = "truncated_stream" if cut else "corrupt_arrow"
        yield failed(position, damaged(error, reason), f"from row {position} on")
        return
    if problem is not None:
        yield failed(position, problem, f"from row {position} on")


def _stream(whole: pa.Buffer) -> tuple[pa.Buffer, ReadError | None]:
    """The stream, and what is wrong with its end."""
    view = memoryview(whole)
    if bytes(view[:4]) == _FEATHER_1:
        raise ReadError("corrupt_arrow", "Feather version 1 is not read; write it anew as Arrow IPC")
    if bytes(view[:6]) == _FILE:
        sound = bytes(view[-6:]) == _FILE and whole.size > 16
        stream = whole.slice(8)
    else:
        sound = bytes(view[-8:]) == _END_OF_STREAM
        stream = whole
    problem = None if sound else ReadError("truncated_stream", "there is no end mark: the file is cut off")
    return stream, problem


def _bytes_missing(error: Exception) -> bool:
    """Whether pyarrow says that bytes are missing."""
    return "xpected to" in str(error) and "read" in str(error)


def _column(batch: pa.RecordBatch, place: Place) -> pa.Array:
    """Raises one of DAMAGE unless every offset and index lies within its buffers."""
    batch.validate()
    column = as_binary(select(batch, place))
    column.validate(full=True)
    return column


def _parts(column: pa.Array) -> Iterator[pa.Array]:
    at = 0
    while at < len(column):
        part = column.slice(at, _ROWS)
        while len(part) > 1 and part.nbytes > _BYTES:
            part = part.slice(0, len(part) // 2)
        yield part
        at += len(part)


def _check_declared(stream: pa.Buffer, stored: int, config: InputConfig) -> None:
    """Raises ReadError `decompression_bomb` by what the compressed buffers say of themselves: none is expanded."""
    messages = pa.ipc.MessageReader.open_stream(stream)
    declared = 0
    while True:
        try:
            message = messages.read_next_message()
        except (StopIteration, *DAMAGE):  # damage is found again when the rows in front of it have been read
            return
        if message.type in ("record batch", "dictionary"):
            declared += _expanded(memoryview(message.metadata), message.body)
            check_expansion(declared, stored, config)


def _expanded(metadata: memoryview, body: pa.Buffer | None) -> int:
    """Bytes of the buffers of a message after decompression (format/Message.fbs: a buffer begins with its own length
    where RecordBatch.compression is set)."""
    try:
        message = struct.unpack_from("<I", metadata, 0)[0]
        kind = _slot(metadata, message, 1)
        batch = _table(metadata, _slot(metadata, message, 2))
        if kind and metadata[kind] == 2:  # DictionaryBatch holds a RecordBatch
            batch = _table(metadata, _slot(metadata, batch, 1))
        buffers = _table(metadata, _slot(metadata, batch, 2))
        if not _slot(metadata, batch, 3) or body is None:
            return 0
        content = memoryview(body)
        total = 0
        for number in range(struct.unpack_from("<I", metadata, buffers)[0]):
            offset, length = struct.unpack_from("<qq", metadata, buffers + 4 + 16 * number)
            if length > 8:
                total += max(length, struct.unpack_from("<q", content, offset)[0])
        return total
    except (struct.error, IndexError):
        return 0  # pyarrow finds the same damage


def _slot(data: memoryview, table: int, number: int) -> int:
    """Where a field of a flatbuffers table stands; 0 where it is left out."""
    entries = table - struct.unpack_from("<i", data, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", data, entries)[0]:
        return 0
    offset = struct.unpack_from("<H", data, entries + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _table(data: memoryview, slot: int) -> int:
    return slot + int(struct.unpack_from("<I", data, slot)[0])
