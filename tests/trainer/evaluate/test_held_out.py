"""Entropies against hand counts; the held-out loss as a mean over targets."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

import schemas.arrow
from schemas.vocabulary import FIRST_ORDINARY, UNKNOWN
from trainer.data.held_out import held_out
from trainer.data.masking import Masking
from trainer.data.shards import Corpus, CorpusError
from trainer.evaluate.held_out import (
    held_out_loss,
    token_counts,
    unigram_cross_entropy,
    unigram_entropy,
    unigram_logs,
)
from trainer.model.config import ModelConfig
from trainer.tasks.masked_lm import MaskedLM

VOCABULARY = 64
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(make_corpus: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    rng = np.random.default_rng(0)
    documents = [rng.integers(FIRST_ORDINARY, VOCABULARY, rng.integers(3, 60)).tolist() for _ in range(40)]
    directory = make_corpus(tmp_path_factory.mktemp("corpus"), [[7, 8]], vocabulary_size=VOCABULARY, valid=documents)
    return Corpus(directory, "valid")


def batches(corpus: Corpus, rows: int, limit: int | None = None) -> list:
    return list(held_out(corpus, 16, rows, Masking(), limit))


def test_entropy_of_known_shares(make_corpus: Callable[..., Path], tmp_path: Path) -> None:
    documents = [[10] * 4 + [11] * 2, [UNKNOWN] * 9, [12] * 1 + [13] * 1]  # special pieces do not count
    make_corpus(tmp_path, [[7]], vocabulary_size=VOCABULARY, valid=documents)
    expected = 0.5 * math.log(2) + 0.25 * math.log(4) + 2 * 0.125 * math.log(8)
    assert unigram_entropy(Corpus(tmp_path, "valid")) == pytest.approx(expected, abs=1e-12)


def test_cross_entropy_of_known_counts(corpus: Corpus) -> None:
    counts = np.arange(VOCABULARY)
    found = unigram_cross_entropy(batches(corpus, 4), counts)
    targets = [int(t) for batch in batches(corpus, 4) for t in batch.target_M]
    total = sum(c + 1 for c in range(VOCABULARY))
    assert found == pytest.approx(-sum(math.log((t + 1) / total) for t in targets) / len(targets), abs=1e-6)
    assert float(unigram_logs(counts).double().exp().sum()) == pytest.approx(1, abs=1e-6)


def test_a_model_that_knows_frequencies_alone_has_the_unigram_cross_entropy(corpus: Corpus) -> None:
    """Embeddings of zero leave the head's bias alone: the loss must then be the cross-entropy."""
    counts = np.random.default_rng(1).integers(0, 1000, VOCABULARY)
    model = MaskedLM(ModelConfig(vocabulary_size=VOCABULARY, layers=1, width=8, heads=2, feed_forward=8, max_length=16))
    model.set_output_bias(unigram_logs(counts))
    with torch.no_grad():
        model.encoder.token_embedding.weight.zero_()
    loss, targets, _ = held_out_loss(model, batches(corpus, 4), CPU, "fp32")
    assert targets > 100
    assert loss == pytest.approx(unigram_cross_entropy(batches(corpus, 4), counts), abs=1e-5)


def test_loss_is_the_mean_over_targets_whatever_the_batches(corpus: Corpus) -> None:
    torch.manual_seed(0)
    shape = {"layers": 1, "width": 8, "heads": 2, "feed_forward": 8, "max_length": 16, "dropout": 0.5}
    model = MaskedLM(ModelConfig(vocabulary_size=VOCABULARY, **shape)).train()
    losses = [held_out_loss(model, batches(corpus, rows, 30), CPU, "fp32") for rows in (1, 7, 30)]
    assert model.training
    assert {loss[1:] for loss in losses} == {(losses[0][1], 30)}
    assert [loss[0] for loss in losses] == pytest.approx([losses[0][0]] * 3, abs=1e-5)
    model.eval()
    (batch,) = batches(corpus, 30, 30)
    with torch.no_grad():
        logits = model.logits(batch.tokens_BT, batch.segments_BT, batch.positions_BT, batch.target_index_M)
    assert losses[2][0] == pytest.approx(float(F.cross_entropy(logits, batch.target_M)), abs=1e-5)


def test_frequency_table_is_checked(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"tokens\.arrow: no such shard"):
        token_counts(tmp_path, 3)
    (tmp_path / "frequency").mkdir()
    path = tmp_path / "frequency" / "tokens.arrow"
    schema = schemas.arrow.TOKEN_FREQUENCY
    columns = [[0, 1, 2], ["a", "b", "c"], [5, 0, 7], [1, 0, 1]]
    arrays = [pa.array(c, type=field.type) for c, field in zip(columns, schema, strict=True)]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    assert token_counts(tmp_path, 3).tolist() == [5, 0, 7]
    with pytest.raises(CorpusError, match="3 ids, expected each of 4 once"):
        token_counts(tmp_path, 4)
