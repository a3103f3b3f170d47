"""A probe changes its head alone, learns, and comes out the same every time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.vocabulary import FIRST_ORDINARY, MASK
from trainer.data.open import Shards
from trainer.data.stream import Stream
from trainer.evaluate.probe import Probe, ProbeSettings, train_probe
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.sections.data import DataConfig

CONFIG = ModelConfig(vocabulary_size=64, layers=2, width=16, heads=2, feed_forward=32, max_length=16)


@pytest.fixture(scope="module")
def stream(make_corpus: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Stream:
    rng = np.random.default_rng(0)
    documents = [(FIRST_ORDINARY + rng.geometric(0.2, 30) % 50).tolist() for _ in range(80)]
    directory = make_corpus(tmp_path_factory.mktemp("corpus"), documents, vocabulary_size=64)
    return Shards(directory, DataConfig(sequence_length=16, batch_rows=8)).stream(0, 8)


def encoder() -> Encoder:
    torch.manual_seed(1)
    return Encoder(CONFIG).eval()


def run(stream: Stream, **settings) -> tuple[Encoder, Probe]:
    probed = encoder()
    return probed, train_probe(probed, stream, ProbeSettings(**settings))


def test_the_encoder_is_frozen_but_for_the_mask(stream: Stream) -> None:
    before = encoder().state_dict()
    for train_mask in (False, True):
        probed, _ = run(stream, steps=20, train_mask=train_mask)
        after = probed.state_dict()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == ({"token_embedding.weight"} if train_mask else set())
        rows = (before["token_embedding.weight"] != after["token_embedding.weight"]).any(1).nonzero().flatten()
        assert rows.tolist() == ([MASK] if train_mask else [])
        assert not any(parameter.requires_grad for parameter in probed.parameters())


def test_it_learns_and_is_the_same_every_time(stream: Stream) -> None:
    _, first = run(stream, steps=60)
    torch.manual_seed(99)  # what others drew does not matter
    _, second = run(stream, steps=60)
    assert first.losses == second.losses
    assert len(first.losses) == first.steps == 60
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])
    assert np.mean(first.losses[-10:]) < np.mean(first.losses[:10]) - 0.2
    assert not first.model.training


def test_by_seconds_it_ends_on_time(stream: Stream) -> None:
    ticks = iter(range(10**6))
    found = train_probe(encoder(), stream, ProbeSettings(seconds=10.0), clock=lambda: float(next(ticks)))
    assert 8 <= found.steps <= 10


@pytest.mark.parametrize("settings", [{"steps": 0}, {"seconds": 0.0}])
def test_no_training_is_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match="a step or some time"):
        ProbeSettings(**settings)
