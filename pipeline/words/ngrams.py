"""Counts of two and three words in a row (normalised words, nothing but white space between them)."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.words.frequency import WORD_COUNTS, distinct_words, merge_words, tabulate
from pipeline.words.spans import Spans
from pipeline.words.tokenizer import Encoded, Tokenizer
from schemas.arrow import NGRAM_FREQUENCY


def count_ngrams(tokenizer: Tokenizer, encoded: Encoded, spans: Spans, longest: int) -> pa.Table:
    """WORD_COUNTS of all n-grams of 2 .. `longest` (2 or 3) words of a batch, the words joined by a space, sorted.

    A document counts once for each. An n-gram stays inside a document and crosses no punctuation and no number.
    """
    words, word = distinct_words(tokenizer, encoded, spans)
    names = pa.array(words, pa.string())
    # A few ligatures (U+FDFA) are several words by NFKC: with a space inside, an n-gram could not be told apart.
    whole = ~pc.match_substring(names, " ").to_numpy(zero_copy_only=False) if words else np.empty(0, np.bool_)
    whole &= np.array([bool(name) for name in words], dtype=np.bool_)
    tables = []
    keys, key, good = names, word, whole[word]
    for n in range(2, longest + 1):
        # `key` names the n - 1 words that begin at each place; the n-th must follow the one before it at once.
        places = max(len(word) - n + 1, 0)
        follows = spans.end[n - 2 :][:places] == spans.start[n - 1 :]
        follows &= spans.document[:places] == spans.document[n - 1 :]
        follows &= good[:places] & whole[word[n - 1 :]]
        packed = np.where(follows, key[:places] * np.int64(max(len(words), 1)) + word[n - 1 :], -1)
        distinct, key = np.unique(packed, return_inverse=True)
        keys, good = _join(keys, names, distinct), follows
        tables.append(tabulate(keys, key[follows], spans.document[:places][follows], len(encoded)))
    return merge_words(tables)


def _join(keys: pa.Array, names: pa.Array, packed: npt.NDArray[np.int64]) -> pa.Array:
    """keys[p // words] + " " + names[p % words]; "" for -1."""
    first, last = packed // max(len(names), 1), packed % max(len(names), 1)
    none = pa.array(packed < 0)
    left = keys.take(pa.array(np.maximum(first, 0))) if len(keys) else pa.array([""] * len(packed), pa.string())
    right = names.take(pa.array(last)) if len(names) else pa.array([""] * len(packed), pa.string())
    return pc.if_else(none, "", pc.binary_join_element_wise(left, right, " "))


def ngram_table(merged: pa.Table) -> pa.Table:
    """NGRAM_FREQUENCY of merged WORD_COUNTS: by n, falling count, then n-gram."""
    merged = merged.cast(WORD_COUNTS)
    n = pc.add(pc.count_substring(merged["word"], " "), 1).cast(pa.uint8())
    table = pa.table([n, merged["word"], merged["count"], merged["documents"]], schema=NGRAM_FREQUENCY)
    return table.sort_by([("n", "ascending"), ("count", "descending"), ("ngram", "ascending")])
