"""Which pieces of a SentencePiece model can go so that text made of the others is cut as before, and the model without
them.

**Unigram.** The best path of a text stays the best where its own pieces stay: every other path loses pieces or keeps
its score, ties fall as before, for the order of the pieces is kept. A character that has no piece of its own any more
scores ten below the least of all pieces, so the piece of least score stays, too (and that of the greatest, which the
score of user-defined pieces is taken from).

**BPE.** A text's merges are those of its pieces one by one, for none crosses a boundary that is there at the end. So a
piece's own merges stay with it.

Pieces that are not ordinary ones (special, unknown, user-defined, bytes) stay always.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from trainer.export.sentencepiece_model import TRAINER, Field, read_facts, read_fields
from trainer.tokenizer import TokenizerError

PIECES, SELF_TEST = 1, 4
TEXT, SCORE, TYPE = 1, 2, 3
NORMAL = 1
VOCABULARY_SIZE = 4
"""Field numbers of sentencepiece_model.proto: ModelProto, SentencePiece, TrainerSpec."""


@dataclass(frozen=True)
class Piece:
    text: str
    score: float
    ordinary: bool


def _piece(field: Field) -> Piece:
    text, score, kind = "", 0.0, NORMAL
    for part in read_fields(field.value if isinstance(field.value, bytes) else b""):
        if part.number == TEXT and isinstance(part.value, bytes):
            text = part.value.decode("utf-8")
        elif part.number == SCORE and isinstance(part.value, bytes):
            (score,) = struct.unpack("<f", part.value)
        elif part.number == TYPE and isinstance(part.value, int):
            kind = part.value
    return Piece(text, score, kind == NORMAL)


def read_pieces(path: str | Path) -> list[Piece]:
    """In the order of their ids. Raises TokenizerError where the file is damaged."""
    try:
        return [_piece(field) for field in read_fields(Path(path).read_bytes()) if field.number == PIECES]
    except (ValueError, IndexError, struct.error) as error:
        raise TokenizerError(f"{path}: not a SentencePiece model ({error!r})") from error


def merges(text: str, score: dict[str, float]) -> list[str]:
    """What BPE makes on its way from the characters of `text`: at each step the pair whose union has the greatest
    score, of equal ones the leftmost."""
    parts, made = list(text), []
    while len(parts) > 1:
        unions = [a + b for a, b in pairwise(parts)]
        known = [k for k, union in enumerate(unions) if union in score]
        if not known:
            break
        best = min(known, key=lambda k: (-score[unions[k]], k))
        made.append(unions[best])
        parts[best : best + 2] = [unions[best]]
    return made


def closure(path: str | Path, used: Iterable[int]) -> list[int]:
    """Ids that have to stay for the pieces `used` to mean what they mean, rising. Raises TokenizerError."""
    pieces, kept = read_pieces(path), set(used)
    kept |= {k for k, piece in enumerate(pieces) if not piece.ordinary}
    ordinary = [k for k, piece in enumerate(pieces) if piece.ordinary]
    if read_facts(path).kind == "unigram":
        if ordinary:
            kept |= {min(ordinary, key=lambda k: pieces[k].score), max(ordinary, key=lambda k: pieces[k].score)}
        return sorted(kept)
    score = {pieces[k].text: pieces[k].score for k in ordinary}
    number = {piece.text: k for k, piece in enumerate(pieces)}
    for k in sorted(kept):
        if pieces[k].ordinary:
            kept |= {number[made] for made in merges(pieces[k].text, score)}
    return sorted(kept)


def without(path: str | Path, kept: Iterable[int]) -> bytes:
    """The model with the pieces `kept` alone, numbered anew in their order; everything else byte for byte, but for the
    vocabulary's size and what the trainer would have tested it with. Raises TokenizerError."""
    stays, place, found = set(kept), 0, []
    try:
        for field in read_fields(Path(path).read_bytes()):
            if field.number == PIECES:
                if place in stays:
                    found.append(field.raw)
                place += 1
            elif field.number == TRAINER and isinstance(field.value, bytes):
                found.append(_message(TRAINER, _resized(field.value, len(stays))))
            elif field.number != SELF_TEST:
                found.append(field.raw)
    except (ValueError, IndexError) as error:
        raise TokenizerError(f"{path}: not a SentencePiece model ({error!r})") from error
    return b"".join(found)


def _resized(trainer: bytes, size: int) -> bytes:
    return b"".join(
        _varint(VOCABULARY_SIZE << 3) + _varint(size) if field.number == VOCABULARY_SIZE else field.raw
        for field in read_fields(trainer)
    )


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
