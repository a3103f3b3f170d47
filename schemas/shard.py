"""Opens Arrow shards memory-mapped and checks that they are what the contract says."""

import mmap
from pathlib import Path

import pyarrow as pa


class SchemaError(ValueError):
    """A file is not the Arrow file it should be. The message names the file, the field and what was found."""


def _same_type(found: pa.DataType, wanted: pa.DataType) -> bool:
    # Nullability and names of list items vary between Arrow writers; the values do not.
    if pa.types.is_list(wanted):
        return pa.types.is_list(found) and _same_type(found.value_type, wanted.value_type)
    if pa.types.is_struct(wanted):
        return (
            pa.types.is_struct(found)
            and [f.name for f in found] == [f.name for f in wanted]
            and all(_same_type(f.type, w.type) for f, w in zip(found, wanted, strict=True))
        )
    return found.equals(wanted)


def check_schema(found: pa.Schema, wanted: pa.Schema, path: str | Path) -> None:
    """Raises SchemaError unless `found` holds the fields of `wanted`, in order and of the same types."""
    for field in wanted:
        if field.name not in found.names:
            raise SchemaError(f"{path}: field '{field.name}' is missing; found {', '.join(found.names) or 'no field'}")
        got = found.field(field.name).type
        if not _same_type(got, field.type):
            raise SchemaError(f"{path}: field '{field.name}' is {got}, expected {field.type}")
    if found.names != wanted.names:
        extra = [name for name in found.names if name not in wanted.names]
        raise SchemaError(
            f"{path}: fields are {found.names}, expected {wanted.names}" + (f"; extra {extra}" if extra else "")
        )


def map_file(path: str | Path) -> mmap.mmap:
    """The file's bytes, read-only. Raises SchemaError where there are none."""
    try:
        with Path(path).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise SchemaError(f"{path}: no such shard") from error
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise SchemaError(f"{path}: not a complete Arrow file ({error})") from error


def open_shard(
    path: str | Path, wanted: pa.Schema | None = None, mapping: mmap.mmap | None = None
) -> pa.ipc.RecordBatchFileReader:
    """Memory-maps an Arrow IPC file; the reader keeps the mapping alive.

    Args:
        mapping: of the file, to be read through in place of Arrow's own, which asks the kernel to fetch all of every
            batch that it opens.

    Raises SchemaError where the file is missing, is not a complete Arrow file, or differs from `wanted`.
    """
    try:
        source = pa.memory_map(str(path), "r") if mapping is None else pa.BufferReader(pa.py_buffer(mapping))
        reader = pa.ipc.open_file(source)
    except FileNotFoundError as error:
        raise SchemaError(f"{path}: no such shard") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError(f"{path}: not a complete Arrow file ({error})") from error
    if wanted is not None:
        check_schema(reader.schema, wanted, path)
    return reader
