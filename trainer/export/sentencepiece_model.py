"""What a SentencePiece model file says beyond its processor: the kind of model and how text is normalised.

The file is one protocol buffer; field numbers are those of sentencepiece_model.proto. The package's own generated code
wants a protobuf runtime that Apache Beam does not allow, and three fields do not need one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from trainer.tokenizer import TokenizerError

TRAINER, NORMALIZER = 2, 3
MODEL_TYPE, BYTE_FALLBACK = 3, 35
CHARSMAP, DUMMY_PREFIX, REMOVE_SPACES, ESCAPE_SPACES = 2, 3, 4, 5
KINDS: dict[int, Literal["unigram", "bpe"]] = {1: "unigram", 2: "bpe"}


@dataclass(frozen=True)
class ModelFacts:
    kind: Literal["unigram", "bpe"]
    byte_fallback: bool
    charsmap: bytes
    """Precompiled normalisation; empty: none."""
    dummy_prefix: bool
    """A space is put before the text."""
    remove_spaces: bool
    """Spaces at both ends go, runs of them become one."""
    escape_spaces: bool
    """Spaces are written ▁."""


def read_facts(path: str | Path) -> ModelFacts:
    """Raises TokenizerError where the file is damaged, or neither a unigram nor a BPE model."""
    try:
        parts = _fields(Path(path).read_bytes())
        trainer, normalizer = (_fields(_bytes(parts[number])) for number in (TRAINER, NORMALIZER))
        return ModelFacts(
            kind=KINDS[_number(trainer.get(MODEL_TYPE, 1))],
            byte_fallback=bool(trainer.get(BYTE_FALLBACK, 0)),
            charsmap=_bytes(normalizer.get(CHARSMAP, b"")),
            dummy_prefix=bool(normalizer.get(DUMMY_PREFIX, 1)),
            remove_spaces=bool(normalizer.get(REMOVE_SPACES, 1)),
            escape_spaces=bool(normalizer.get(ESCAPE_SPACES, 1)),
        )
    except (KeyError, ValueError, IndexError) as error:
        raise TokenizerError(f"{path}: not a SentencePiece unigram or BPE model ({error!r})") from error


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes are wanted")
    return value


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("bytes where a number is wanted")
    return value


def _fields(data: bytes) -> dict[int, int | bytes]:
    """Field number -> its last value."""
    return {field.number: field.value for field in read_fields(data)}


class Field(NamedTuple):
    """One field of a message."""

    number: int
    value: int | bytes
    raw: bytes
    """As it stands in the message, key and all."""


def read_fields(data: bytes) -> Iterator[Field]:
    """In their order. Raises ValueError and IndexError where the message is damaged."""
    at = 0
    while at < len(data):
        start = at
        key, at = _varint(data, at)
        form = key & 7
        if form == 0:
            value, at = _varint(data, at)
            yield Field(key >> 3, value, data[start:at])
            continue
        if form == 2:
            size, at = _varint(data, at)
        elif form in (1, 5):
            size = 8 if form == 1 else 4
        else:
            raise ValueError(f"wire type {form}")
        if at + size > len(data):
            raise ValueError("truncated")
        yield Field(key >> 3, data[at : at + size], data[start : at + size])
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
