"""The text column of Arrow data (Parquet, Arrow IPC): where it stands, and its values one by one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import InputConfig
from pipeline.io.decompress import TRANSIENT, ReadError
from pipeline.io.formats.record import Record, checked, decode, failed, joined, too_long

DAMAGE = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, LookupError)
"""What pyarrow raises on damaged files (ArrowMemoryError for absurd sizes among them)."""


class Place(NamedTuple):
    name: str
    """As in `text_fields`."""
    parts: tuple[str, ...]
    """The column, then fields of structs."""
    type: pa.DataType


def locate(schema: pa.Schema, fields: tuple[str, ...]) -> Place | None:
    """The first present of `fields`: a column of that very name, else from struct to struct at the dots."""
    for name in fields:
        parent: pa.Schema | pa.StructType = schema
        parts: list[str] = []
        rest, dot = name, "."
        while dot:
            if _index(parent, rest) >= 0:
                found = parent.field(_index(parent, rest))
                return Place(name, (*parts, rest), found.type)
            part, dot, rest = rest.partition(".")
            at = _index(parent, part)
            if at < 0 or not pa.types.is_struct(parent.field(at).type):
                break
            parts.append(part)
            parent = parent.field(at).type
    return None


def _index(parent: pa.Schema | pa.StructType, name: str) -> int:
    """-1 where there is none, or more than one."""
    return int(parent.get_field_index(name))


def select(batch: pa.RecordBatch, place: Place) -> pa.Array:
    """The column of a batch; null where a struct around it is."""
    column = batch.column(batch.schema.get_field_index(place.parts[0]))
    for part in place.parts[1:]:
        column = pc.struct_field(column, [column.type.get_field_index(part)])
    return column


def values_of(column: pa.Array) -> Iterator[Any]:
    """Strings as bytes: neither Parquet nor Arrow promise valid UTF-8, and one bad row must not cost the others.

    What cannot be text is an empty dict, so that it is not built."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        # Rows that share a value share one object.
        words = column.dictionary
        known: dict[int, Any] = {}
        if is_text(kind.value_type):
            words = words.cast(pa.large_binary())
        for index in column.indices.to_pylist():
            if index is not None and index not in known:
                known[index] = next(values_of(words[index : index + 1]))
            yield known.get(index)
    elif pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        # One by one: many rows may show the same bytes.
        for scalar in column:
            yield scalar.as_buffer().to_pybytes() if scalar.is_valid else None
    elif is_text(kind):
        yield from column.cast(pa.large_binary()).to_pylist()
    elif is_list(kind):
        items = list(values_of(column.flatten()))
        at = 0
        for length in pc.list_value_length(column).to_pylist():
            yield None if length is None else items[at : at + length]
            at += length or 0
    elif _is_binary(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        yield from column.to_pylist()
    else:
        yield from (None if null else {} for null in column.is_null().to_pylist())


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def as_binary(column: pa.Array) -> pa.Array:
    """The same buffers with binary types in place of strings, so that full validation looks at offsets and indices
    alone: text that is not UTF-8 is the fault of its row."""
    kind = column.type
    for string, binary in (
        (pa.string(), pa.binary()),
        (pa.large_string(), pa.large_binary()),
        (pa.string_view(), pa.binary_view()),
    ):
        if kind == string:
            return pa.Array.from_buffers(binary, len(column), column.buffers(), offset=column.offset)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(column.indices, as_binary(column.dictionary), safe=False)
    if is_list(kind):
        items = as_binary(column.values)
        outer = pa.large_list(items.type) if pa.types.is_large_list(kind) else pa.list_(items.type)
        return pa.Array.from_buffers(outer, len(column), column.buffers()[:2], offset=column.offset, children=[items])
    return column


def size_of(value: Any) -> int:
    if isinstance(value, list):
        return sum(len(item) + 1 for item in value if isinstance(item, bytes | str))
    return len(value) if isinstance(value, bytes | str) else 0


def record_of(position: int, value: Any, size: int, field: Place, config: InputConfig) -> Record:
    where = f"row {position}"
    raw = value if isinstance(value, bytes) else b""
    try:
        if isinstance(value, list) and size > config.max_record_bytes + 1:  # before the items are joined
            raise ReadError("record_too_long", too_long(size - 1, config.max_record_bytes, "the list"))
        if isinstance(value, bytes):
            value = decode(value, 0)
        elif isinstance(value, list):
            value = [decode(item, 0) if isinstance(item, bytes) else item for item in value]
        text = joined(value, field.name)
    except ReadError as error:
        return failed(position, error, where, raw)
    return checked(position, text, where, config.max_record_bytes)


def damaged(error: Exception, reason: str) -> ReadError:
    """Raises `error` where another try may succeed."""
    if isinstance(error, OSError) and (error.errno or isinstance(error, ConnectionError | TimeoutError)):
        if error.errno in TRANSIENT or isinstance(error, ConnectionError | TimeoutError):
            raise error
        return ReadError("unreadable", error.strerror or type(error).__name__)
    return ReadError(reason, " ".join(str(error).split())[:300])
