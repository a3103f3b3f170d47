from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.words.frequency import count_words
from pipeline.words.notes import CANDIDATES, best_candidates, cut_windows, note_candidates, notes_table, windows_schema
from pipeline.words.rare import RareSpans, RareWords, rare_spans, select_rare
from pipeline.words.spans import word_spans
from pipeline.words.split import doc_id_hash
from pipeline.words.tokenizer import Encoded
from schemas import arrow

K, HALF = 4, 16
M = 2**64 - 1


def mix(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & M
    value = (value ^ value >> 27) * 0x94D049BB133111EB & M
    return value ^ value >> 31


@pytest.fixture(scope="module")
def rare(corpus, tokenizer) -> pa.Table:
    return select_rare(count_words(tokenizer, corpus.encoded, corpus.spans), 3, 15)


@pytest.fixture(scope="module")
def spans(corpus, tokenizer, rare) -> RareSpans:
    return rare_spans(tokenizer, corpus.encoded, corpus.spans, RareWords(rare))


def brute_force(rare, spans, corpus, k, half_window):
    """All occurrences of each word in Python lists, sorted, the first k cut out."""
    seeds = doc_id_hash(corpus.doc_ids, "notes").tolist()
    found = defaultdict(dict)  # word -> (turn, hash) -> context
    for document, rows in enumerate(spans.to_arrow().to_pylist()):
        tokens = corpus.encoded.document(document).tolist()
        by_word = defaultdict(list)
        for row in rows:
            by_word[row["word"]].append((mix(seeds[document] ^ mix(row["word"] << 32 | row["start"])), row))
        for word, places in by_word.items():
            for turn, (value, row) in enumerate(sorted(places, key=lambda place: place[0])):
                first = max(0, row["start"] - half_window)
                found[word][turn, value] = {
                    "doc_id": corpus.doc_ids[document].as_py(),
                    "tokens": tokens[first : row["end"] + half_window],
                    "start": row["start"] - first,
                    "end": row["end"] - first,
                }
    return [
        {**row, "contexts": [found[row["word_id"]][key] for key in sorted(found[row["word_id"]])[:k]]}
        for row in rare.to_pylist()
    ]


def notes_by_batches(corpus, tokenizer, rare, batches, k=K, half_window=HALF) -> pa.Table:
    """As the pipeline does it: candidates per batch, merged; windows per batch; one table."""
    best = CANDIDATES.empty_table()
    parts = []
    for batch in batches:
        encoded = tokenizer.encode([corpus.texts[i] for i in batch])
        doc_ids = corpus.doc_ids.take(pa.array(batch, pa.int64()))
        found = rare_spans(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds), RareWords(rare))
        ref = np.asarray(batch, dtype=np.uint64) * np.uint64(1 << 32)
        best = best_candidates(pa.concat_tables([best, note_candidates(found, doc_ids, ref, k)]), k)
        parts.append((encoded, doc_ids, ref))
    windows = [cut_windows(best, encoded, doc_ids, ref, half_window) for encoded, doc_ids, ref in parts]
    return notes_table(rare, pa.concat_tables(windows), tokenizer.size)


@pytest.fixture(scope="module")
def notes(corpus, tokenizer, rare) -> pa.Table:
    return notes_by_batches(corpus, tokenizer, rare, [range(len(corpus.texts))])


def test_notes_equal_brute_force(corpus, tokenizer, rare, spans, notes):
    assert notes.to_pylist() == brute_force(rare, spans, corpus, K, HALF)
    wide = notes_by_batches(corpus, tokenizer, rare, [range(len(corpus.texts))], k=20, half_window=60)
    assert wide.to_pylist() == brute_force(rare, spans, corpus, 20, 60)
    assert sum(len(row) for row in wide["contexts"].to_pylist()) == sum(rare["count"].to_pylist())


def test_notes_have_the_contract_schema(tokenizer, notes):
    assert notes.schema.equals(arrow.note(tokenizer.size), check_metadata=True)
    notes.validate(full=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_notes_do_not_depend_on_batches_and_order(corpus, tokenizer, rare, notes, seed):
    batches = np.array_split(np.random.default_rng(seed).permutation(len(corpus.texts)), 5 * seed)
    assert notes_by_batches(corpus, tokenizer, rare, batches).equals(notes)


def test_windows_hold_the_word_and_one_per_document_while_there_are_enough(tokenizer, notes):
    several = 0
    for row in notes.to_pylist():
        contexts = row["contexts"]
        assert len(contexts) == min(K, row["count"])
        assert len({context["doc_id"] for context in contexts}) == min(K, row["documents"])
        several += len(contexts) == K == row["documents"]
        for context in contexts:
            inside = context["tokens"][context["start"] : context["end"]]
            encoded = Encoded(np.array(inside, dtype=np.uint16), np.array([0, len(inside)]))
            words = count_words(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds))
            assert words["word"].to_pylist() == [row["word"]]
            assert context["start"] <= HALF
            assert len(context["tokens"]) - context["end"] <= HALF
    assert several > 50


def test_copies_of_a_document_give_their_windows_once(corpus, tokenizer, rare, notes):
    everything = list(range(len(corpus.texts)))
    assert notes_by_batches(corpus, tokenizer, rare, [everything + everything[:300]]) == notes
    assert notes_by_batches(corpus, tokenizer, rare, [everything, everything[100:300], everything]) == notes


def test_a_word_of_held_out_documents_alone_has_no_window(corpus, tokenizer, rare, notes):
    half = range(len(corpus.texts) // 2)
    fewer = notes_by_batches(corpus, tokenizer, rare, [half])
    assert fewer["word"].equals(notes["word"])
    kept = set(corpus.doc_ids.take(pa.array(half, pa.int64())).to_pylist())
    contexts = fewer["contexts"].to_pylist()
    assert {context["doc_id"] for row in contexts for context in row} <= kept
    assert [] in contexts


def test_notes_in_slices_are_the_notes(corpus, tokenizer, rare, spans, notes):
    ref = np.arange(len(corpus.texts), dtype=np.uint64)
    best = note_candidates(spans, corpus.doc_ids, ref, K)
    windows = cut_windows(best, corpus.encoded, corpus.doc_ids, ref, HALF)
    assert windows.schema.equals(windows_schema(tokenizer.size))
    parts = [notes_table(rare.slice(at, 1000), windows, tokenizer.size) for at in range(0, len(rare), 1000)]
    assert len(parts) > 2
    assert pa.concat_tables(parts).equals(notes)


def test_nothing_in_nothing_out(corpus, tokenizer, rare):
    empty = rare.slice(0, 0)
    assert notes_by_batches(corpus, tokenizer, empty, [range(50)]).to_pylist() == []
    none = notes_by_batches(corpus, tokenizer, rare, [[]])
    assert len(none) == len(rare)
    assert not any(none["contexts"].to_pylist())


def test_tokens_of_another_document_are_refused(corpus, spans):
    ref = np.arange(len(corpus.texts), dtype=np.uint64)
    best = note_candidates(spans, corpus.doc_ids, ref, K)
    short = Encoded(corpus.encoded.ids[:10], np.minimum(corpus.encoded.offsets, 10))
    with pytest.raises(ValueError, match="outside its document"):
        cut_windows(best, short, corpus.doc_ids, ref, HALF)


ROW = st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 3), st.integers(0, 2), st.integers(0, 1))
TABLE = st.lists(ROW, max_size=12).map(
    lambda rows: pa.table(
        {
            "word": pa.array([row[0] for row in rows], pa.uint32()),
            "turn": pa.array([row[1] for row in rows], pa.uint32()),
            "hash": pa.array([row[2] + M - 3 for row in rows], pa.uint64()),
            "ref": pa.array([row[3] for row in rows], pa.uint64()),
            "start": pa.array([row[4] for row in rows], pa.uint32()),
            "end": pa.array([row[4] + 1 for row in rows], pa.uint32()),
        }
    ).cast(CANDIDATES)
)


@settings(max_examples=150, deadline=None)
@given(TABLE, TABLE, TABLE, st.integers(1, 3))
def test_best_is_associative_commutative_idempotent(a, b, c, k):
    def join(*tables):
        return best_candidates(pa.concat_tables(tables), k)

    assert join(join(a, b), c).equals(join(a, join(b, c)))
    assert join(a, b).equals(join(b, a))
    assert join(join(a)).equals(join(a))
    assert join(a, a).equals(join(a))
    expected = []
    rows = {}
    for row in sorted(
        (tuple(row.values()) for row in pa.concat_tables([a, b]).to_pylist()), key=lambda r: (*r[:4], r[4])
    ):
        rows.setdefault(row[:3], row)
    for word in sorted({row[0] for row in rows.values()}):
        expected += [row for row in rows.values() if row[0] == word][:k]
    assert [tuple(row.values()) for row in join(a, b).to_pylist()] == expected
