import itertools
import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.masking import Masking
from trainer.data.mixture import Mixture, MixtureError, Pattern
from trainer.data.shards import Corpus, CorpusError
from trainer.data.stream import Source, Stream, StreamState

WEIGHTS = st.lists(
    st.one_of(st.integers(0, 20).map(float), st.decimals(0, 5, places=2).map(float), st.floats(0.001, 5)),
    min_size=1, max_size=6,
).filter(any)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(WEIGHTS, st.integers(0, 10**9), st.data())
def test_exact_to_within_one_row_in_any_prefix_and_looked_up_anywhere(weights, far, data):
    pattern = Pattern(weights)
    shares = np.array(weights) / sum(weights)
    assert np.abs(pattern.parts / pattern.length - shares).max() < 1 / 65_536
    rows = pattern.sources(0, min(3 * pattern.length, 70_000))
    counts = (rows[:, None] == np.arange(len(weights))).cumsum(axis=0)
    exact = np.arange(1, len(rows) + 1)[:, None] * (pattern.parts / pattern.length)
    assert np.abs(counts - exact).max() < 1
    k = data.draw(st.integers(0, len(rows)))
    assert pattern.counts(k).tolist() == (counts[k - 1].tolist() if k else [0] * len(weights))
    before, after = pattern.counts(far), pattern.counts(far + 7)
    assert np.bincount(pattern.sources(far, 7), minlength=len(weights)).tolist() == (after - before).tolist()
    source = int(np.argmax(weights))
    assert pattern.counts(pattern.rows_until(source, 5))[source] == 5
    assert pattern.counts(pattern.rows_until(source, 5) - 1)[source] == 4


def test_weights_that_change_and_sources_that_end():
    mixture = Mixture([(0, [3, 1]), (100, [1, 1])], [None, 40])
    rows = mixture.sources(0, 200)
    assert np.bincount(rows[:100]).tolist() == [75, 25]
    # The second source has 15 rows left, every other one of the next 30.
    assert np.bincount(rows[100:130]).tolist() == [15, 15]
    assert (rows[130:] == 0).all()
    assert mixture.length is None
    for k in range(201):
        assert mixture.counts(k).tolist() == np.bincount(rows[:k], minlength=2).tolist()
    assert mixture.sources(95, 60).tolist() == rows[95:155].tolist()


def test_a_mixture_of_sources_that_all_end_has_a_length():
    mixture = Mixture([(0, [1, 1, 2])], [10, 30, 20])
    assert mixture.length == 60
    assert mixture.counts(60).tolist() == mixture.counts(99).tolist() == [10, 30, 20]
    assert len(mixture.sources(55, 10)) == 5


@pytest.mark.parametrize(
    ("schedule", "limits"),
    [([(0, [0, 0])], [None] * 2), ([(0, [1, -1])], [None] * 2), ([(5, [1, 1])], [None] * 2), ([(0, [1])], [None] * 2)],
)
def test_wrong_weights_are_refused(schedule, limits):
    with pytest.raises(MixtureError):
        Mixture(schedule, limits)


T = 32


@pytest.fixture(scope="module")
def corpora(tmp_path_factory, make_corpus):
    """Three corpora whose ids lie in thousands of their own: 1,000 + ..., 2,000 + ..., 3,000 + ..."""
    rng = np.random.default_rng(0)
    made = []
    for k, count in enumerate((80, 50, 20), 1):
        texts = [[1000 * k + x for x in range(n)] for n in rng.integers(1, 80, count)]
        made.append(Corpus(make_corpus(tmp_path_factory.mktemp("corpus"), texts, 5000)))
    return made


def stream(corpora, weights=(3.0, 2.0, 1.0), epochs=(None, None, None), **changes):
    sources = [Source(c, w, e) for c, w, e in zip(corpora, weights, epochs, strict=True)]
    options = {"sequence_length": T, "batch_rows": 8, "seed": 5, "masking": Masking(), "window_documents": 16}
    return Stream(sources, **(options | changes))


def take(batches, count):
    out = list(itertools.islice(batches, count))
    batches.close()
    return out


def sources_of(batch):
    return [part.source for part in batch.source for _ in range(part.first, part.last)]


def original(batch):
    tokens = batch.tokens_BT.flatten().clone()
    tokens[batch.target_index_M] = batch.target_M
    return tokens.view_as(batch.tokens_BT)


def test_the_empty_state_is_the_start_of_any_mixture(corpora):
    a, b = (take(stream(corpora).batches(state), 2) for state in (None, StreamState()))
    assert torch.equal(a[1][0].tokens_BT, b[1][0].tokens_BT)
    with pytest.raises(ValueError, match="has 3 sources"):
        stream(corpora).batches(a[0][1].__class__(0, 0, 3, 3))


def test_rows_come_from_their_sources_in_turn(corpora):
    mixed = stream(corpora)
    sources, rows = [], []
    for batch, _ in take(mixed.batches(), 60):
        sources += sources_of(batch)
        rows.append(original(batch))
    assert sources == mixed.mixture.sources(0, 480).tolist()
    tokens = torch.cat(rows)
    for row, source in zip(tokens, sources, strict=True):
        assert {int(x) // 1000 for x in row if x > 5} == {source + 1}
    assert Counter(sources) == {0: 240, 1: 160, 2: 80}
    # Each source passes its own epochs: the smallest one's rows all came, some more often.
    third = tokens[torch.tensor(sources) == 2]
    per_epoch = mixed.rows_per_epoch(0, 2)
    assert (third[:per_epoch] > 5).sum() == corpora[2].tokens_total


def test_a_source_alone_has_the_rows_that_it_has_in_a_mixture(corpora):
    mixed = torch.cat([original(b) for b, _ in take(stream(corpora, weights=(1.0, 1.0, 0.0)).batches(), 20)])
    options = {"sequence_length": T, "batch_rows": 8, "seed": 5, "masking": Masking(), "window_documents": 16}
    alone = torch.cat([original(b) for b, _ in take(Stream(corpora[0], **options).batches(), 10)])
    assert torch.equal(mixed[[r for r in range(160) if 1000 <= mixed[r, 1] < 2000]], alone)


@pytest.mark.parametrize("workers", [0, 2])
def test_resumes_anywhere_also_on_other_world_sizes(corpora, workers):
    weights = [(100, [1.0, 1.0, 4.0])]
    masking = Masking(0.3, final_rate=0.1, schedule_rows=300)

    def mixed(**options):
        return Stream([Source(c) for c in corpora], T, 8, 5, masking, 16, weights=weights, **options)

    whole = take(mixed().batches(), 40)
    for k in (0, 3, 11, 12, 13, 30):
        state = StreamState.from_json(json.loads(json.dumps(whole[k][1].to_json())))
        ranks = [take(mixed(workers=workers, rank=r, world=4).batches(state), 5) for r in range(4)]
        for (batch, after), *shares in zip(whole[k + 1 : k + 6], *ranks, strict=True):
            assert all(share[1] == after for share in shares)
            for name in ("tokens_BT", "segments_BT", "positions_BT", "target_M"):
                assert torch.equal(torch.cat([getattr(b, name) for b, _ in shares]), getattr(batch, name))


def test_used_up_sources_end_the_stream_with_a_clear_error(corpora):
    mixed = stream(corpora, weights=(1.0, 1.0, 1.0), epochs=(1, 2, 1))
    rows = [mixed.rows_per_epoch(0, 0), sum(mixed.rows_per_epoch(e, 1) for e in range(2)), mixed.rows_per_epoch(0, 2)]
    assert mixed.mixture.length == sum(rows)
    seen = []
    with pytest.raises(CorpusError, match=r"data\.sources"):
        for batch, _ in mixed.batches():
            seen += sources_of(batch)
    assert len(seen) == sum(rows) // 8 * 8
    assert mixed.steps(1) <= len(seen) // 8 + 1


def test_other_vocabularies_are_refused(corpora, tmp_path, make_corpus):
    other = Corpus(make_corpus(tmp_path, [[7] * 30], 6000))
    with pytest.raises(CorpusError, match="another vocabulary"):
        Stream([Source(corpora[0]), Source(other)], T, 8, 0, Masking())


def test_identity_tells_weights_apart(corpora):
    assert stream(corpora).identity() == stream(corpora, batch_rows=4, workers=1).identity()
    assert stream(corpora).identity() != stream(corpora, weights=(3.0, 2.0, 2.0)).identity()
    assert stream(corpora).identity() != stream(corpora[:2], (3.0, 2.0), (None, None)).identity()
    json.dumps(stream(corpora).identity())
