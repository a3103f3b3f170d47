"""Where the words are: from token ids to word spans, without going back to the text."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from pipeline.words.tokenizer import BEGINS, DIGIT, JOINER, LETTER, OTHER, OWN, SPACE, Encoded, character_kinds

LONGEST_WORD = 256
"""Tokens. Longer runs (base64, one 10 MB line without spaces) are no words."""


@dataclass(frozen=True)
class Spans:
    """Words of a batch, ascending and disjoint; none crosses documents."""

    start: npt.NDArray[np.int64]
    """[words], position in the flat ids."""
    end: npt.NDArray[np.int64]
    """[words], exclusive."""
    document: npt.NDArray[np.int64]
    """[words], index of the document."""

    def __len__(self) -> int:
        return len(self.start)


def word_spans(encoded: Encoded, piece_kinds: npt.NDArray[np.uint8]) -> Spans:
    """Words of every document.

    A word is a maximal run of letter and digit pieces (byte pieces count as the character they spell) that holds a
    letter, with single joiners (', -, ., ...) between them; a piece that begins with a space starts a new one, and any
    other punctuation ends it. A space piece right before belongs to the word. In scripts without spaces every piece is
    a word; so is a character spelt in bytes.
    """
    size = len(encoded.ids)
    start, end, document = (np.empty(size, dtype=np.int64) for _ in range(3))  # untouched pages cost nothing
    words = _find(encoded.ids, encoded.offsets, piece_kinds, character_kinds(), start, end, document)
    return Spans(start=start[:words].copy(), end=end[:words].copy(), document=document[:words].copy())


@numba.njit(nogil=True, cache=True)
def _character(ids, position, limit, piece_kinds, kinds):  # type: ignore[no-untyped-def]
    """Length and kind of the UTF-8 character that begins at a byte piece; (1, OTHER) where there is none."""
    lead = np.int64(piece_kinds[ids[position]])
    if 0xC2 <= lead <= 0xDF:
        length, point, least = 2, lead & 0x1F, 0x80
    elif 0xE0 <= lead <= 0xEF:
        length, point, least = 3, lead & 0x0F, 0x800
    elif 0xF0 <= lead <= 0xF4:
        length, point, least = 4, lead & 0x07, 0x10000
    else:
        return 1, OTHER
    if position + length > limit:
        return 1, OTHER
    for i in range(position + 1, position + length):
        follower = np.int64(piece_kinds[ids[i]])
        if follower & 0xC0 != 0x80:
            return 1, OTHER
        point = point << 6 | follower & 0x3F
    if point < least or point > 0x10FFFF:
        return 1, OTHER
    return length, np.int64(kinds[point])


@numba.njit(nogil=True, cache=True)
def _find(ids, offsets, piece_kinds, kinds, out_start, out_end, out_document):  # type: ignore[no-untyped-def]
    words = 0
    for document in range(len(offsets) - 1):
        limit = offsets[document + 1]
        position = offsets[document]
        start = end = space = np.int64(-1)  # start, end: the open word; space: end of the last space piece
        letters = False
        joiners = 0
        while position <= limit:
            length, kind, begins = np.int64(1), np.int64(OTHER), True  # the document's end closes the last word
            if position < limit:
                kind = np.int64(piece_kinds[ids[position]])
                begins = False
                if kind >= 0x80:
                    length, kind = _character(ids, position, limit, piece_kinds, kinds)
                else:
                    begins = kind & BEGINS != 0
                    kind &= ~BEGINS
            wordlike = kind in (LETTER, DIGIT)
            if begins or not (wordlike or kind == JOINER) or (wordlike and joiners > 1):
                if letters and end - start <= LONGEST_WORD:
                    out_start[words] = start
                    out_end[words] = end
                    out_document[words] = document
                    words += 1
                start = np.int64(-1)
                letters = False
                joiners = 0
            if wordlike:
                if start < 0:
                    start = position - 1 if space == position else position
                end = position + length
                letters = letters or kind == LETTER
                joiners = 0
            elif kind == JOINER:
                joiners += 1
            elif kind == OWN:
                out_start[words] = position
                out_end[words] = position + length
                out_document[words] = document
                words += 1
            elif kind == SPACE:
                space = position + 1
            position += length
    return words
