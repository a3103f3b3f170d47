"""The stage `substrings`: equal to a plain reference, the first document keeps what is shared, nothing is lost."""

import random

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import ConfigError, make_config
from pipeline.dedup.normalize import normalise
from pipeline.dedup.protect import units_of
from pipeline.runner import Execution
from pipeline.stages.documents import CUTTING, cut_audit_path, cut_texts_path, document_batches, emptied_rows
from pipeline.stages.kept import kept_documents
from pipeline.stages.substrings import facts_of, meet, steps_of

LEAST = 12
CONFIG = make_config({"substrings": {"min_words": LEAST}, "deduplicate": {"near": False, "partitions": 3}})
NAMES = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty", "knoll", "lagoon"]


def sentence(number: int, words: int = 7) -> str:
    """Its own words for every number."""
    chance = random.Random(number)
    return " ".join(f"{chance.choice(NAMES)}{number}{chr(97 + i)}" for i in range(words)).capitalize() + "."


def passage(first: int, sentences: int) -> str:
    return " ".join(sentence(first + i) for i in range(sentences))


def run(duplicates, output, parts, config=CONFIG, runner=None, quality=None):
    """Texts after the stage (None where the document was dropped before), facts."""
    stage = duplicates.deduplication(output, parts, config, quality)
    drops, _ = stage.decide()
    stage.write_decisions(drops)
    documents = {number: len(texts) for number, texts in enumerate(parts)}
    steps = steps_of(str(output), config, documents, "print")
    facts = facts_of((runner or duplicates.run_directly(output))("substrings", steps))
    return texts_of(output, len(parts)), facts


def texts_of(output, parts: int) -> list[list[str]]:
    return [[t for b in document_batches(str(output), n, CUTTING) for t in b["text"].to_pylist()] for n in range(parts)]


def told(output, part: int) -> list[dict]:
    return pa.ipc.open_file(str(output / cut_audit_path("substrings", part))).read_all().to_pylist()


def plain(texts: list[str], order: list[int], least: int) -> dict[int, list[str]]:
    """Document -> the units that stay, by comparing all words of all pairs."""
    out = {}
    for place, document in enumerate(order):
        units = units_of(texts[document])
        bounds = np.cumsum([0, *(len(normalise(unit).split()) for unit in units)])
        words = normalise(texts[document]).split()
        gone = set()
        for earlier in order[:place]:
            other = normalise(texts[earlier]).split()
            for i in range(len(words)):
                for j in range(len(other)):
                    if i and j and words[i - 1] == other[j - 1]:
                        continue
                    size = 0
                    while i + size < len(words) and j + size < len(other) and words[i + size] == other[j + size]:
                        size += 1
                    if size >= least:
                        gone |= {u for u in range(len(units)) if i <= bounds[u] < bounds[u + 1] <= i + size}
        out[document] = [unit.strip() for u, unit in enumerate(units) if u not in gone and unit.strip()]
    return out


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_a_plain_reference(duplicates, tmp_path, seed):
    chance = random.Random(seed)
    pool = [passage(100 * n, 4) for n in range(4)]
    texts = []
    for number in range(9):
        pieces = [passage(1000 + 10 * number, 2)]
        for _ in range(chance.randrange(4)):
            piece = chance.choice(pool)
            words = piece.split()
            cut = chance.randrange(len(words) - 9)
            some = " ".join(words[cut : cut + 20]) + "."
            pieces.insert(chance.randrange(2), chance.choice([piece, piece.upper(), some]))
        texts.append(chance.choice(["\n", "\n\n", " "]).join(pieces))
    assert len(set(texts)) == len(texts)
    after, facts = run(duplicates, tmp_path, [texts[:4], [], texts[4:]])
    order = sorted(range(9), key=lambda n: duplicates.id_of(texts[n]))
    expected = plain(texts, order, LEAST)
    for document, text in enumerate(after[0] + after[2]):
        assert [unit.strip() for unit in units_of(text) if unit.strip()] == expected[document]
    assert facts["substring_overfull"] == 0
    assert any(text != before for text, before in zip(after[0] + after[2], texts, strict=True))
    # What is cut stands in another document still.
    left = [normalise(text) for text in after[0] + after[2]]
    assert all(any(normalise(unit) in text for text in left) for before in texts for unit in units_of(before))


def test_the_better_document_keeps_it_and_the_audit_says_so(duplicates, tmp_path):
    shared = passage(1, 3)
    texts = [f"{shared}\n{passage(50, 2)}", f"{passage(60, 2)}\n{shared}\n{passage(70, 2)}"]
    quality = {texts[0]: 1}
    after, facts = run(duplicates, tmp_path, [texts], quality=quality)
    assert after == [[passage(50, 2), texts[1]]]
    assert facts["substring_documents"] == 1
    assert facts["substring_characters"] == len(shared) + 1
    (row,) = told(tmp_path, 0)
    assert row["detail"] == "21 words shared with f0#1 cut"
    assert row["chars_out"] == len(after[0][0])


def test_a_run_shorter_than_the_limit_stays(duplicates, tmp_path):
    shared = sentence(1, LEAST - 1)
    texts = [f"{shared} {passage(50, 2)}", f"{passage(60, 2)} {shared}"]
    assert run(duplicates, tmp_path, [texts])[0] == [texts]


def test_a_sentence_that_is_shared_in_part_stays(duplicates, tmp_path):
    shared = sentence(1, 20).rstrip(".")
    texts = [f"{shared} and more. {sentence(3)}", f"{shared} otherwise. {sentence(4)}"]
    assert run(duplicates, tmp_path, [texts])[0] == [texts]


def test_repeats_within_a_document_stay(duplicates, tmp_path):
    texts = [f"{passage(1, 3)}\n{passage(1, 3)}", passage(50, 3)]
    assert run(duplicates, tmp_path, [texts])[0] == [texts]


def test_a_document_of_which_nothing_is_left_is_filtered(duplicates, tmp_path):
    whole = passage(1, 6)
    inner = " ".join(sentence(n) for n in (2, 3, 4)) + "\n---"
    after, facts = run(duplicates, tmp_path, [[whole], [inner]], quality={inner: 1})
    assert after == [[whole], [""]]
    assert facts["substring_emptied"] == 1
    assert emptied_rows(str(tmp_path), 1, CUTTING).tolist() == [0]
    assert [t for n in range(2) for b in kept_documents(str(tmp_path), n) for t in b["text"].to_pylist()] == [whole]


def test_dropped_copies_neither_cut_nor_are_cut(duplicates, tmp_path):
    text = passage(1, 4)
    after, facts = run(duplicates, tmp_path, [[text, text.upper()], [text]])
    assert after == [[text, text.upper()], [text]]
    assert facts["substring_documents"] == 0


def test_the_same_bytes_for_jobs_with_any_workers(duplicates, tmp_path):
    texts = [f"{passage(10 * (n % 3), 3)}\n{passage(500 + 10 * n, 2)}" for n in range(8)]
    parts = [texts[:3], texts[3:]]
    after, facts = run(duplicates, tmp_path / "one", parts)
    execution = Execution(workers=2)
    runner = duplicates.run_as_jobs(tmp_path / "two", execution)
    assert run(duplicates, tmp_path / "two", parts, runner=runner) == (after, facts)
    assert facts["substring_documents"] == 5
    for part in range(2):
        for path in (cut_texts_path("substrings", part), cut_audit_path("substrings", part)):
            assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_common_fingerprints_take_linear_time_and_are_told():
    places = 1000
    value, word = np.zeros(places, np.uint64), np.zeros(places, np.uint32)
    order, ref = np.zeros(places, np.uint64), np.arange(places, dtype=np.uint64)
    (later, _, earlier, _), overfull = meet(value, order, ref, word, 8)
    assert overfull == 1
    assert len(later) <= 8 * places
    assert len(np.unique(np.stack([later, earlier]), axis=1).T) == len(later)
    met = {int(n): sorted(earlier[later == n].tolist()) for n in (1, 5, 900)}
    assert met == {1: [0], 5: [0, 1, 2, 3, 4], 900: [0, 1, 2, 3, 896, 897, 898, 899]}
    (later, _, earlier, _), overfull = meet(value[:8], order[:8], ref[:8], word[:8], 8)
    assert (len(later), overfull) == (28, 0)


def test_a_limit_that_cuts_everything_is_an_error():
    with pytest.raises(ConfigError, match="at least 8"):
        make_config({"substrings": {"min_words": 3}})
