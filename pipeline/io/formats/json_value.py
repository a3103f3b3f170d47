"""One JSON value from its bytes to its text."""

import json
from typing import Any

import orjson

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError
from pipeline.io.formats.record import Record, checked, decode, failed, text_of, without_surrogates


def parse_json(content: bytes, offset: int) -> Any:
    """orjson, then Python's parser for what orjson refuses: lone surrogates, NaN, Infinity.

    Raises ReadError `invalid_utf8`, `nul_bytes` or `invalid_json`; positions count from `offset` in the file.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        text = decode(content, offset)
    nul = content.find(b"\0")
    if nul >= 0:
        raise ReadError("nul_bytes", f"NUL at byte {offset + nul}")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ReadError("invalid_json", "nested too deeply") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno} of the record"
        raise ReadError("invalid_json", f"not valid JSON at {where}: {error.msg}") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise ReadError("invalid_json", f"not a usable JSON value: {error}") from error


def read_value(
    position: int, content: bytes, offset: int, where: str, config: InputConfig, repairs: tuple[str, ...]
) -> Record:
    """The record in one JSON text (an object or a string)."""
    try:
        text = text_of(parse_json(content, offset), config.text_fields)
    except ReadError as error:
        return failed(position, error, where, content)
    text, replaced = without_surrogates(text)
    return checked(position, text, where, config.max_record_bytes, repairs + replaced)
