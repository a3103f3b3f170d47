import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.words.frequency import WORD_COUNTS, merge_words
from pipeline.words.sketch import (
    CELLS,
    ROWS,
    cells_of,
    dense,
    exact_from,
    heavy_cells,
    merge_cells,
    sketch,
    sketch_width,
    survivors,
    threshold,
)


def counts(rows: dict[str, int]) -> pa.Table:
    columns = [list(rows), list(rows.values()), list(rows.values()), [0] * len(rows)]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, WORD_COUNTS.types, strict=True)]
    return pa.table(arrays, schema=WORD_COUNTS)


def two_passes(parts: list[pa.Table], max_distinct: int, least: int = 1) -> tuple[int, pa.Table]:
    width = sketch_width(max_distinct)
    cells = merge_cells(pa.concat_tables([CELLS.empty_table(), *(sketch(part, width) for part in parts)]))
    sums = dense(cells, width)
    least = threshold(sums, max_distinct, least)
    heavy = heavy_cells(sums, least)
    return least, exact_from(merge_words([survivors(part, heavy) for part in parts]), least)


PARTS = st.lists(st.dictionaries(st.text("ab中", max_size=4), st.integers(1, 40), max_size=30).map(counts), max_size=4)


@settings(max_examples=40, deadline=None)
@given(PARTS, st.integers(1, 30))
def test_all_frequent_words_with_their_exact_counts_and_no_others(parts, least):
    found, table = two_passes(parts, 1, least)
    assert found >= least
    assert table.equals(exact_from(merge_words(parts), found))


def zipfian(words: int) -> list[pa.Table]:
    rng = np.random.default_rng(0)
    drawn = [np.minimum(rng.zipf(1.3, 40_000), words) for _ in range(3)]
    return [
        counts({f"word{i}": int(n) for i, n in zip(*np.unique(part, return_counts=True), strict=True)})
        for part in drawn
    ]


def test_what_remains_fits():
    parts = zipfian(10**6)
    whole = merge_words(parts)
    least, table = two_passes(parts, 2048)
    assert len(whole) > 4 * 2048
    assert 2 <= least < 20
    assert 500 < len(table) <= 2048
    assert table.equals(exact_from(whole, least))


def test_order_of_the_parts_does_not_matter():
    parts = zipfian(10**6)
    assert two_passes(parts, 1024)[1].equals(two_passes(parts[::-1], 1024)[1])


def test_few_light_words_are_counted_in_vain():
    parts = zipfian(10**6)
    width = sketch_width(4096)
    sums = dense(merge_cells(pa.concat_tables([sketch(part, width) for part in parts])), width)
    least = threshold(sums, 4096)
    left = merge_words([survivors(part, heavy_cells(sums, least)) for part in parts])
    light = len(left) - len(exact_from(left, least))
    assert light < 0.15 * len(merge_words(parts))
    assert (heavy_cells(sums, least).sum(axis=1) <= width // 2).all()


def test_cells_are_spread_and_depend_on_the_bytes_alone():
    words = pa.array([f"word{i}" for i in range(20_000)])
    cells = cells_of(words, 1024)
    assert cells.shape == (20_000, ROWS)
    assert (cells // 1024 == np.arange(ROWS)).all()
    for row in range(ROWS):
        filled = np.bincount(cells[:, row] - 1024 * row, minlength=1024)
        assert 0 < filled.min() < filled.max() < 60
    assert (cells_of(words.slice(7, 9), 1024) == cells[7:16]).all()
    assert (cells_of(pa.chunked_array([words[:3], words[3:8]]), 1024) == cells[:8]).all()
    assert cells_of(pa.array([""]), 1024).shape == (1, ROWS)
    assert cells_of(pa.array([], pa.string()), 1024).shape == (0, ROWS)
