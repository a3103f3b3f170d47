import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.resolve import resolve

Edge = tuple[int, int, float]

similarity = st.sampled_from([0.0, 0.5, 0.79, 0.8, 0.9, 0.95, 1.0])


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[Edge]]:
    n = draw(st.integers(1, 15))
    pairs = [(i, j) for j in range(n) for i in range(j)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return n, [(i, j, draw(similarity)) for i, j in chosen]


def run(n: int, edges: list[Edge], threshold: float = 0.8) -> tuple[list[int], np.ndarray]:
    left = np.array([edge[0] for edge in edges], np.int64)
    right = np.array([edge[1] for edge in edges], np.int64)
    twin, jaccard = resolve(n, left, right, np.array([edge[2] for edge in edges], np.float64), threshold)
    assert twin.dtype == np.int64
    assert twin.shape == jaccard.shape == (n,)
    return twin.tolist(), jaccard


@settings(max_examples=200, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_every_drop_has_a_kept_twin_and_kept_ones_have_none(graph: tuple[int, list[Edge]], random) -> None:
    n, edges = graph
    shuffled = list(edges)
    random.shuffle(shuffled)
    twin, jaccard = run(n, shuffled)
    near = {(i, j): value for i, j, value in edges if value >= 0.8}
    for document in range(n):
        if twin[document] < 0:
            assert np.isnan(jaccard[document])
            continue
        kept = [(-near[i, document], i) for i in range(document) if (i, document) in near and twin[i] < 0]
        assert (-jaccard[document], twin[document]) == min(kept)
    assert not any(twin[i] < 0 and twin[j] < 0 for i, j in near)


def test_a_chain_keeps_its_far_end() -> None:
    twin, jaccard = run(3, [(0, 1, 0.85), (1, 2, 0.85), (0, 2, 0.7)])
    assert twin == [-1, 0, -1]
    assert jaccard[1] == 0.85


def test_a_long_chain_drops_every_other() -> None:
    n = 1000
    twin, _ = run(n, [(i, i + 1, 0.9) for i in range(n - 1)])
    assert twin == [-1 if i % 2 == 0 else i - 1 for i in range(n)]


def test_most_similar_twin_then_earliest() -> None:
    assert run(4, [(0, 3, 0.85), (1, 3, 0.95), (2, 3, 0.95)])[0] == [-1, -1, -1, 1]


def test_repeated_edges_do_no_harm() -> None:
    assert run(2, [(0, 1, 0.9)] * 3)[0] == [-1, 0]


def test_no_edges() -> None:
    assert run(3, [])[0] == [-1, -1, -1]


@pytest.mark.parametrize("edge", [(1, 0), (1, 1), (-1, 1), (0, 2)])
def test_edges_against_the_order(edge: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="left < right < 2"):
        run(2, [(*edge, 0.9)])
