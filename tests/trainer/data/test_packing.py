import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.packing import WRAP, plan_window, windows

LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=80).map(lambda x: np.array(x, dtype=np.int64))


def epoch_plans(seed, epoch, lengths, sequence_length, window_documents):
    count = windows(len(lengths), window_documents)
    return [plan_window(seed, epoch, w, lengths, sequence_length, window_documents) for w in range(count)]


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


@settings(max_examples=80, deadline=None)
@given(LENGTHS, st.integers(0, 1 << 40), st.integers(0, 5), st.integers(3, 40), st.integers(1, 100))
def test_every_token_once_and_no_row_too_long(lengths, seed, epoch, sequence_length, window_documents):
    seen = [np.zeros(n, dtype=int) for n in lengths]
    for plan in epoch_plans(seed, epoch, lengths, sequence_length, window_documents):
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


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(3, 40))
def test_rows_are_those_of_best_fit_decreasing(lengths, sequence_length):
    (plan,) = epoch_plans(1, 0, lengths, sequence_length, len(lengths))
    assert plan.rows == slow_best_fit(plan.length, sequence_length)


def test_a_window_is_the_same_however_it_is_reached():
    lengths = np.random.default_rng(0).integers(0, 900, 5000)
    plans = epoch_plans(4, 2, lengths, 128, 1024)
    again = plan_window(4, 2, 3, lengths, 128, 1024)
    for name in ("document", "offset", "length", "first_piece"):
        assert np.array_equal(getattr(plans[3], name), getattr(again, name))
    assert len(plans) == 5
    assert set(plans[4].document) == set(range(5000)) - {d for p in plans[:4] for d in p.document} - set(
        np.flatnonzero(lengths == 0)
    )


def test_epochs_and_seeds_put_other_documents_in_a_window():
    lengths = np.full(5000, 50)
    documents = [set(plan_window(s, e, 0, lengths, 128).document) for s, e in ((0, 0), (0, 1), (1, 0))]
    assert documents[0] != documents[1] != documents[2] != documents[0]


@pytest.mark.parametrize("sequence_length", [128, 512])
def test_padding_of_typical_text_is_below_two_percent(sequence_length):
    lengths = np.random.default_rng(1).lognormal(5.7, 1.0, 4096).astype(np.int64)  # median 300 tokens, a long tail
    plans = epoch_plans(0, 0, lengths, sequence_length, 1024)
    assert max(plan.padding for plan in plans) < 0.02


def test_long_and_short_documents_are_mixed_over_the_rows_of_a_window():
    lengths = np.random.default_rng(1).lognormal(5.0, 1.2, 1024).astype(np.int64)
    plan = plan_window(0, 0, 0, lengths, 128)
    pieces = np.diff(plan.first_piece)
    # Best fit alone would leave the rows of many short pieces for the end.
    assert abs(np.corrcoef(pieces, np.arange(plan.rows))[0, 1]) < 4 / np.sqrt(plan.rows)


def test_only_empty_documents_make_no_row():
    plan = plan_window(0, 0, 0, np.zeros(5, dtype=np.int64), 16)
    assert plan.rows == 0
    assert plan.padding == 0


def test_impossible_windows_and_lengths_are_refused():
    with pytest.raises(ValueError, match="window 2"):
        plan_window(0, 0, 2, np.ones(20, dtype=np.int64), 16, 10)
    with pytest.raises(ValueError, match="sequence_length 2"):
        plan_window(0, 0, 0, np.ones(20, dtype=np.int64), 2)
