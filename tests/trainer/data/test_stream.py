import itertools
import json
import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch

from schemas.vocabulary import FIRST_ORDINARY
from trainer.data.held_out import held_out
from trainer.data.masking import Masking
from trainer.data.shards import Corpus, CorpusError
from trainer.data.stream import Stream, StreamState

T = 32
TENSORS = ("tokens_BT", "segments_BT", "positions_BT", "target_index_M", "target_M")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, make_corpus):
    """300 documents, every token of the corpus of another id, some documents empty and some longer than a row."""
    rng = np.random.default_rng(0)
    ids = itertools.count(FIRST_ORDINARY)
    texts = [[next(ids) for _ in range(n)] for n in rng.integers(0, 70, 300)]
    valid = [[next(ids) for _ in range(n)] for n in rng.integers(1, 70, 60)]
    return Corpus(make_corpus(tmp_path_factory.mktemp("corpus"), texts, next(ids), valid, shards=3, batch_rows=40))


@pytest.fixture(scope="module")
def valid(corpus):
    return Corpus(corpus.directory, "valid")


def stream(corpus, **changes):
    options = {"sequence_length": T, "batch_rows": 8, "seed": 5, "masking": Masking(), "window_documents": 64}
    return Stream(corpus, **(options | changes))


def take(batches, count):
    """The first `count` (batch, state); closes the iterator."""
    out = list(itertools.islice(batches, count))
    batches.close()
    return out


def assert_same(a, b):
    for name in TENSORS:
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert (a.source, a.token_count) == (b.source, b.token_count)


def assert_all_same(a, b):
    assert len(a) == len(b) > 0
    for (batch_a, state_a), (batch_b, state_b) in zip(a, b, strict=True):
        assert_same(batch_a, batch_b)
        assert state_a == state_b


def originals(batch):
    tokens = batch.tokens_BT.flatten().clone()
    tokens[batch.target_index_M] = batch.target_M
    return tokens.view_as(batch.tokens_BT)


def test_every_token_once_an_epoch_also_over_the_seams(corpus):
    train = stream(corpus)
    rows = [train.rows_per_epoch(e) for e in range(3)]
    assert any(sum(rows[: e + 1]) % 8 for e in range(2))  # an epoch ends inside a batch
    counts = [Counter() for _ in rows]
    for batch, _ in take(train.batches(), train.steps(3)):
        row_epochs = [part.epoch for part in batch.source for _ in range(part.first, part.last)]
        for epoch, row in zip(row_epochs, originals(batch), strict=True):
            if epoch < 3:
                counts[epoch].update(x for x in row.tolist() if x >= FIRST_ORDINARY)
    every = Counter(range(FIRST_ORDINARY, FIRST_ORDINARY + corpus.tokens_total))
    assert counts == [every] * 3


def test_epochs_differ_in_order_and_masks(corpus):
    train = stream(corpus)
    first = [next(train.batches(StreamState(epoch)))[0] for epoch in range(3)]
    assert not torch.equal(originals(first[0]), originals(first[1]))
    predicted = [set(b.target_M.tolist()) for b in first]
    assert len(set.intersection(*predicted)) < 5


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_change_nothing(corpus, workers):
    steps = stream(corpus).steps(1) + 5
    assert_all_same(take(stream(corpus).batches(), steps), take(stream(corpus, workers=workers).batches(), steps))


def test_resume_anywhere(corpus):
    train = stream(corpus)
    straight = take(train.batches(), 2 * train.steps(1) + 4)
    for k in range(0, len(straight) - 3):
        assert_all_same(take(stream(corpus).batches(straight[k][1]), 3), straight[k + 1 : k + 4])


def test_resume_twice_over_and_through_json_with_other_workers(corpus):
    steps = stream(corpus).steps(1)
    straight = take(stream(corpus).batches(), 2 * steps + 4)
    state, resumed = StreamState(), []
    for k, count in enumerate((3, steps, len(straight) - 3 - steps)):
        part = take(stream(corpus, workers=k).batches(state), count)
        resumed += part
        state = StreamState.from_json(json.loads(json.dumps(part[-1][1].to_json())))
    assert_all_same(resumed, straight)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_together_are_the_global_batch(corpus, world):
    whole = take(stream(corpus).batches(), 40)
    ranks = [take(stream(corpus, rank=r, world=world, workers=r % 2).batches(), 40) for r in range(world)]
    for (batch, state), *shares in zip(whole, *ranks, strict=True):
        assert all(s == state for _, s in shares)
        parts = [b for b, _ in shares]
        for name in ("tokens_BT", "segments_BT", "positions_BT", "target_M"):
            assert torch.equal(torch.cat([getattr(b, name) for b in parts]), getattr(batch, name))
        offset = 8 // world * T
        index = torch.cat([b.target_index_M + r * offset for r, b in enumerate(parts)])
        assert torch.equal(index, batch.target_index_M)
        assert tuple(row for b in parts for row in b.rows) == batch.rows
        assert sum(b.token_count for b in parts) == batch.token_count


def test_batch_size_and_world_may_change_at_a_resume(corpus):
    first = take(stream(corpus, batch_rows=8).batches(), 5)
    second = take(stream(corpus, batch_rows=4).batches(first[-1][1]), 10)
    straight = take(stream(corpus, batch_rows=4).batches(), 20)
    rows = torch.cat([b.tokens_BT for b, _ in first + second])
    assert torch.equal(rows, torch.cat([b.tokens_BT for b, _ in straight]))
    assert second[-1][1] == straight[-1][1]


def test_steps_count_the_batches_of_the_first_epochs(corpus):
    train = stream(corpus)
    for epochs in (1, 2):
        steps = train.steps(epochs)
        states = [state for _, state in take(train.batches(), steps)]
        assert states[-1].epoch >= epochs
        assert states[-2].epoch < epochs
    assert train.steps(0) == 0
    assert {stream(corpus, rank=r, world=4).steps(2) for r in range(4)} == {train.steps(2)}


def test_identity_tells_streams_apart(corpus, valid):
    same = [stream(corpus), stream(corpus, workers=2, rank=1, world=2, batch_rows=4, masking=Masking(0.3))]
    others = [
        stream(valid),
        stream(corpus, seed=6),
        stream(corpus, sequence_length=16),
        stream(corpus, window_documents=9),
    ]
    assert same[0].identity() == same[1].identity()
    assert all(other.identity() != same[0].identity() for other in others)
    json.dumps(same[0].identity())


def stream_threads():
    return [t for t in threading.enumerate() if t.name.startswith("siliang-stream")]


def test_closing_or_dropping_the_iterator_stops_its_workers(corpus):
    batches = stream(corpus, workers=2).batches()
    next(batches)
    assert stream_threads()
    batches.close()
    assert not stream_threads()
    dropped = stream(corpus, workers=2).batches()
    next(dropped)
    del dropped
    assert not stream_threads()


def test_workers_run_ahead_by_a_bounded_number(corpus, monkeypatch):
    built = []
    train = stream(corpus, workers=2)
    build = train._build
    monkeypatch.setattr(train, "_build", lambda parts: built.append(1) or build(parts))
    batches = train.batches()
    next(batches)
    time.sleep(0.1)
    assert len(built) == 3
    batches.close()


def test_an_error_in_a_worker_reaches_the_reader_in_its_place(tmp_path, make_corpus):
    texts = [[10] * 20 for _ in range(40)]
    texts[13] = [10, 999]
    damaged = Corpus(make_corpus(tmp_path, texts, 100))
    counts = []
    for workers in (0, 2):
        batches = stream(damaged, batch_rows=2, workers=workers).batches()
        seen: list[object] = []
        with pytest.raises(CorpusError, match="token id 999"):
            seen.extend(batches)
        counts.append(len(seen))
    assert counts[0] == counts[1]
    assert not stream_threads()


@pytest.mark.parametrize("texts", [[[7]], [[], [7, 8, 9], []], [[7] * 500], [[], [7]] * 10])
def test_tiny_corpora_fill_batches_over_many_epochs(tmp_path, make_corpus, texts):
    tiny = Corpus(make_corpus(tmp_path, texts))
    for window_documents in (1, 1024):
        train = stream(tiny, window_documents=window_documents)
        batches = take(train.batches(), 6)
        tokens = torch.cat([originals(b) for b, _ in batches])
        per_epoch = train.rows_per_epoch(0)
        epochs = len(tokens) // per_epoch
        assert (tokens[: epochs * per_epoch] >= FIRST_ORDINARY).sum() == epochs * tiny.tokens_total
        assert_all_same(take(train.batches(batches[2][1]), 3), batches[3:])


def test_wrong_settings_are_refused(corpus):
    with pytest.raises(ValueError, match="batch_rows 8 cannot be shared by 3 processes"):
        stream(corpus, world=3)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        stream(corpus, rank=2, world=2)
    with pytest.raises(ValueError, match="sequence_length 2"):
        stream(corpus, sequence_length=2)
    with pytest.raises(ValueError, match="window_documents 0"):
        stream(corpus, window_documents=0)
    for state in (StreamState(0, 99), StreamState(-1), StreamState(0, 0, 10_000), StreamState(0, 1, -1)):
        with pytest.raises(ValueError, match="belongs to another stream"):
            stream(corpus).batches(state)


@pytest.mark.parametrize("texts", [[], [[], []]])
def test_a_split_without_tokens_is_refused_at_once(tmp_path, make_corpus, texts):
    make_corpus(tmp_path, [[7]], valid=texts)
    empty = Corpus(tmp_path, "valid")
    for use in (stream, lambda c: held_out(c, T, 4, Masking())):
        with pytest.raises(CorpusError, match=f"valid: no tokens in {len(texts)} documents"):
            use(empty)


class TestHeldOut:
    def test_the_same_batches_for_ever(self, valid):
        a, b = (list(held_out(valid, T, 8, Masking())) for _ in range(2))
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)

    def test_every_token_once(self, valid):
        batches = list(held_out(valid, T, 8, Masking(), window_documents=16))
        tokens = torch.cat([originals(b).flatten() for b in batches])
        first = int(valid.tokens(0)[0])
        assert sorted(tokens[tokens >= FIRST_ORDINARY].tolist()) == list(range(first, first + valid.tokens_total))
        assert all(len(b.rows) == 8 for b in batches[:-1])
        assert 1 <= len(batches[-1].rows) <= 8

    @pytest.mark.parametrize("limit", [0, 1, 8, 19, 10_000])
    def test_a_limit_takes_the_first_rows(self, valid, limit):
        every = torch.cat([b.tokens_BT for b in held_out(valid, T, 8, Masking(), window_documents=16)])
        some = [b.tokens_BT for b in held_out(valid, T, 8, Masking(), limit_rows=limit, window_documents=16)]
        assert sum(map(len, some)) == min(limit, len(every))
        if limit:
            assert torch.equal(torch.cat(some), every[:limit])

    def test_processes_share_the_batches(self, valid):
        whole = list(held_out(valid, T, 4, Masking()))
        shares = [list(itertools.islice(held_out(valid, T, 4, Masking()), r, None, 2)) for r in range(2)]
        assert len(shares[0]) + len(shares[1]) == len(whole)
        for k, batch in enumerate(whole):
            assert_same(batch, shares[k % 2][k // 2])
