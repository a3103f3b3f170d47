import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.marks import CLOSER, END, START, WIDE_END, Marks, mark
from trainer.data.order import make_order
from trainer.data.packing import Packer, least_part
from trainer.data.packing_kernels import WRAP, best_fit, sentence_end

LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=80).map(lambda x: np.array(x, dtype=np.int64))
V = 1000
SENTENCES = Marks(np.array([END if k % 25 == 0 else START for k in range(V)], dtype=np.uint8))
# START on sentence ends too: what follows an end begins a word.
SENTENCES.flags[SENTENCES.flags == END] |= START


def make_packer(lengths, sequence_length, window_documents=1024, seed=0, marks=SENTENCES):
    """(packer of documents of random ids, their ids one after another, first id of each)."""
    tokens = np.random.default_rng(seed).integers(6, V, int(lengths.sum()) + 1).astype(np.uint16)
    first = np.concatenate([[0], np.cumsum(lengths)])[:-1].astype(np.int64)
    addresses = (tokens.ctypes.data + 2 * first).astype(np.uint64)
    order = make_order(seed, lengths)

    def locate(documents):
        return addresses[documents], tokens

    return Packer(lengths, order, sequence_length, marks, tokens.dtype, locate, window_documents), tokens, first


def epoch_plans(packer, epoch=0):
    return [packer.plan(epoch, window) for window in range(packer.windows)]


@settings(max_examples=120, deadline=None)
@given(LENGTHS, st.integers(0, 1 << 40), st.integers(0, 5), st.integers(3, 70), st.integers(1, 100), st.booleans())
def test_every_token_once_and_no_row_too_long_or_empty(lengths, seed, epoch, sequence_length, window, sentences):
    marks = SENTENCES if sentences else Marks.none(V)
    packer, _, _ = make_packer(lengths, sequence_length, window, seed, marks)
    seen = [np.zeros(n, dtype=int) for n in lengths]
    for number, plan in enumerate(epoch_plans(packer, epoch)):
        assert plan.rows == packer.rows(epoch, number)  # known without a token
        assert plan.first_piece[0] == 0
        assert plan.first_piece[-1] == len(plan.document) == len(plan.offset) == len(plan.length)
        for d, o, n in zip(plan.document, plan.offset, plan.length, strict=True):
            assert 1 <= n <= sequence_length - WRAP
            seen[d][o : o + n] += 1
        filled = np.array(
            [plan.length[a:b].sum() + WRAP * (b - a) for a, b in np.c_[plan.first_piece[:-1], plan.first_piece[1:]]]
        )
        assert (filled <= sequence_length).all()
        assert (filled > WRAP).all()
        assert plan.token_count == filled.sum()
    assert all((counts == 1).all() for counts in seen)


def slow_best_fit(lengths, capacity):
    """Number of rows of best-fit decreasing, as a textbook has it."""
    free: list[int] = []
    for size in sorted((n + WRAP for n in lengths), reverse=True):
        fitting = [k for k, space in enumerate(free) if space >= size]
        if fitting:
            best = min(fitting, key=lambda k: free[k])
            free[best] -= size
        else:
            free.append(capacity - size)
    return len(free)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(62, 90))
def test_best_fit_is_best_fit_decreasing(lengths, capacity):
    row, rows = best_fit(lengths, capacity)
    assert rows == slow_best_fit(lengths, capacity) == len(set(row.tolist()))
    assert (np.bincount(row, lengths + WRAP) <= capacity).all()


def test_a_window_is_the_same_however_it_is_reached():
    packer, _, _ = make_packer(np.random.default_rng(0).integers(0, 900, 3000), 128, 1024)
    plans = epoch_plans(packer, 2)
    again = packer.plan(2, 1)
    for name in ("document", "offset", "length", "first_piece"):
        assert np.array_equal(getattr(plans[1], name), getattr(again, name))
    assert len(plans) == 3


CORPORA = {
    "passages of 6 kB": lambda rng: rng.normal(1500, 150, 2048),
    "chapters": lambda rng: rng.lognormal(8, 0.7, 300),
    "short and mixed": lambda rng: rng.lognormal(4.5, 1.0, 2048) + 1,
    "news": lambda rng: rng.lognormal(5.7, 1.0, 2048),
    # Two of these do not fit a row of 512: without cuts 41 % would be padding.
    "all of about 300": lambda rng: rng.integers(280, 320, 2048),
}


@pytest.mark.parametrize("sequence_length", [128, 512])
@pytest.mark.parametrize("name", CORPORA)
def test_padding_is_below_two_percent(name, sequence_length):
    lengths = CORPORA[name](np.random.default_rng(1)).astype(np.int64)
    packer, _, _ = make_packer(lengths, sequence_length)
    for plan in epoch_plans(packer):
        assert plan.padding < 0.02
    parts = plan.length[plan.length < lengths[plan.document]]
    assert (parts < least_part(sequence_length)).mean() < 0.01


@pytest.mark.parametrize(("sequence_length", "share"), [(128, 0.2), (512, 0.6)])
def test_cuts_prefer_sentence_ends(sequence_length, share):
    lengths = np.full(600, 1500)
    packer, tokens, first = make_packer(lengths, sequence_length)
    (plan,) = epoch_plans(packer)
    end = plan.offset + plan.length
    cut = end < lengths[plan.document]
    before = tokens[first[plan.document[cut]] + end[cut] - 1]
    assert (before % 25 == 0).mean() > share  # 0.04 by chance


def test_short_documents_stay_whole_where_rows_are_full_without_cuts():
    lengths = np.random.default_rng(0).integers(5, 60, 1024)
    packer, _, _ = make_packer(lengths, 512)
    (plan,) = epoch_plans(packer)
    assert plan.padding < 0.01
    assert len(plan.length) - len(lengths) <= 40


def test_long_and_short_documents_are_mixed_over_the_rows_of_a_window():
    packer, _, _ = make_packer(np.random.default_rng(1).lognormal(5.0, 1.2, 1024).astype(np.int64), 128)
    plan = packer.plan(0, 0)
    pieces = np.diff(plan.first_piece)
    # Best fit alone would leave the rows of many short pieces for the end.
    assert abs(np.corrcoef(pieces, np.arange(plan.rows))[0, 1]) < 4 / np.sqrt(plan.rows)


def test_only_empty_documents_make_no_row():
    packer, _, _ = make_packer(np.zeros(5, dtype=np.int64), 16)
    plan = packer.plan(0, 0)
    assert plan.rows == packer.rows(0, 0) == 0
    assert plan.padding == 0


def test_impossible_windows_and_lengths_are_refused():
    packer, _, _ = make_packer(np.ones(20, dtype=np.int64), 16, 10)
    with pytest.raises(ValueError, match="window 2"):
        packer.plan(0, 2)
    with pytest.raises(ValueError, match="sequence_length 2"):
        make_packer(np.ones(20, dtype=np.int64), 2)


@pytest.mark.parametrize(
    ("piece", "flags"),
    [
        ("▁the", START), ("ing", 0), (".", END), ("▁.", START | END), ("!”", END), ("。", WIDE_END), ("？」", WIDE_END),
        ("”", CLOSER), (")", CLOSER), ("▁“", START), ("▁”", START), ("▁", START), ("▁Mr.", START | END), ("…", END),
    ],
)  # fmt: skip
def test_marks_of_pieces(piece, flags):
    assert mark(piece) == flags


@pytest.mark.parametrize(
    ("pieces", "ends"),
    [
        (["▁He", "▁left", ".", "▁She", "▁stayed"], {3}),
        (["▁He", "▁left", ".", "”", "▁She"], {4}),
        (["▁He", "▁left", ".", "”", ")", "▁She"], {5}),
        (["▁3", ".", "14", "▁is"], set()),
        (["他", "走", "。", "她", "留"], {3}),
        (["他", "走", "。", "”", "她"], {4}),
        (["▁one", ")", "▁two"], set()),
    ],
)
def test_where_sentences_end(pieces, ends):
    flags = np.array([mark(piece) for piece in pieces], dtype=np.uint8)
    tokens = np.arange(len(pieces), dtype=np.uint16)
    assert {n for n in range(1, len(pieces)) if sentence_end(tokens, n, flags)} == ends
