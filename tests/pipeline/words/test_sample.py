import hashlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.words.sample import (
    CANDIDATES,
    DOCUMENT_BYTES,
    SALT,
    candidates,
    from_json,
    group_bytes,
    limits,
    quotas,
    sampled,
    smallest,
    to_json,
)
from pipeline.words.split import doc_id_hash
from schemas.arrow import DOCUMENTS


def batch(rows: list[tuple[str, str, str]]) -> pa.RecordBatch:
    """(source, language, text) rows as DOCUMENTS."""
    ids = [hashlib.blake2b(f"{i}{row}".encode(), digest_size=16).hexdigest() for i, row in enumerate(rows)]
    columns = [ids, [f"f#{i}" for i in range(len(rows))], *([row[i] for row in rows] for i in range(3))]
    return pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=DOCUMENTS)


DOCUMENT = st.tuples(
    st.sampled_from(["books", "web"]), st.sampled_from(["en", "zh", "und"]), st.text("aé鯨🐋 ", max_size=40)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(DOCUMENT, max_size=30), st.integers(1, 600), st.randoms(use_true_random=False))
def test_the_sample_is_the_brute_force_one_however_the_documents_are_cut(rows, budget, random):
    whole = batch(rows)
    # by brute force: each group's documents in the order of their hashes, byte by byte
    hashes = doc_id_hash(whole["doc_id"], SALT).tolist()
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for value, (source, language, text) in zip(hashes, rows, strict=True):
        groups.setdefault((source, language), []).append((value, text))
    sizes = {group: sum(len(text.encode()) for _, text in held) for group, held in sorted(groups.items())}
    given_bytes = quotas(sizes, budget)
    expected = []
    for group, held in groups.items():
        left = given_bytes[group]
        for _, text in sorted(held):
            if left > 0:
                expected.append((group[1], text.encode()[:left].decode("utf-8", "ignore")))
                left -= len(text.encode())

    cuts = sorted(random.choices(range(len(rows) + 1), k=2))
    parts = [whole.slice(start, end - start) for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    random.shuffle(parts)
    tables = [smallest(candidates(part), budget) for part in parts]
    merged = smallest(pa.concat_tables([smallest(pa.concat_tables(tables[:2]), budget), tables[2]]), budget)
    assert merged.equals(smallest(candidates(whole), budget))
    assert group_bytes(candidates(whole)) == sizes

    ends = from_json(to_json(limits(merged, given_bytes)))
    found = [(row["language"], row["text"]) for part in parts for row in sampled(part, ends)[0].to_pylist()]
    empty = ("en", ""), ("zh", ""), ("und", "")  # a document without text may be in or out
    assert sorted(row for row in found if row not in empty) == sorted(row for row in expected if row not in empty)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from(["en", "zh", "de"])), st.integers(0, 10**9)),
    st.integers(1, 10**9),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_quotas_fill_the_budget_and_ask_no_group_for_more_than_it_has(sizes, budget, by_language, by_source):
    found = quotas(sizes, budget, by_language, by_source)
    assert found.keys() == sizes.keys()
    assert all(0 <= found[group] <= sizes[group] for group in sizes)
    total = sum(sizes.values())
    if total <= budget:
        assert found == sizes
    else:
        assert budget - len(sizes) <= sum(found.values()) <= budget
    assert quotas(dict(reversed(sizes.items())), budget, by_language, by_source) == found


def test_temperature_moves_bytes_to_small_languages():
    sizes = {("web", "en"): 9_000_000, ("web", "zh"): 900_000, ("books", "en"): 100_000}
    natural = quotas(sizes, 1_000_000)
    assert natural == {("web", "en"): 900_000, ("web", "zh"): 90_000, ("books", "en"): 10_000}
    flatter = quotas(sizes, 1_000_000, language_temperature=0.5)
    share = (9.1 / 10) ** 0.5 / ((9.1 / 10) ** 0.5 + (0.9 / 10) ** 0.5)
    assert flatter[("web", "en")] + flatter[("books", "en")] == pytest.approx(1_000_000 * share, abs=3)
    equal = quotas(sizes, 1_000_000, 0, 0)
    # books hold less than their quarter: they give all, and the rest is shared as before
    assert equal == {("web", "en"): 300_000, ("web", "zh"): 600_000, ("books", "en"): 100_000}


def test_one_giant_document_gives_its_beginning_alone():
    rows = [("a", "en", "x" * (3 * DOCUMENT_BYTES)), ("a", "en", "鯨" * DOCUMENT_BYTES), ("a", "en", "small")]
    whole = batch(rows)
    table, held = sampled(whole, None)
    lengths = sorted(len(text.encode()) for text in table["text"].to_pylist())
    assert lengths == [5, DOCUMENT_BYTES - 1, DOCUMENT_BYTES]
    assert held == {("a", "en"): sum(lengths)}
    assert group_bytes(candidates(whole)) == {("a", "en"): 2 * DOCUMENT_BYTES + 5}


def test_many_small_documents_do_not_outweigh_bytes():
    rows = [("short", "en", f"line {i}") for i in range(3000)] + [("long", "en", "word " * 6000)]
    whole = batch(rows)
    sizes = group_bytes(candidates(whole))
    given_bytes = quotas(sizes, 10_000)
    _, held = sampled(whole, limits(smallest(candidates(whole), 10_000), given_bytes))
    assert held[("short", "en")] / held[("long", "en")] == pytest.approx(
        sizes[("short", "en")] / sizes[("long", "en")], rel=0.01
    )


def test_nothing_gives_nothing():
    assert quotas({}, 100) == {}
    assert limits(CANDIDATES.empty_table(), {}) == {}
    assert sampled(batch([("a", "en", "text")]), {})[0].num_rows == 0
    assert smallest(CANDIDATES.empty_table(), 10).num_rows == 0
