"""The special pieces every Siliang vocabulary holds, with fixed ids 0..5.

They are control pieces of the SentencePiece model: text can never produce them, whatever it contains.
"""

from typing import Final

PAD: Final = 0
UNKNOWN: Final = 1
CLS: Final = 2
SEP: Final = 3
MASK: Final = 4
NEITHER: Final = 5
"""The reject option of the multiple-choice task (MC-BERT)."""

SPECIAL_PIECES: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[NEITHER]")
"""Piece of each special id, in id order."""

FIRST_ORDINARY: Final = len(SPECIAL_PIECES)
"""Every id from here on is text (byte-fallback pieces included)."""

WORD_BOUNDARY: Final = "▁"
"""SentencePiece's mark of a space: the pieces that begin with it begin a word."""
