"""The FLOPs formula against a count by hand and against torch's counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.model.config import ModelConfig
from trainer.model.encoder import POSITIONS
from trainer.model.flops import flops_per_token
from trainer.model.note_config import NoteConfig
from trainer.tasks.masked_lm import MaskedLM


def test_count_by_hand():
    config = ModelConfig(
        vocabulary_size=1000, layers=2, width=8, heads=2, feed_forward=16, max_length=10, positions="absolute"
    )
    layer = (
        2 * 8 * 24  # query, key, value
        + 2 * 8 * 8  # out
        + 2 * 8 * 16 + 2 * 16 * 8  # feed-forward
        + 2 * 10 * 8  # scores against 10 keys
        + 2 * 10 * 8  # sum of 10 values
    )  # fmt: skip
    head = 2 * 8 * 8 + 2 * 8 * 1000
    assert layer == 1344
    assert flops_per_token(config, 10, 0.25, 1) == 3 * (2 * layer + 0.25 * head)
    extra = {kind: flops_per_token(config.model_copy(update={"positions": kind}), 10, 0.25) for kind in POSITIONS}
    extra = {kind: flops - extra["absolute"] for kind, flops in extra.items()}
    scores = 3 * 2 * 10 * 8  # position features of 8 against 10 keys, once a forward
    assert extra == {
        "absolute": 0, "sinusoidal": 0, "tupe-a": scores, "tupe-r": scores, "bert-r": 0, "rope": 0, "alibi": 0
    }  # fmt: skip
    extra_norms = config.model_copy(update={"norm": "pre-extra", "head_scale": True})
    assert flops_per_token(extra_norms, 10, 0.25) == flops_per_token(config, 10, 0.25)
    # Of the last layer a quarter of the tokens need what comes behind the sum of values: out and feed-forward.
    behind = 2 * 8 * 8 + 2 * 8 * 16 + 2 * 16 * 8
    assert flops_per_token(config, 10, 0.25) == 3 * (2 * layer - 0.75 * behind + 0.25 * head)
    noted = config.model_copy(update={"notes": NoteConfig(words=3)})
    # All tokens' states are looked at, without a gradient.
    seen = behind + 3 * 0.25 * behind
    assert flops_per_token(noted, 10, 0.25) == 3 * (2 * layer - behind + 0.25 * head) + seen


@pytest.mark.parametrize("positions", sorted(POSITIONS))
def test_equals_torch_counter(pack, positions):
    """On the written-out path, with a head width whose features need no filling but the one that unties [CLS]."""
    B, T, L = 3, 20, 20
    config = ModelConfig(
        vocabulary_size=40, layers=3, width=32, heads=2, feed_forward=48, max_length=L, positions=positions,
        attention="written", norm="pre-extra",
    )  # fmt: skip
    model = MaskedLM(config)
    tokens, segments, places = pack([[20], [12, 8], [5, 6]], T)
    index = torch.arange(0, B * T, 4)
    with FlopCounterMode(display=False) as counter:
        model.logits(tokens, segments, places, index).sum().backward()
    counted = counter.get_total_flops()
    expected = flops_per_token(config, T, len(index) / (B * T)) * B * T
    if positions in ("tupe-a", "tupe-r"):
        table = 3 * 2 * (2 * L * 32 * 32)
        extra = 3 * B * T * 2 * T * (model.encoder.positions.features - 16) * 2
        counted -= table + extra
    assert counted == pytest.approx(expected, rel=1e-12)
