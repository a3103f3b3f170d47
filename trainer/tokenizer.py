"""SentencePiece with Siliang's special pieces, and text with typed [MASK]s."""

import re
from pathlib import Path

import sentencepiece

from schemas.vocabulary import MASK, SPECIAL_PIECES, UNKNOWN, WORD_BOUNDARY

MASK_TEXT = SPECIAL_PIECES[MASK]
# A noncharacter-like stand-in from the private use area: no normaliser changes it and no piece holds it, so the text
# around it is cut exactly as if a word stood there.
_STAND_IN = "\ue0f4"


class TokenizerError(ValueError):
    """The vocabulary is missing, damaged, or not one of Siliang's."""


class Tokenizer:
    """A SentencePiece model whose first ids are `schemas.vocabulary.SPECIAL_PIECES`."""

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise TokenizerError(f"{path}: no vocabulary here")
        self._model = sentencepiece.SentencePieceProcessor()
        try:
            self._model.Load(str(path))
        except (RuntimeError, OSError) as error:
            raise TokenizerError(f"{path}: not a SentencePiece model") from error
        found = tuple(self._model.id_to_piece(i) for i in range(min(len(SPECIAL_PIECES), len(self._model))))
        if found != SPECIAL_PIECES:
            raise TokenizerError(f"{path}: first pieces are {', '.join(found)}; expected {', '.join(SPECIAL_PIECES)}")
        self._stand_in = self._ids_of_stand_in()

    def __len__(self) -> int:
        return len(self._model)

    def _ids_of_stand_in(self) -> list[int]:
        """Byte pieces of the stand-in; empty for a vocabulary without byte fallback."""
        ids = self._model.encode(_STAND_IN)
        return [i for i in ids if self.piece(i) != WORD_BOUNDARY and i != UNKNOWN]

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; a special piece written out in it stays text."""
        return self._model.encode(text)

    def encode_masked(self, text: str) -> list[int]:
        """Ids of text in which each literal '[MASK]' becomes the id MASK, in place of a whole piece.

        'the [MASK] sat' masks a piece that begins with a space, 'un[MASK]able' one that does not.
        """
        marked = text.replace(_STAND_IN, " ").replace(MASK_TEXT, _STAND_IN)
        if not self._stand_in:
            return self._encode_unknown(marked)
        ids = self._model.encode(marked)
        width = len(self._stand_in)
        masked: list[int] = []
        position = 0
        while position < len(ids):
            if ids[position : position + width] == self._stand_in:
                self._add_mask(masked)
                position += width
            else:
                masked.append(ids[position])
                position += 1
        return masked

    def _encode_unknown(self, marked: str) -> list[int]:
        """Without byte fallback the stand-in is unknown, and one [UNK] covers a whole run of unknown characters."""
        masked: list[int] = []
        for token, piece in zip(self._model.encode(marked), self._model.encode(marked, out_type=str), strict=True):
            if token != UNKNOWN:
                masked.append(token)
                continue
            for part in re.split(f"({_STAND_IN})", piece):
                if part == _STAND_IN:
                    self._add_mask(masked)
                elif part:
                    masked.append(UNKNOWN)
        return masked

    def _add_mask(self, masked: list[int]) -> None:
        # The space before the gap belongs to the piece that is sought.
        if masked and self.piece(masked[-1]) == WORD_BOUNDARY:
            masked.pop()
        masked.append(MASK)

    def piece(self, token: int) -> str:
        return self._model.id_to_piece(token)

    def decode(self, ids: list[int]) -> str:
        """Text of ordinary ids; special ids add nothing."""
        return self._model.decode([i for i in ids if i >= len(SPECIAL_PIECES) or i == UNKNOWN])
