"""The SentencePiece model file as a protocol buffer: the fields that Siliang reads or writes.

The package's own generated code wants a newer protobuf runtime than Beam allows, so the message is described here;
numbers are those of sentencepiece_model.proto. Fields that are not described are kept as they are.
"""

import functools
from collections.abc import Iterable
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

NORMAL: Final = 1
UNKNOWN: Final = 2
CONTROL: Final = 3
USER_DEFINED: Final = 4
UNUSED: Final = 5
BYTE: Final = 6

UNIGRAM: Final = 1
BPE: Final = 2

RESERVED = "[RESERVED{}]"
"""Piece of the n-th reserved id, from 0."""

_FIELDS: Final = {  # name, number, type; behind = what an absent field means, where that is not 0
    "Piece": [("piece", 1, "STRING"), ("score", 2, "FLOAT"), ("type", 3, "INT32=1")],
    "Trainer": [
        ("model_type", 3, "INT32=1"),
        ("vocab_size", 4, "INT32"),
        ("input_format", 7, "STRING"),
        ("treat_whitespace_as_suffix", 24, "BOOL"),
        ("byte_fallback", 35, "BOOL"),
        ("unk_id", 40, "INT32"),
        ("bos_id", 41, "INT32"),
        ("eos_id", 42, "INT32"),
        ("pad_id", 43, "INT32"),
        ("unk_piece", 45, "STRING"),
        ("bos_piece", 46, "STRING"),
        ("eos_piece", 47, "STRING"),
        ("pad_piece", 48, "STRING"),
        ("seed_sentencepieces_file", 54, "STRING"),
    ],
    "Normalizer": [
        ("name", 1, "STRING"),
        ("precompiled_charsmap", 2, "BYTES"),
        ("add_dummy_prefix", 3, "BOOL=true"),
        ("remove_extra_whitespaces", 4, "BOOL=true"),
        ("escape_whitespaces", 5, "BOOL=true"),
    ],
    "Model": [("pieces", 1, "Piece*"), ("trainer_spec", 2, "Trainer"), ("normalizer_spec", 3, "Normalizer")],
}


@functools.cache
def _model_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="siliang/sentencepiece_model.proto", package="siliang.sentencepiece", syntax="proto2"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            scalar, _, default = kind.partition("=")
            if scalar.isupper():
                added.type = getattr(kinds, f"TYPE_{scalar}")
                if default:
                    added.default_value = default
            else:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".siliang.sentencepiece.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("siliang.sentencepiece.Model"))


def new_model() -> Any:
    """An empty model message: pieces (piece, score, type), trainer_spec, normalizer_spec."""
    return _model_class()()


def parse_model(data: bytes) -> Any:
    """Raises google.protobuf.message.DecodeError for bytes that are no message."""
    return _model_class().FromString(data)


def dump_model(model: Any) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))


def reserved_pieces(number: int) -> list[str]:
    return [RESERVED.format(index) for index in range(number)]


def finished(data: bytes, reserved: int) -> bytes:
    """A learnt model without the names of files that it was learnt from, and with `reserved` control pieces behind its
    last id: text never makes them, decoding leaves them out.
    """
    model = parse_model(data)
    model.trainer_spec.ClearField("seed_sentencepieces_file")
    model.trainer_spec.ClearField("input_format")
    add_pieces(model, ((piece, 0.0, CONTROL) for piece in reserved_pieces(reserved)))
    return dump_model(model)


def add_pieces(model: Any, pieces: Iterable[tuple[str, float, int]]) -> None:
    """(piece, score, type) rows, at the next ids."""
    for piece, score, kind in pieces:
        model.pieces.add(piece=piece, score=score, type=kind)
    model.trainer_spec.vocab_size = len(model.pieces)
