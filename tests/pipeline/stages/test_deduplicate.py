"""The deduplicate stage over parts of documents: what is dropped, whatever runs it and however it is cut."""

import random
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import PipelineConfig, make_config
from pipeline.dedup.decide import Edges, near_twins
from pipeline.dedup.refs import refs_of_part
from pipeline.io.sink import ArrowSink
from pipeline.runner import Execution
from pipeline.settle_duplicates import Deduplication
from pipeline.stages.candidates import path_of
from pipeline.stages.exchange import spread
from pipeline.stages.verify import EDGES

WORDS = [f"word{number}" for number in range(3000)]


def config(**values) -> PipelineConfig:
    return make_config({"deduplicate": {"partitions": 3, **values}})


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def jaccard(a: str, b: str) -> float:
    one, other = shingles(a), shingles(b)
    return len(one & other) / max(len(one | other), 1)


def corpus(seed: int = 1) -> list[list[str]]:
    """Three parts of random passages, edits of them near and far, copies, chains, short and empty texts."""
    generator = random.Random(seed)
    texts = [
        "",
        "",
        "short text",
        "short text",
        "word",
        "一二三四五六七八九十百千萬" * 3,
        "一二三四五六七八九十百千萬" * 3,
    ]
    for _ in range(60):
        words = generator.choices(WORDS, k=generator.randrange(20, 120))
        texts.append(" ".join(words))
        for edits in generator.choices((0, 1, 1, 2, 5), k=2):
            other = list(words)
            for place in generator.sample(range(len(words)), edits):
                other[place] = "edit"
            texts.append(" ".join(other))
    generator.shuffle(texts)
    return [texts[:70], [], texts[70:]]


def check(parts: list[list[str]], dropped: dict, threshold: float = 0.8) -> None:
    """By plain Python: every drop has a kept twin that it resembles as told, and no two kept ones are copies."""
    kept = [text for p, texts in enumerate(parts) for r, text in enumerate(texts) if (p, r) not in dropped]
    for (part, row), (twin, value, kind) in dropped.items():
        text = parts[part][row]
        assert twin in kept
        if kind == "exact":
            assert text == twin
            assert value == 1.0
        else:
            assert value == jaccard(text, twin) >= threshold
    assert len(kept) == len(set(kept))
    for i, text in enumerate(kept):
        for other in kept[:i]:
            if len(shingles(text)) >= 5 and len(shingles(other)) >= 5:
                assert jaccard(text, other) < threshold


def test_drops_are_right_and_none_is_missing(duplicates, tmp_path) -> None:
    parts = corpus()
    stage = duplicates.deduplication(tmp_path, parts, config())
    drops, facts = stage.decide()
    dropped = duplicates.told(drops, parts)
    check(parts, dropped)
    assert sum(kind == "near" for _, _, kind in dropped.values()) > 40
    distinct = {text for texts in parts for text in texts}
    assert facts["copies"] == sum(map(len, parts)) - len(distinct)
    assert facts["short"] == sum(len(shingles(text)) < 5 and not text.startswith("一") for text in distinct)
    assert facts["compared"] == len(distinct) - facts["short"]


def test_another_cut_of_the_documents_keeps_the_same_texts(duplicates, tmp_path) -> None:
    parts = corpus()
    flat = [text for texts in parts for text in texts]
    kept = []
    for number, seed in enumerate((None, 1, 2)):
        texts = list(flat)
        if seed is not None:
            random.Random(seed).shuffle(texts)
        recut = [
            texts[number::4],
            texts[(number + 1) % 4 :: 4],
            texts[(number + 2) % 4 :: 4],
            texts[(number + 3) % 4 :: 4],
        ]
        drops, _ = duplicates.deduplication(tmp_path / str(number), recut, config(partitions=number + 1)).decide()
        dropped = duplicates.told(drops, recut)
        kept.append(sorted(t for p, some in enumerate(recut) for r, t in enumerate(some) if (p, r) not in dropped))
    assert kept[0] == kept[1] == kept[2]


@pytest.mark.parametrize(
    ("resolution", "cap", "execution"),
    [
        ("rounds", 2, None),
        ("rounds", 16, Execution()),
        ("local", 16, Execution(workers=2)),
        pytest.param("rounds", 2, Execution(workers=2), marks=pytest.mark.slow),
    ],
)
def test_jobs_and_rounds_change_no_byte(duplicates, tmp_path, resolution, cap, execution) -> None:
    parts = corpus()
    found = []
    for name in ("local", resolution):
        where = tmp_path / str(len(found))
        stage = duplicates.deduplication(where, parts, config(resolution=name, bucket_cap=cap))
        if found and execution is not None:
            stage = replace(stage, run=duplicates.run_as_jobs(where, execution))
        drops, facts = stage.decide()
        stage.write_decisions(drops)
        assert (facts["resolution_rounds"] > 1) == (name == "rounds")
        files = sorted((where / "stages/deduplicate/decisions").iterdir())
        assert len(files) == 3
        found.append([file.read_bytes() for file in files])
    assert found[0] == found[1]


@pytest.mark.parametrize("texts", [["one text of its own"], [" ".join(WORDS[:50]), " ".join(WORDS[50:100])], [""], []])
@pytest.mark.parametrize("resolution", ["local", "rounds"])
def test_where_nothing_goes(duplicates, tmp_path, texts, resolution) -> None:
    values = config(resolution=resolution, containment=0.9)
    stage = duplicates.deduplication(tmp_path, [[], texts], values)
    drops, facts = stage.decide()
    stage.write_decisions(drops)
    assert len(drops.ref) == facts["copies"] == 0
    assert len(list((tmp_path / "stages/deduplicate/decisions").iterdir())) == 2


def test_the_better_document_survives(duplicates, tmp_path) -> None:
    words = random.Random(5).choices(WORDS, k=80)
    near = [" ".join([*words, f"end{number}"]) for number in range(6)]
    for best in range(6):
        quality = {text: 3 for number, text in enumerate(near) if number != best}
        stage = duplicates.deduplication(tmp_path / str(best), [near], config(), quality)
        drops, _ = stage.decide()
        assert {twin for twin, _, _ in duplicates.told(drops, [near]).values()} == {near[best]}
        assert len(drops.ref) == 5


def chain(length: int) -> list[str]:
    words = random.Random(6).choices(WORDS, k=100 + 9 * length)
    return [" ".join(words[9 * step : 9 * step + 100]) for step in range(length)]


def test_a_chain_keeps_its_far_end(duplicates, tmp_path) -> None:
    texts = chain(3)
    assert jaccard(texts[0], texts[1]) >= 0.8 > jaccard(texts[0], texts[2])
    for first in range(3):
        quality = {text: 1 + abs(number - first) for number, text in enumerate(texts)}
        drops, _ = duplicates.deduplication(tmp_path / str(first), [texts], config(), quality).decide()
        dropped = duplicates.told(drops, [texts])
        assert set(dropped) == ({(0, 1)} if first != 1 else {(0, 0), (0, 2)})
        check([texts], dropped)


# ---- buckets over the cap


def mails(count: int, gap: int, seed: int = 3) -> list[str]:
    """Mails of one template of 150 words that differ in every `gap`-th word; each ninth is a near copy of another."""
    generator = random.Random(seed)
    body = generator.choices(WORDS, k=150)
    texts: list[str] = []
    for number in range(count):
        if number % 9 == 8:
            words = texts[generator.randrange(len(texts))].split()
            for place in (20, 70, 120):
                words[place + generator.randrange(20)] = f"new{number}"
        else:
            words = list(body)
            words[number % gap :: gap] = [f"x{number}y{place}" for place in range(len(words[number % gap :: gap]))]
        texts.append(" ".join(words))
    return texts


def test_overfull_buckets_lose_no_pair(duplicates, tmp_path) -> None:
    texts = mails(300, 40, 4)
    parts = [texts[:150], texts[150:]]
    stage = duplicates.deduplication(tmp_path, parts, config(bucket_cap=2))
    drops, facts = stage.decide()
    check(parts, duplicates.told(drops, parts))
    assert facts["overfull"] > 0
    assert facts["rounds"] >= 1
    assert facts["unexamined"] == 0
    assert len(drops.ref) > 20
    assert facts["further_pairs"] > 0
    # The cap alone would have lost some.
    alone = near_twins(Edges(*stage._columns(EDGES, [path_of("edges", place) for place in range(3)])))
    assert len(alone[0]) < len(drops.ref)


def near_equal(count: int) -> list[str]:
    """One cluster, and mails of the same template that differ in most of it."""
    generator = random.Random(4)
    body = generator.choices(WORDS, k=120)
    texts = []
    for number in range(count):
        words = list(body)
        words[60] = f"name{number}"
        if number % 100 == 0:
            words[::4] = generator.choices(WORDS, k=30)
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_cluster_of_near_equal_mails_is_linear(duplicates, tmp_path, count) -> None:
    texts = near_equal(count)
    parts = [texts[k::4] for k in range(4)]
    stage = duplicates.deduplication(tmp_path, parts, config())
    start = time.process_time()
    drops, facts = stage.decide()
    assert time.process_time() - start < 4 + count / 1000
    assert facts["pairs"] < count * 16 * 3
    assert facts["further_pairs"] < count
    # One of the cluster stays, and all that differ.
    assert len(drops.ref) == count - count // 100 - 1


# ---- resolution


def store_edges(where, edges: Edges, places: int) -> None:
    place = spread(edges.left, places)
    for number in range(places):
        mine = place == number
        sink = ArrowSink(str(where / path_of("edges", number)), EDGES, compressed=False)
        columns = [edges.left, edges.right, edges.left_order, edges.right_order, edges.jaccard]
        sink.write(pa.table([column[mine] for column in columns], schema=EDGES))
        sink.close()


@st.composite
def graphs(draw: st.DrawFn) -> Edges:
    n = draw(st.integers(2, 25))
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=80))
    order = np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n)), np.uint64)
    oriented = sorted({(a, b) if (order[a], a) < (order[b], b) else (b, a) for a, b in pairs if a != b})
    left, right = np.array(oriented or np.empty((0, 2)), np.int64).T
    value = np.array(draw(st.lists(st.sampled_from([0.8, 0.85, 0.9]), min_size=len(left), max_size=len(left))))
    refs = refs_of_part(7, n)
    return Edges(refs[left], refs[right], order[left], order[right], value.astype(np.float64))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges=graphs())
def test_rounds_equal_the_local_form(duplicates, tmp_path_factory, edges) -> None:
    where = tmp_path_factory.mktemp("graph")
    store_edges(where, edges, 3)
    stage = Deduplication(str(where), config().deduplicate, {7: 25}, "f", duplicates.run_directly(where))
    facts = {"resolution_rounds": 0}
    here, there = stage._resolve_here(["edges"]), stage._resolve_in_rounds(["edges"], facts)
    for one, other in zip(here, there, strict=True):
        assert one.tolist() == other.tolist()
    dropped = dict(zip(here[0].tolist(), here[1].tolist(), strict=True))
    neighbours = set(zip(edges.left.tolist(), edges.right.tolist(), strict=True))
    assert all((twin, ref) in neighbours and twin not in dropped for ref, twin in dropped.items())
    assert all(left in dropped or right in dropped for left, right in neighbours)


def test_a_long_chain_takes_its_rounds(duplicates, tmp_path) -> None:
    refs = refs_of_part(0, 30)
    order = np.arange(30, dtype=np.uint64)
    store_edges(tmp_path, Edges(refs[:-1], refs[1:], order[:-1], order[1:], np.full(29, 0.9)), 3)
    stage = Deduplication(str(tmp_path), config().deduplicate, {0: 30}, "f", duplicates.run_directly(tmp_path))
    facts = {"resolution_rounds": 0}
    ref, twin, _ = stage._resolve_in_rounds(["edges"], facts)
    assert ref.tolist() == refs[1::2].tolist()
    assert twin.tolist() == refs[0:-1:2].tolist()
    assert facts["resolution_rounds"] == 30
