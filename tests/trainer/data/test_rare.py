"""Rare words of rows against plain loops over the plans."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.batch import PlanRows, collate
from trainer.data.masking import Masking
from trainer.data.rare import NoteWindow, RareSpans, note_words
from trainer.data.shards import Corpus, CorpusError
from trainer.data.stream import packer

T = 24
WORDS = 50


def documents(count=80, seed=0):
    """Documents of 0 to 70 tokens, and their rare spans: disjoint, ascending, of 1 to 4 tokens."""
    draw = np.random.default_rng(seed)
    texts, rare = [], []
    for size in draw.integers(0, 70, count):
        texts.append(draw.integers(6, 300, size).tolist())
        spans, at = [], 0
        while (start := at + int(draw.integers(0, 8))) < size:
            at = min(start + int(draw.integers(1, 5)), int(size))
            spans.append((start, at, int(draw.integers(0, WORDS))))
        rare.append(spans)
    return texts, rare


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, make_corpus):
    texts, rare = documents()
    return Corpus(make_corpus(tmp_path_factory.mktemp("rare"), texts, 300, rare=rare, shards=3, batch_rows=7))


def parts(corpus, seed=3):
    one = packer(corpus, seed, T, 30)
    plans = [one.plan(1, window) for window in range(one.windows)]
    # Not the first row, and several windows: pieces are counted from the range's own first one.
    return [PlanRows(plan, 1, plan.rows) for plan in plans]


def expected(corpus, parts, targets, half_window):
    """(marks of rows, [(word, row, start, end, flat positions of the window)] of visible whole words)."""
    marks, found, row = [], [], 0
    for part in parts:
        plan = part.plan
        for r in range(part.first, part.last):
            marked, at = [0] * T, 1
            for p in range(plan.first_piece[r], plan.first_piece[r + 1]):
                first, length = int(plan.offset[p]), int(plan.length[p])
                for start, end, word in zip(*(x.tolist() for x in corpus.rare(int(plan.document[p]))), strict=True):
                    inside = [at + k - first for k in range(start, end) if first <= k < first + length]
                    for k in inside:
                        marked[k] = 1 + (k == inside[0])
                    if len(inside) == end - start and not targets & {row * T + k for k in inside}:
                        around = range(inside[0] - half_window, inside[-1] + half_window + 1)
                        window = [row * T + k for k in around if at <= k < at + length]
                        found.append((word, row, inside[0], inside[-1] + 1, window))
                at += length + 2
            marks.append(marked)
            row += 1
    return marks, found


@settings(max_examples=12, deadline=None)
@given(rate=st.sampled_from([0.0, 0.15, 0.5]), half_window=st.integers(0, 30), unit=st.sampled_from(["piece", "span"]))
def test_equal_to_the_plain_loops(corpus, rate, half_window, unit):
    masking = Masking(rate, unit="piece" if unit == "piece" or not corpus.marks.words else unit)
    batch = collate(corpus, parts(corpus), masking, NoteWindow(WORDS, half_window))
    words = batch.words
    _, found = expected(corpus, parts(corpus), set(batch.target_index_M.tolist()), half_window)
    columns = (words.word_N, words.row_N, words.start_N, words.end_N)
    assert list(zip(*(c.tolist() for c in columns), strict=True)) == [entry[:4] for entry in found]
    bags = [*words.bag_N.tolist(), len(words.window_K)]
    windows = [words.window_K[a:b].tolist() for a, b in itertools.pairwise(bags)]
    assert windows == [entry[4] for entry in found]
    assert words.token_P.tolist() == [row * T + k for _, row, start, end, _ in found for k in range(start, end)]
    assert words.word_P.tolist() == [word for word, _, start, end, _ in found for _ in range(start, end)]
    assert found


def test_marks_for_masking(corpus):
    ranges = parts(corpus)
    marks, _ = expected(corpus, ranges, set(), 0)
    spans = [slice(int(p.plan.first_piece[p.first]), int(p.plan.first_piece[p.last])) for p in ranges]
    columns = [
        np.concatenate([getattr(p.plan, name)[s] for p, s in zip(ranges, spans, strict=True)])
        for name in ("document", "offset", "length")
    ]
    per_row = np.concatenate([np.diff(p.plan.first_piece[p.first : p.last + 1]) for p in ranges])
    first_piece = np.concatenate([[0], np.cumsum(per_row)])
    found = RareSpans([corpus], columns[0], np.zeros_like(columns[0]), *columns[1:], first_piece, T, None)
    assert found.rare_BT.tolist() == marks


def test_a_kept_token_that_is_predicted_is_not_visible(corpus):
    """All targets stay as they are in the row: nothing tells them apart but the list of targets."""
    kept = Masking(0.4, 0.0, 0.0)
    batch = collate(corpus, parts(corpus), kept, NoteWindow(WORDS, 4))
    assert not set(batch.words.token_P.tolist()) & set(batch.target_index_M.tolist())
    every = collate(corpus, parts(corpus), Masking(0.0), NoteWindow(WORDS, 4)).words
    assert 0 < len(batch.words.word_N) < len(every.word_N)


def test_words_change_nothing_else(corpus):
    plain = collate(corpus, parts(corpus), Masking())
    batch = collate(corpus, parts(corpus), Masking(), NoteWindow(WORDS, 4))
    assert plain.words is None
    for name in ("tokens_BT", "target_index_M", "target_M"):
        assert (getattr(plain, name) == getattr(batch, name)).all()
    moved = batch.to("meta").words
    assert moved.window_K.device.type == moved.word_N.device.type == "meta"
    assert batch.words.word_N.device.type == "cpu"


def test_a_word_outside_the_notes_is_told(corpus):
    with pytest.raises(CorpusError, match=r"shard-0000\d-of-00003.arrow, row \d+: a rare word's number lies outside"):
        collate(corpus, parts(corpus), Masking(), NoteWindow(3, 4))


def test_notes_must_be_there_and_the_same(corpus, tmp_path, make_corpus, monkeypatch):
    with pytest.raises(CorpusError, match="has no notes of rare words"):
        note_words([corpus])
    from schemas.manifest import FileEntry

    def with_notes(name, digest):
        other = Corpus(make_corpus(tmp_path / name, [[6, 7, 8]], 300))
        other.notes = [FileEntry(path="notes/notes-0.arrow", sha256=digest, bytes=1, rows=9)]
        return other

    assert note_words([with_notes("a", "x"), with_notes("b", "x")]) == 9
    with pytest.raises(CorpusError, match="numbered unlike those of"):
        note_words([with_notes("c", "x"), with_notes("d", "y")])
