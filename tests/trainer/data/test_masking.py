"""Masks against a plain reference: Python integers, one position at a time, written from the docstrings alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.vocabulary import FIRST_ORDINARY, MASK
from trainer.data.frequency import band_tickets
from trainer.data.kernels import TICKETS, draw
from trainer.data.marks import START, Marks
from trainer.data.masking import LONGEST_WORD, Masking, span_shares, window_key

WORD = (1 << 64) - 1
ONE = 1 << 32
TICKETS = int(TICKETS)


def split_mix(state, count):
    """The first `count` outputs of SplitMix64, as published."""
    out = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & WORD
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        out.append(z ^ (z >> 31))
    return out


def reference_key(*address):
    state = 0
    for part in address:
        # One SplitMix64 step, whose increment is multiplied by the part of the address.
        (state,) = split_mix(((state + part) * 0x9E3779B97F4A7C15) & WORD, 1)
    return state


def reference_masks(rows, first_row, seed, epoch, window, masking, vocabulary_size):
    """(rows after masking, [(flat position, original id)])."""
    rate = round(masking.rate * ONE)
    mask_below = round(masking.mask_share * ONE)
    random_below = round((masking.mask_share + masking.random_share) * ONE)
    rows = [list(row) for row in rows]
    targets = []
    for r, row in enumerate(rows):
        key = split_mix(reference_key(3, seed, epoch, window), first_row + r + 1)[-1]
        draws = split_mix(key, 2 * len(row) + 1)
        candidates = [p for p, piece in enumerate(row) if piece >= FIRST_ORDINARY]
        wanted = (rate * len(candidates) + (draws[0] >> 32)) // ONE
        left = len(candidates)
        for p in candidates:
            if (draws[2 * p + 1] >> 32) * left // ONE < wanted:
                wanted -= 1
                targets.append((r * len(row) + p, row[p]))
                treatment, choice = draws[2 * p + 2] >> 32, draws[2 * p + 2] % ONE
                if treatment < mask_below:
                    row[p] = MASK
                elif treatment < random_below:
                    row[p] = FIRST_ORDINARY + choice * (vocabulary_size - FIRST_ORDINARY) // ONE
            left -= 1
        assert wanted == 0
    return rows, targets


WORDS = Marks(np.array([START if k % 3 == 0 else 0 for k in range(10_000)], dtype=np.uint8))


def masked(rows, first_row, seed, epoch, window, masking, vocabulary_size, rare=None, drawn=0, tickets=None):
    rows = np.array(rows, dtype=np.int64)
    count = len(rows)
    stream = np.full(count, window_key(seed, epoch, window), dtype=np.uint64)
    rare = None if rare is None else np.array(rare, dtype=np.uint8)
    index, target = masking.apply(
        rows, rare, stream, np.arange(first_row, first_row + count), np.arange(drawn, drawn + count), vocabulary_size,
        WORDS, tickets,
    )  # fmt: skip
    return rows, index, target


def test_draws_are_those_of_splitmix64():
    # The published test vector of SplitMix64 for seed 1234567.
    vector = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert split_mix(1234567, 5) == vector
    assert [int(draw(np.uint64(1234567), np.uint64(k))) for k in range(5)] == vector


SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(
    lambda t: Masking(t[0], t[1], t[2] * (1 - t[1]))
)


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 30).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 99), min_size=n, max_size=n), min_size=1, max_size=4)
    ),
    first_row=st.integers(0, 5),
    seed=st.integers(0, (1 << 63) - 1),
    epoch=st.integers(0, 1000),
    window=st.integers(0, 1000),
    masking=SHARES,
)
def test_equal_to_the_reference(rows, first_row, seed, epoch, window, masking):
    expected_rows, expected = reference_masks(rows, first_row, seed, epoch, window, masking, 100)
    found, index, target = masked(rows, first_row, seed, epoch, window, masking, 100)
    assert found.tolist() == expected_rows
    assert list(zip(index.tolist(), target.tolist(), strict=True)) == expected


def test_shares_are_what_was_asked_for():
    rows = np.full((2000, 50), 77)
    found, index, target = masked(rows, 0, 5, 0, 0, Masking(0.15, 0.8, 0.1), 10_000)
    assert (target == 77).all()
    per_row = np.bincount(index // 50, minlength=2000)
    # 7.5 pieces a row: half of the rows have 7, half 8, none another number.
    assert set(per_row.tolist()) == {7, 8}
    assert abs(per_row.mean() - 7.5) < 0.05
    after = found.ravel()[index]
    assert abs((after == MASK).mean() - 0.8) < 0.015
    assert abs((after == 77).mean() - 0.1) < 0.012
    random = after[(after != MASK) & (after != 77)]
    assert random.min() >= FIRST_ORDINARY
    assert random.max() < 10_000
    assert abs(random.mean() - 5000) < 300
    # Every position is as likely as any other: 300 of 2,000 rows, standard deviation 16.
    assert abs(np.bincount(index % 50, minlength=50) - 300).max() < 5 * 16
    untouched = np.ones(rows.size, dtype=bool)
    untouched[index] = False
    assert (found.ravel()[untouched] == 77).all()


def test_neighbouring_positions_are_chosen_independently():
    _, index, _ = masked(np.full((4000, 50), 77), 0, 5, 0, 0, Masking(0.2), 100)
    chosen = np.zeros((4000, 50))
    chosen.ravel()[index] = 1
    both = (chosen[:, 1:] * chosen[:, :-1]).mean()
    # Ten of 50 without replacement: 10/50 * 9/49.
    assert abs(both - 10 / 50 * 9 / 49) < 0.002


@pytest.mark.parametrize(("masking", "wanted"), [(Masking(1.0, 1.0, 0.0), {MASK}), (Masking(1.0, 0.0, 0.0), {50})])
def test_all_mask_and_all_kept(masking, wanted):
    found, index, _ = masked([[2, *[50] * 20, 3, 0, 0]], 0, 1, 1, 1, masking, 100)
    assert index.tolist() == list(range(1, 21))
    assert set(found[0, 1:21].tolist()) == wanted
    assert found[0, [0, 21, 22, 23]].tolist() == [2, 3, 0, 0]


def test_rate_zero_predicts_nothing():
    _, index, _ = masked(np.full((100, 20), 50), 0, 1, 1, 1, Masking(0.0), 100)
    assert len(index) == 0


def test_rows_windows_epochs_and_seeds_have_their_own_masks():
    rows = np.full((2, 400), 50)
    places = [
        masked(rows, 0, 1, 1, 1, Masking(), 100)[1],
        masked(rows, 2, 1, 1, 1, Masking(), 100)[1],
        masked(rows, 0, 2, 1, 1, Masking(), 100)[1],
        masked(rows, 0, 1, 2, 1, Masking(), 100)[1],
        masked(rows, 0, 1, 1, 2, Masking(), 100)[1],
    ]
    for k, a in enumerate(places):
        for b in places[:k]:
            # 120 of 800 each: two independent choices share 18, standard deviation 3.6.
            assert len(np.intersect1d(a, b)) < 40
    first, second = places[0][places[0] < 400], places[0][places[0] >= 400] - 400
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize(
    "shares", [{"rate": 1.1}, {"rate": -0.1}, {"mask_share": 2.0}, {"random_share": -1}, {"random_share": 0.3}]
)
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ValueError, match=r"masking\."):
        Masking(**shares)


def units_of(row, rare, masking):
    """[(positions, rare)] of a row, in order."""
    found, inside = [], False
    for p, piece in enumerate(row):
        if piece < FIRST_ORDINARY or (rare[p] and masking.rare == "spare"):
            inside = False
            continue
        if rare[p]:
            fresh = rare[p] == 2 or not inside or not rare[p - 1]
        else:
            starts = masking.unit == "piece" or piece % 3 == 0
            fresh = not inside or rare[p - 1] or starts or len(found[-1][0]) >= LONGEST_WORD
        if fresh:
            found.append(([], bool(rare[p])))
        found[-1][0].append(p)
        inside = True
    return found


def ticket(key, number):
    """Draw TICKETS + number of a row's stream."""
    return split_mix((key + (TICKETS + number) * 0x9E3779B97F4A7C15) & WORD, 1)[0]


def reference_units(rows, rares, first_row, seed, epoch, window, masking, vocabulary_size, tickets=None):
    """As reference_masks, for words, spans, rare words and tickets."""
    rows, targets = [list(row) for row in rows], []
    mask_below = round(masking.mask_share * ONE)
    random_below = round((masking.mask_share + masking.random_share) * ONE)
    for r, (row, rare) in enumerate(zip(rows, rares, strict=True)):
        key = split_mix(reference_key(3, seed, epoch, window), first_row + r + 1)[-1]
        draws = split_mix(key, 2 * len(row) + 3)
        units = units_of(row, rare, masking)
        left = (round(masking.rate * ONE) * sum(len(u) for u, _ in units) + (draws[0] >> 32)) // ONE
        waiting = [k for k, (_, r) in enumerate(units) if r] + [k for k, (_, r) in enumerate(units) if not r]
        rare_count = sum(r for _, r in units)
        if tickets is not None:
            least = [min(ticket(key, 256 * u[0] + t) for t in range(max(tickets[row[p]] for p in u))) for u, _ in units]
            waiting.sort(key=lambda k: (not units[k][1], least[k]))
        treated = {}
        for i in range(len(units)):
            if left == 0:
                break
            end = rare_count if i < rare_count else len(units)
            j = i if tickets is not None else i + (draws[2 * i + 1] >> 32) * (end - i) // ONE
            first, waiting[j] = waiting[j], waiting[i]
            if units[first][0][0] in treated:
                continue
            count = 1
            if masking.unit == "span":
                count += sum(draws[2 * i + 1] % ONE >= int(share) for share in span_shares())
            for u in range(first, min(first + count, len(units))):
                positions = units[u][0]
                apart = u > first and positions[0] != units[u - 1][0][-1] + 1
                if positions[0] in treated or len(positions) > left or apart:
                    break
                left -= len(positions)
                treated |= {p: units[first][0][0] if masking.unit == "span" else p for p in positions}
        for p, treated_as in sorted(treated.items()):
            targets.append((r * len(row) + p, row[p]))
            treatment, choice = draws[2 * treated_as + 2] >> 32, draws[2 * p + 2] % ONE
            if treatment < mask_below:
                row[p] = MASK
            elif treatment < random_below:
                row[p] = FIRST_ORDINARY + choice * (vocabulary_size - FIRST_ORDINARY) // ONE
    return rows, targets


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(1, 40).flatmap(
        lambda n: st.lists(
            st.lists(st.tuples(st.integers(0, 99), st.sampled_from([0, 0, 0, 1, 2])), min_size=n, max_size=n),
            min_size=1,
            max_size=3,
        )
    ),
    first_row=st.integers(0, 5),
    seed=st.integers(0, (1 << 63) - 1),
    rate=st.floats(0, 1),
    unit=st.sampled_from(["piece", "word", "span"]),
    rare_words=st.sampled_from(["mask", "spare"]),
    tickets=st.none() | st.lists(st.integers(1, 5), min_size=100, max_size=100),
)
def test_units_equal_the_reference(rows, first_row, seed, rate, unit, rare_words, tickets):
    masking = Masking(rate, 0.5, 0.3, unit=unit, rare=rare_words)
    # Special pieces are in no rare word.
    rare = [[flag if piece >= FIRST_ORDINARY else 0 for piece, flag in row] for row in rows]
    pieces = [[piece for piece, _ in row] for row in rows]
    if tickets is not None:
        masking = replace(masking, bands=(1, 64))
        tickets = np.array(tickets, dtype=np.uint8)
    expected_rows, expected = reference_units(
        pieces, rare, first_row, seed, 1, 2, masking, 100, None if tickets is None else tickets.tolist()
    )
    found, index, target = masked(pieces, first_row, seed, 1, 2, masking, 100, rare, tickets=tickets)
    assert found.tolist() == expected_rows
    assert list(zip(index.tolist(), target.tolist(), strict=True)) == expected


def text(rows=400, length=64, seed=0):
    rows_BT = np.random.default_rng(seed).integers(6, 9000, (rows, length))
    rows_BT[:, ::5] = 3 * (rows_BT[:, ::5] // 3)  # a word begins at least every fifth piece
    return rows_BT


def test_whole_words_are_masked_or_not():
    rows = text()
    found, index, _ = masked(rows, 0, 1, 0, 0, Masking(0.2, 1.0, 0.0, unit="word"), 10_000)
    hit = (found == MASK).ravel()
    for (p, q), same_word in zip(np.c_[: hit.size - 1, 1 : hit.size], (rows.ravel()[1:] % 3 != 0), strict=True):
        if same_word and q % 64:
            assert hit[p] == hit[q]
    assert abs(len(index) / rows.size - 0.2) < 0.01


def test_spans_are_longer_than_words_and_as_many_pieces():
    runs = {}
    for unit in ("word", "span"):
        found, index, _ = masked(text(), 0, 1, 0, 0, Masking(0.2, 1.0, 0.0, unit=unit), 10_000)
        assert abs(len(index) / found.size - 0.2) < 0.01
        edges = np.diff(np.pad((found == MASK).astype(int), ((0, 0), (1, 1))))
        runs[unit] = (found == MASK).sum() / (edges == 1).sum()
    assert runs["span"] > 1.5 * runs["word"]


def test_rare_words_come_first_or_never():
    rows = text()
    rare = np.zeros_like(rows)
    rare[:, 10], rare[:, 11] = 2, 1
    for unit in ("piece", "word", "span"):
        found, _, _ = masked(rows, 0, 1, 0, 0, Masking(0.15, 1.0, 0.0, unit=unit, rare="mask"), 10_000, rare)
        assert (found[:, 10:12] == MASK).all()
        found, _, _ = masked(rows, 0, 1, 0, 0, Masking(0.15, 1.0, 0.0, unit=unit, rare="spare"), 10_000, rare)
        assert not (found[:, 10:12] == MASK).any()
        assert abs((found == MASK).mean() - 0.15 * 62 / 64) < 0.01


def test_the_rate_follows_its_schedule_by_row():
    masking = Masking(0.30, final_rate=0.15, schedule_rows=1000)
    rates = masking.rates(np.array([0, 500, 999, 1000, 10**9])) / ONE
    assert np.allclose(rates, [0.30, 0.225, 0.15015, 0.15, 0.15])
    early, late = (len(masked(text(), 0, 1, 0, 0, masking, 10_000, drawn=d)[1]) for d in (0, 5000))
    assert 0.25 < early / (400 * 64) < 0.30
    assert abs(late / (400 * 64) - 0.15) < 0.001


def test_rare_pieces_are_predicted_more_often_at_the_same_rate():
    """Half of the pieces have four tickets. A draw of few has the odds of the tickets; of all pieces 20 % here."""
    draw = np.random.default_rng(0)
    rows = np.where(draw.random((4000, 50)) < 0.5, 20, 60)
    tickets = np.ones(100, dtype=np.uint8)
    tickets[60] = 4
    rates = {}
    for rate in (0.02, 0.2):
        _, index, target = masked(rows, 0, 1, 0, 0, Masking(rate, bands=(1, 4)), 100, tickets=tickets)
        assert abs(len(index) / rows.size - rate) < 0.001
        rates[rate] = (target == 60).mean() / (target == 20).mean()
    assert abs(rates[0.02] - 4) < 0.35
    # The more are taken the fewer of the rare ones are left.
    assert 3 < rates[0.2] < 3.7
    _, index, target = masked(rows, 0, 1, 0, 0, Masking(1.0, bands=(1, 4)), 100, tickets=tickets)
    assert len(index) == rows.size


def test_bands_hold_equal_shares_of_the_tokens():
    counts = np.zeros(12, dtype=np.int64)
    counts[[2, 6, 7, 8, 9, 10]] = 1000, 50, 10, 20, 20, 0  # [CLS] counts nothing
    found = band_tickets(counts, (1, 3))
    assert found[6:].tolist() == [1, 3, 3, 3, 3, 3]
    assert band_tickets(counts, (1, 2, 3, 4))[6:].tolist() == [1 + 50 // 2 * 4 // 100, 4, 3, 4, 4, 4]
    assert set(band_tickets(np.zeros(9, dtype=np.int64), (5, 6)).tolist()) <= {5, 6}
    with pytest.raises(ValueError, match="bands"):
        Masking(bands=(1, 0))


def test_words_need_a_vocabulary_that_tells_them():
    with pytest.raises(ValueError, match="no piece of the vocabulary begins with"):
        Masking(unit="word").check(Marks.none(100))
    Masking(unit="word").check(WORDS)
    Masking().check(Marks.none(100))
    with pytest.raises(ValueError, match="final_rate"):
        Masking(final_rate=0.1)
