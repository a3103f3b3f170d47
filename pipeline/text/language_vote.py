"""A vote of paragraphs: how much of a document is in one language."""

import numpy as np

from pipeline.text.kernels import language as kernels
from pipeline.text.language_model import Texts, excerpts, kinds, tell
from pipeline.text.script import letters_of

PIECE = 200
"""Least code points of a piece, a run of whole lines: of less the model tells near languages apart by chance."""
PIECES = 12
"""Pieces of a document that vote, spread evenly."""
PIECE_SAMPLE = 300
"""Code points of a piece that the model sees."""
CERTAIN = 0.5
"""A piece is in another language only if that one has this probability ..."""
UNLIKELY = 0.1
"""... and the main one less than this: so Danish with a Norwegian turn stays Danish."""


def shares(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """float64 [documents], 0..1: letters of the pieces in a document's main language / letters of the pieces that vote.

    Document d is data[offsets[d]:offsets[d + 1]] (int64 offsets). Its main language is that of most letters in pieces.
    A piece in which no language is told (code, tables) does not vote; of less than two pieces the share is 1.
    """
    documents = len(offsets) - 1
    room = len(data) // PIECE + documents + 1
    firsts, ends, lengths, letters = np.empty((4, room), np.int64)
    piece_offsets = np.empty(documents + 1, np.int64)
    kernels.pieces(data, offsets, kinds(), PIECE, PIECES, firsts, ends, lengths, letters, piece_offsets)
    counts = np.diff(piece_offsets)
    chosen = np.flatnonzero(np.repeat(counts > 1, counts))
    if not len(chosen):
        return np.ones(documents)
    owner = np.repeat(np.arange(documents), counts)[chosen]
    seen = excerpts(Texts(data, firsts[chosen], ends[chosen], lengths[chosen]), PIECE_SAMPLE)
    found, score, likely = tell(seen, letters_of(seen.data, seen.offsets)[0])
    votes = letters[chosen] * (found >= 0)
    languages = likely.shape[1]
    box = np.bincount(owner * languages + np.maximum(found, 0), votes, documents * languages)
    main = box.reshape(documents, languages).argmax(axis=1)[owner]
    other = (found != main) & (score >= CERTAIN) & (likely[np.arange(len(owner)), main] < UNLIKELY)
    foreign = np.bincount(owner, votes * other, documents)
    return 1 - foreign / np.maximum(np.bincount(owner, votes, documents), 1)
