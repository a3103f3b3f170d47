"""What a vocabulary's pieces say about text: which begin a word, which end a sentence. Token ids are all it takes."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from schemas.vocabulary import FIRST_ORDINARY, WORD_BOUNDARY

START: Final = 1
"""Begins a word: the piece begins with '▁'."""
END: Final = 2
"""Ends a sentence where the next piece begins a word ('3.14' and 'e.g.,' do not)."""
WIDE_END: Final = 4
"""Ends a sentence whatever follows: scripts without spaces."""
CLOSER: Final = 8
"""Closing quotes and brackets alone: they belong to the sentence before them."""

_ENDS: Final = frozenset(".!?…؟۔।")
_WIDE_ENDS: Final = frozenset("。！？｡")
_CLOSERS: Final = frozenset("\"')]}”’»›」』）】》〉＂")


def mark(piece: str) -> int:
    """Flags of one SentencePiece piece."""
    flags = START if piece.startswith(WORD_BOUNDARY) else 0
    text = piece.removeprefix(WORD_BOUNDARY)
    ending = text.rstrip("".join(sorted(_CLOSERS)))
    if text and not ending:
        # After a space a quote opens.
        return flags or CLOSER
    if ending and ending[-1] in _ENDS:
        flags |= END
    elif ending and ending[-1] in _WIDE_ENDS:
        flags |= WIDE_END
    return flags


@dataclass(frozen=True)
class Marks:
    """Flags of every token id, uint8 [vocabulary_size]."""

    flags: NDArray[np.uint8]

    @property
    def digest(self) -> str:
        return sha256(self.flags.tobytes()).hexdigest()[:16]

    @property
    def words(self) -> bool:
        """Whether any piece begins a word."""
        return bool((self.flags & START).any())

    @classmethod
    def none(cls, vocabulary_size: int) -> "Marks":
        """For a corpus without a vocabulary: no piece says anything."""
        return cls(np.zeros(vocabulary_size, dtype=np.uint8))

    @classmethod
    def read(cls, directory: str | Path, vocabulary_size: int) -> "Marks":
        """Those of DIRECTORY/vocabulary/siliang.model; `none` where there is no such file or one of another size."""
        path = Path(directory) / "vocabulary" / "siliang.model"
        if not path.is_file():
            return cls.none(vocabulary_size)
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        if len(model) != vocabulary_size:
            return cls.none(vocabulary_size)
        flags = np.zeros(vocabulary_size, dtype=np.uint8)
        pieces = model.id_to_piece(list(range(FIRST_ORDINARY, vocabulary_size)))
        flags[FIRST_ORDINARY:] = [mark(piece) for piece in pieces]
        return cls(flags)
