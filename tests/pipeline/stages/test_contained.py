"""Containment: quoted and embedded documents go, for a kept larger one that really holds them."""

import random

import pytest

from pipeline.config import PipelineConfig, make_config

WORDS = [f"word{number}" for number in range(3000)]


def config(**values) -> PipelineConfig:
    return make_config({"deduplicate": {"partitions": 3, "containment": 0.9, **values}})


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def share(small: str, large: str) -> float:
    return len(shingles(small) & shingles(large)) / len(shingles(small))


def books(seed: int = 1) -> list[str]:
    """Books, passages of them, passages slightly edited, with copies and near copies of both."""
    generator = random.Random(seed)
    texts = []
    for _ in range(12):
        book = generator.choices(WORDS, k=1200)
        texts.append(" ".join(book))
        for _ in range(5):
            start = generator.randrange(1000)
            passage = book[start : start + generator.randrange(90, 200)]
            texts.append(" ".join(passage))
            if generator.random() < 0.5:
                near = [*passage[:-3], *generator.choices(WORDS, k=3)]
                texts += [" ".join(near)] * generator.choice((1, 2))
            if generator.random() < 0.5:
                # Half of it is its own.
                texts.append(" ".join([*passage, *generator.choices(WORDS, k=len(passage))]))
        texts.append(" ".join(generator.choices(WORDS, k=150)))
    return texts


@pytest.mark.parametrize("seed", range(3))
def test_embedded_documents_go_and_others_stay(duplicates, tmp_path, seed) -> None:
    texts = books(seed)
    parts = [texts[:30], texts[30:]]
    drops, facts = duplicates.deduplication(tmp_path, parts, config()).decide()
    dropped = duplicates.told(drops, parts)
    kept = [t for p, some in enumerate(parts) for r, t in enumerate(some) if (p, r) not in dropped]
    kinds = [kind for _, _, kind in dropped.values()]
    assert kinds.count("contained") > 40
    assert facts["anchors"] > 0
    containment = dict(zip(dropped, drops.containment.tolist(), strict=True))
    for place, (twin, jaccard, kind) in dropped.items():
        text = parts[place[0]][place[1]]
        assert twin in kept
        assert jaccard == len(shingles(text) & shingles(twin)) / len(shingles(text) | shingles(twin))
        if kind == "contained":
            assert containment[place] == share(text, twin) >= 0.9
        else:
            assert jaccard >= 0.8
    justifies = {twin for twin, _, kind in dropped.values() if kind == "near"}
    for small in kept:
        for large in kept:
            if len(shingles(large)) > len(shingles(small)) >= 50 and small not in justifies:
                assert share(small, large) < 0.9


def test_a_document_that_justifies_drops_the_larger_one_does_not_hold_stays(duplicates, tmp_path) -> None:
    generator = random.Random(9)
    book = generator.choices(WORDS, k=1500)
    passage = book[100:300]
    # The near copies: 0.806 like the passage, but only 0.893 of them is in the book.
    near = [" ".join([*passage[:-21], *generator.choices(WORDS, k=21)]) for _ in range(2)]
    texts = [" ".join(book), " ".join(passage), *near]
    assert share(texts[1], texts[0]) == 1.0
    for best in (1, 2):
        quality = {text: 0 if number in (0, best) else 5 for number, text in enumerate(texts)}
        drops, _ = duplicates.deduplication(tmp_path / str(best), [texts], config(), quality).decide()
        dropped = duplicates.told(drops, [texts])
        if best == 1:
            assert {kind for _, _, kind in dropped.values()} == {"near"}
            assert (0, 1) not in dropped
        assert all(twin == texts[0] or twin == texts[best] for twin, _, _ in dropped.values())


def test_switched_off_and_short_documents(duplicates, tmp_path) -> None:
    book = random.Random(2).choices(WORDS, k=500)
    texts = [" ".join(book), " ".join(book[50:80]), " ".join(book[200:300])]
    for number, (values, gone) in enumerate(
        [({"containment": 0.0}, set()), ({}, {(0, 2)}), ({"containment_shingles": 10}, {(0, 1), (0, 2)})]
    ):
        drops, _ = duplicates.deduplication(tmp_path / str(number), [texts], config(**values)).decide()
        assert set(duplicates.told(drops, [texts])) == gone


def test_without_near_duplicates(duplicates, tmp_path) -> None:
    book = random.Random(2).choices(WORDS, k=500)
    texts = [" ".join(book), " ".join(book[200:300]), " ".join(book)]
    drops, facts = duplicates.deduplication(tmp_path, [texts], config(near=False)).decide()
    dropped = duplicates.told(drops, [texts])
    assert {place: kind for place, (_, _, kind) in dropped.items()} == {(0, 1): "contained", (0, 2): "exact"}
    assert "pairs" not in facts
