"""The whole room on real text: copies, editions and planted edits."""

import hashlib
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import DeduplicateConfig
from pipeline.dedup.bands import band_keys
from pipeline.dedup.candidates import candidate_pairs
from pipeline.dedup.exact import digest_words, exact_copies
from pipeline.dedup.jaccard import jaccard_of_pairs
from pipeline.dedup.minhash import signatures
from pipeline.dedup.normalize import digest, digests
from pipeline.dedup.order import order_keys, ranks
from pipeline.dedup.resolve import resolve
from pipeline.dedup.shingles import shingle_sets

SAMPLES = Path(__file__).parents[3] / "samples"
CONFIG = DeduplicateConfig()


def read(name: str) -> str:
    return (SAMPLES / name).read_bytes().decode("utf-8")


def jaccard(a: str, b: str) -> float:
    shingles = shingle_sets(pa.array([a, b]), CONFIG)
    return float(jaccard_of_pairs(shingles, np.array([0]), np.array([1]))[0])


@pytest.mark.parametrize("name", ["areopagitica", "poemata"])
def test_milton_is_there_twice(name: str) -> None:
    one, two = read(f"milton/{name}.txt"), read(f"milton/{name}_gut.txt")
    assert digest(one) == digest(two)
    # Another system's line ends, no byte-order mark: the same document.
    assert digest(one.replace("\r\n", "\n").lstrip("\ufeff")) == digest(two)
    assert jaccard(one, two) == 1.0


def test_the_folio_hamlet_is_another_text() -> None:
    # Same play, old spelling: "Tragedie", "Scoena", "haue". Not a copy by any threshold in use.
    quarto, folio = read("shakespeare/hamlet_gut.txt"), read("shakespeare/hamlet_gut_f.txt")
    assert digest(quarto) != digest(folio)
    assert 0.1 < jaccard(quarto, folio) < 0.3


def passages() -> list[str]:
    """Passages of 200 words, then edited versions of some: case, one word in 40, one in 15, a chain of edits."""
    generator = random.Random(11)
    found = []
    for path in sorted(SAMPLES.glob("moby-dick/*.txt")):
        words = path.read_text(encoding="utf-8").split()
        found += [words[i : i + 200] for i in range(0, min(len(words), 1600) - 199, 200)]
    texts = [" ".join(words) for words in found]

    def edited(words: list[str], every: int) -> list[str]:
        start = generator.randrange(every)
        return [f"edit{generator.randrange(9)}" if i % every == start else word for i, word in enumerate(words)]

    for words in found[:40]:
        texts += [" ".join(words).upper(), " ".join(edited(words, 60)), " ".join(edited(words, 15))]
    chain = found[50]
    for step in range(6):
        chain = [*chain[10:], *(f"new{step}x{i}" for i in range(10))]
        texts.append(" ".join(chain))
    return [*texts, "", "too short", "too short", *(read(f"zh-classics/{name}.json") for name in ("lunyu", "lunyu"))]


def deduplicate(texts: list[str]) -> dict[str, tuple[str, float]]:
    """Text of each dropped document -> (text of its twin, Jaccard), by every module of this room."""
    array = pa.array(texts)
    n = len(texts)
    doc_id = pa.array([hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in texts])
    ref = np.arange(n, dtype=np.uint64)
    none = np.zeros(n, np.uint16)
    order = order_keys(none, none, doc_id)
    rank = ranks(order, ref)
    survivor = exact_copies(digest_words(digests(array)), rank)
    dropped = {texts[i]: (texts[survivor[i]], 1.0) for i in range(n) if survivor[i] != i}

    shingles = shingle_sets(array, CONFIG)
    enough = np.flatnonzero((shingles.counts >= CONFIG.min_shingles) & (survivor == np.arange(n)))
    bands, rows = CONFIG.banding
    keys = band_keys(signatures(shingles, CONFIG.signature_width), bands, rows)[enough].ravel()
    row = np.repeat(enough, bands)
    left, right, _, _ = candidate_pairs(keys, order[row], ref[row], CONFIG.bucket_cap)
    left, right = left.astype(np.int64), right.astype(np.int64)
    twin, value = resolve(n, rank[left], rank[right], jaccard_of_pairs(shingles, left, right), CONFIG.threshold)
    at = np.argsort(rank)
    for position in np.flatnonzero(twin >= 0):
        dropped[texts[at[position]]] = (texts[at[twin[position]]], float(value[position]))
    return dropped


def words_jaccard(a: str, b: str) -> float:
    """Plain Python over text that needs no normalising beyond case and ASCII punctuation."""
    sets = []
    for text in (a, b):
        words = "".join(char if char.isalnum() else " " for char in text.lower()).split()
        sets.append({tuple(words[i : i + 5]) for i in range(len(words) - 4)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_planted_edits_are_found_and_every_drop_is_right() -> None:
    texts = passages()
    dropped = deduplicate(texts)
    near = {text: twin for text, twin in dropped.items() if twin[1] < 1}
    assert len(near) >= 40
    exactly_kept = set(texts) - set(dropped)
    for text, (twin, value) in near.items():
        assert twin in exactly_kept
        assert value >= CONFIG.threshold
        if text.isascii() and twin.isascii():
            assert value == words_jaccard(text, twin)
    # And nothing was missed, the chain of edits included: all kept pairs, by brute force.
    kept_ascii = [text for text in exactly_kept if text.isascii() and len(text.split()) >= 100]
    for i, text in enumerate(kept_ascii):
        assert all(words_jaccard(text, other) < CONFIG.threshold for other in kept_ascii[:i])


def test_short_documents_are_compared_exactly_only() -> None:
    texts = ["too short", "too short", "", "", "so short", "Too short!"]
    assert deduplicate(texts).keys() <= {"too short", "", "Too short!"}
    assert "so short" not in deduplicate(texts)


def test_input_order_changes_nothing() -> None:
    texts = passages()
    expected = deduplicate(texts)
    for seed in (1, 2):
        shuffled = list(texts)
        random.Random(seed).shuffle(shuffled)
        assert deduplicate(shuffled) == expected
