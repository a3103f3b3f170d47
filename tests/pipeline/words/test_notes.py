import hashlib
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.words.frequency import count_words
from pipeline.words.notes import (
    CANDIDATES,
    PASSAGE,
    best_candidates,
    cut_windows,
    note_candidates,
    notes_table,
    windows_schema,
)
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
def corpus(corpus, tokenizer):
    """More than 1,000 documents, some of them changed copies of others."""
    whole = "".join(corpus.texts)
    texts = [whole[start : start + 1400] for start in range(0, len(whole), 1400)]
    texts += [f"Number {i} of another edition. " + text for i, text in enumerate(texts[::9])]
    encoded = tokenizer.encode(texts)
    doc_ids = pa.array([hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in texts])
    spans = word_spans(encoded, tokenizer.piece_kinds)
    return replace(corpus, names=[], texts=texts, doc_ids=doc_ids, encoded=encoded, spans=spans)


@pytest.fixture(scope="module")
def rare(corpus, tokenizer) -> pa.Table:
    return select_rare(count_words(tokenizer, corpus.encoded, corpus.spans), 3, 15).table


@pytest.fixture(scope="module")
def spans(corpus, tokenizer, rare) -> RareSpans:
    return rare_spans(tokenizer, corpus.encoded, corpus.spans, RareWords(rare))


def passage_of(tokens, row):
    """The three tokens on either side, None beyond the document."""
    padded = [None] * PASSAGE + tokens + [None] * PASSAGE
    start, end = row["start"] + PASSAGE, row["end"] + PASSAGE
    return tuple(padded[start - PASSAGE : start] + padded[end : end + PASSAGE])


def brute_force(rare, spans, corpus, k, half_window):
    """All occurrences of each word in Python lists, sorted; the first of each passage; the first k cut out."""
    seeds = doc_id_hash(corpus.doc_ids, "notes").tolist()
    found = defaultdict(list)  # word -> (turn, hash, passage, context)
    for document, rows in enumerate(spans.to_arrow().to_pylist()):
        tokens = corpus.encoded.document(document).tolist()
        by_word = defaultdict(list)
        for row in rows:
            by_word[row["word"]].append((mix(seeds[document] ^ mix(row["word"] << 32 | row["start"])), row))
        for word, places in by_word.items():
            passages = {}
            for value, row in sorted(places, key=lambda place: place[0]):
                passages.setdefault(passage_of(tokens, row), (value, row))
            for turn, (passage, (value, row)) in enumerate(passages.items()):
                first = max(0, row["start"] - half_window)
                context = {
                    "doc_id": corpus.doc_ids[document].as_py(),
                    "tokens": tokens[first : row["end"] + half_window],
                    "start": row["start"] - first,
                    "end": row["end"] - first,
                }
                found[word].append((turn, value, passage, context))
    notes = []
    for row in rare.to_pylist():
        best = {}
        for _, _, passage, context in sorted(found[row["word_id"]], key=lambda place: place[:2]):
            best.setdefault(passage, context)
        notes.append({**row, "contexts": list(best.values())[:k], "family": None})
    return notes


def notes_by_batches(corpus, tokenizer, rare, batches, k=K, half_window=HALF) -> pa.Table:
    """As the pipeline does it: candidates per batch, merged; windows per batch; one table."""
    best = CANDIDATES.empty_table()
    parts = []
    for batch in batches:
        encoded = tokenizer.encode([corpus.texts[i] for i in batch])
        doc_ids = corpus.doc_ids.take(pa.array(batch, pa.int64()))
        found = rare_spans(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds), RareWords(rare))
        ref = np.asarray(batch, dtype=np.uint64) * np.uint64(1 << 32)
        best = best_candidates(pa.concat_tables([best, note_candidates(found, encoded, doc_ids, ref, k)]), k)
        parts.append((encoded, doc_ids, ref))
    windows = [cut_windows(best, encoded, doc_ids, ref, half_window) for encoded, doc_ids, ref in parts]
    return notes_table(rare, pa.concat_tables(windows), tokenizer.size)


@pytest.fixture(scope="module")
def notes(corpus, tokenizer, rare) -> pa.Table:
    return notes_by_batches(corpus, tokenizer, rare, [range(len(corpus.texts))])


def test_notes_equal_brute_force(corpus, tokenizer, rare, spans, notes):
    assert len(corpus.texts) > 1000
    assert notes.to_pylist() == brute_force(rare, spans, corpus, K, HALF)
    wide = notes_by_batches(corpus, tokenizer, rare, [range(len(corpus.texts))], k=20, half_window=60)
    assert wide.to_pylist() == brute_force(rare, spans, corpus, 20, 60)
    windows = [len(row) for row in wide["contexts"].to_pylist()]
    assert all(found <= count for found, count in zip(windows, rare["count"].to_pylist(), strict=True))
    assert sum(windows) > 0.8 * sum(rare["count"].to_pylist())


def test_a_passage_in_several_documents_is_one_window(tokenizer):
    line = "and there the wandering albatross came down upon the deck of the ship"
    texts = [f"{opening} {line} {end}" for opening, end in (("One.", "1"), ("Two here.", "two"), ("Three", "three 3"))]
    texts.append("Nobody had ever told them of an albatross before that day.")
    encoded = tokenizer.encode(texts)
    table = count_words(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds))
    rare = select_rare(table.filter(pc.equal(table["word"], "albatross")), 1, 9).table
    found = rare_spans(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds), RareWords(rare))
    doc_ids = pa.array([hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in texts])
    ref = np.arange(len(texts), dtype=np.uint64)
    best = note_candidates(found, encoded, doc_ids, ref, K)
    assert rare["count"].to_pylist() == [4]
    assert len(best) == 2
    assert 3 in best["ref"].to_pylist()


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
        passages = {passage_of(context["tokens"], context) for context in contexts}
        assert len(contexts) == len(passages) <= min(K, row["count"])
        several += len({context["doc_id"] for context in contexts}) == K <= row["documents"]
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
    best = note_candidates(spans, corpus.encoded, corpus.doc_ids, ref, K)
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
    best = note_candidates(spans, corpus.encoded, corpus.doc_ids, ref, K)
    short = Encoded(corpus.encoded.ids[:10], np.minimum(corpus.encoded.offsets, 10))
    with pytest.raises(ValueError, match="outside its document"):
        cut_windows(best, short, corpus.doc_ids, ref, HALF)


ROW = st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2))
TABLE = st.lists(ROW, max_size=12).map(
    lambda rows: pa.table(
        {
            "word": pa.array([row[0] for row in rows], pa.uint32()),
            "turn": pa.array([row[1] for row in rows], pa.uint32()),
            "hash": pa.array([row[2] + M - 3 for row in rows], pa.uint64()),
            "passage": pa.array([row[3] for row in rows], pa.uint64()),
            "ref": pa.array([row[4] for row in rows], pa.uint64()),
            "start": pa.array([0 for row in rows], pa.uint32()),
            "end": pa.array([1 for row in rows], pa.uint32()),
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
    best = {}
    for word, turn, value, passage, ref, *_ in sorted(
        tuple(row.values()) for row in pa.concat_tables([a, b]).to_pylist()
    ):
        best.setdefault(word, {}).setdefault(passage, (turn, value, passage, ref))
    expected = [(word, *row) for word in sorted(best) for row in sorted(best[word].values())[:k]]
    assert [tuple(row.values())[:5] for row in join(a, b).to_pylist()] == expected
