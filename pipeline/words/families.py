"""Word families: rare words that are forms of one word (beyond TNF, where each form has a note of its own)."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import snowballstemmer

LEAST_STEM: Final = 3
"""Code points. Shorter stems throw unrelated words together."""
FAMILY_TYPE: Final = pa.list_(pa.field("item", pa.uint32(), nullable=False))


def stems(words: Sequence[str], language: str) -> list[str]:
    """Snowball stem of each normalised word, possessive 's apart; the word itself where the stem is too short.

    `language` is one of snowballstemmer.algorithms(). A stemmer leaves words of other scripts as they are.
    """
    stemmer = snowballstemmer.stemmer(language)
    found = stemmer.stemWords([word.removesuffix("'s") for word in words])
    return [stem if len(stem) >= LEAST_STEM else word for word, stem in zip(words, found, strict=True)]


def families(rare: pa.Table, language: str) -> pa.ListArray:
    """word_ids [words] of the other words with the same stem, ascending. `rare`: all RARE_WORDS."""
    groups: dict[str, list[int]] = defaultdict(list)
    ids = rare["word_id"].to_pylist()
    own = stems(rare["word"].to_pylist(), language)
    for word_id, stem in zip(ids, own, strict=True):
        groups[stem].append(word_id)
    rows = [[other for other in groups[stem] if other != word_id] for word_id, stem in zip(ids, own, strict=True)]
    return pa.array(rows, FAMILY_TYPE)
