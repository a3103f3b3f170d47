"""Token ids as text with some spans marked."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.words.tokenizer import SPECIAL, Tokenizer
from schemas.manifest import ManifestError
from schemas.vocabulary import UNKNOWN, WORD_BOUNDARY


def segments(tokenizer: Tokenizer, ids: npt.NDArray[Any], spans: Iterable[tuple[int, int]]) -> list[str]:
    """Text before, in and behind each [start, end) span: 2 n + 1 strings, which joined are `tokenizer.decode(ids)`.

    A span's leading space stands before it. Spans ascend and are disjoint. Raises ManifestError for ids that are not in
    the vocabulary, and for spans that are not in the text.
    """
    cuts = [0, *(cut for span in spans for cut in span), len(ids)]
    if cuts != sorted(cuts):
        raise ManifestError("rare-word spans are not in order; run `siliang-pipeline verify`")
    if len(ids) and int(ids.max()) >= tokenizer.size:
        raise ManifestError(f"token id {ids.max()} is not in the vocabulary; run `siliang-pipeline verify`")
    known = {token: _spelt(tokenizer, token) for token in np.unique(ids).tolist()}
    texts = [
        b"".join(known[token] for token in ids[start:end].tolist()).decode(errors="replace")
        for start, end in pairwise(cuts)
    ]
    first = next((number for number, text in enumerate(texts) if text), 0)
    texts[first] = texts[first].removeprefix(" ")  # the one that SentencePiece puts before every text
    for number in range(1, len(texts), 2):
        if texts[number].startswith(" "):
            texts[number - 1] += " "
            texts[number] = texts[number][1:]
    return texts


def _spelt(tokenizer: Tokenizer, token: int) -> bytes:
    if token == UNKNOWN:
        return tokenizer.decode([token]).encode()
    piece = tokenizer.piece(token)
    if tokenizer.byte_pieces[token]:
        return bytes([int(piece[3:-1], 16)])
    return b"" if tokenizer.piece_kinds[token] == SPECIAL else piece.replace(WORD_BOUNDARY, " ").encode()
