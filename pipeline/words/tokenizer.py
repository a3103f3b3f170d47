"""Text to token ids and back, whole batches at a time, and what kind of piece each id is."""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.words.vocabulary import load_model
from schemas.arrow import numpy_name, token_type
from schemas.vocabulary import WORD_BOUNDARY

OTHER: Final = 0
"""Punctuation, symbols, controls: ends a word."""
LETTER: Final = 1
"""Holds a letter (or a mark on one) of a script that is written with spaces."""
DIGIT: Final = 2
"""Digits and other numbers alone."""
JOINER: Final = 3
"""One character that belongs to a word if it stands alone between letters or digits: don't, well-known, example.org."""
OWN: Final = 4
"""Holds a letter of a script without spaces (Han, kana, Thai, Lao, Khmer, Myanmar): a word of its own."""
SPACE: Final = 5
"""The word boundary mark alone."""
SPECIAL: Final = 6
"""Control and unknown pieces."""
BEGINS: Final = 8
"""Flag: the piece starts with the word boundary mark. Kinds from 0x80 on are bytes: the kind is the byte's value."""

APOSTROPHES: Final = "'’‘ʼ′＇`´"
HYPHENS: Final = "-‐‑"
INVISIBLE_JOINERS: Final = "\u00ad\u200c\u200d"
"""Soft hyphen, zero-width non-joiner and joiner."""
_JOINERS = frozenset(APOSTROPHES + HYPHENS + INVISIBLE_JOINERS + "·‧" + "./:@_&+#%=~\\")
"""The last group holds addresses, paths and decimals together, so that they can be left out as a whole later."""

_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration mark, zero
    (0x3031, 0x3035),
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),  # Myanmar extended
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # halfwidth Katakana
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),  # Han extensions
)
_LAST_LETTER = 0x3FFFF
"""No letter is assigned above (planes 4 to 13 are empty, 14 holds tags, 15 and 16 are private)."""


@functools.lru_cache(1 << 12)
def character_kind(character: str) -> int:
    """OTHER, LETTER, DIGIT, JOINER or OWN."""
    category = unicodedata.category(character)
    if category[0] in "LM" or category == "Nl":
        point = ord(character)
        if any(first <= point <= last for first, last in _WITHOUT_SPACES):
            return OWN
        return DIGIT if category == "Nl" else LETTER
    if category[0] == "N":
        return DIGIT
    return JOINER if character in _JOINERS else OTHER


@functools.cache
def character_kinds() -> npt.NDArray[np.uint8]:
    """character_kind by code point [0x110000]; built once per process (0.1 s)."""
    table = np.zeros(0x110000, dtype=np.uint8)
    table[: _LAST_LETTER + 1] = [character_kind.__wrapped__(chr(point)) for point in range(_LAST_LETTER + 1)]
    return table


def piece_kind(piece: str) -> int:
    """Kind of an ordinary piece, BEGINS included; OTHER with a space inside (it holds several words)."""
    body = piece.lstrip(WORD_BOUNDARY)
    if not body:
        return SPACE
    begins = BEGINS if len(body) < len(piece) else 0
    if any(character == WORD_BOUNDARY or character.isspace() for character in body):
        return OTHER | begins
    kinds = {character_kind(character) for character in body}
    for kind in (OWN, LETTER):
        if kind in kinds:
            return kind | begins
    if kinds == {DIGIT}:
        return DIGIT | begins
    return (JOINER if kinds == {JOINER} and len(body) == 1 else OTHER) | begins


@dataclass(frozen=True)
class Encoded:
    """Token ids of n documents, one after the other."""

    ids: npt.NDArray[Any]
    """uint16 or uint32 [tokens], as schemas.arrow.token_type says."""
    offsets: npt.NDArray[np.int64]
    """[n + 1]: document i is ids[offsets[i] : offsets[i + 1]]."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def document(self, index: int) -> npt.NDArray[Any]:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def to_arrow(self) -> pa.ListArray:
        """The `tokens` column of schemas.arrow.example. Raises ValueError above 2^31 - 1 tokens."""
        if self.offsets[-1] > np.iinfo(np.int32).max:
            raise ValueError(f"{self.offsets[-1]} tokens do not fit one Arrow list array; use smaller batches")
        values = pa.array(self.ids)
        kind = pa.list_(pa.field("item", values.type, nullable=False))
        return pa.ListArray.from_arrays(pa.array(self.offsets.astype(np.int32)), values, type=kind)

    @classmethod
    def from_arrow(cls, tokens: pa.ListArray | pa.ChunkedArray) -> "Encoded":
        """From a `tokens` column, without copying the ids where it is one chunk."""
        if isinstance(tokens, pa.ChunkedArray):
            tokens = tokens.combine_chunks()
        offsets = tokens.offsets.to_numpy().astype(np.int64)
        values = tokens.values.slice(offsets[0], offsets[-1] - offsets[0])
        return cls(ids=values.to_numpy(), offsets=offsets - offsets[0])


class Tokenizer:
    """A SentencePiece model. Pickled as its path: every worker loads the file itself."""

    def __init__(self, path: str | Path) -> None:
        """Raises VocabularyError where the file is no SentencePiece model."""
        self.path = str(path)
        self._model = load_model(path)
        self.size: int = self._model.get_piece_size()
        self.dtype: np.dtype[Any] = np.dtype(numpy_name(token_type(self.size)))

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[str]]:
        return Tokenizer, (self.path,)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All texts in one call of SentencePiece's batched encoder, on the calling thread (the GIL is released)."""
        arrays = self._model.encode(list(texts), return_type="numpy", num_threads=1)
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        ids = np.empty(offsets[-1], dtype=self.dtype)
        if arrays:
            np.concatenate(arrays, out=ids, casting="unsafe")
        return Encoded(ids=ids, offsets=offsets)

    def decode(self, ids: npt.NDArray[Any] | Sequence[int]) -> str:
        """The text, as the model's normaliser left it; control pieces vanish."""
        return str(self._model.decode(np.asarray(ids).tolist()))

    def normalise(self, text: str) -> str:
        """What decode(encode(text)) gives back."""
        return str(self._model.normalize(text)).replace(WORD_BOUNDARY, " ").strip(" ")

    def piece(self, token_id: int) -> str:
        return str(self._model.id_to_piece(token_id))

    @functools.cached_property
    def piece_kinds(self) -> npt.NDArray[np.uint8]:
        """Kind by id [size]: OTHER, LETTER, DIGIT, JOINER, OWN (each with BEGINS or not), SPACE, SPECIAL, or a byte."""
        return np.array([self._kind(token_id) for token_id in range(self.size)], dtype=np.uint8)

    @functools.cached_property
    def byte_pieces(self) -> npt.NDArray[np.bool_]:
        """True [size] for the pieces that spell one byte."""
        return np.array([self._model.is_byte(token_id) for token_id in range(self.size)], dtype=np.bool_)

    @functools.cached_property
    def surfaces(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """UTF-8 bytes of all pieces and offsets [size + 1] by id: no boundary mark in front, special pieces empty, a
        byte piece its one byte. The surfaces of a word's tokens, joined, spell the word.
        """
        spelt = [self._surface(token_id) for token_id in range(self.size)]
        offsets = np.zeros(self.size + 1, dtype=np.int64)
        np.cumsum([len(surface) for surface in spelt], out=offsets[1:])
        return np.frombuffer(b"".join(spelt), dtype=np.uint8), offsets

    def _surface(self, token_id: int) -> bytes:
        piece = self.piece(token_id)
        if self._model.is_control(token_id) or self._model.is_unknown(token_id):
            return b""
        if self._model.is_byte(token_id):
            return bytes([int(piece[3:-1], 16)])
        return piece.lstrip(WORD_BOUNDARY).replace(WORD_BOUNDARY, " ").encode()

    def _kind(self, token_id: int) -> int:
        if self._model.is_control(token_id) or self._model.is_unknown(token_id):
            return SPECIAL
        if self._model.is_byte(token_id):
            value = int(self.piece(token_id)[3:-1], 16)
            return value if value >= 0x80 else character_kind(chr(value))
        return piece_kind(self.piece(token_id))
