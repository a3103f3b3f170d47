"""Model configs: defaults, errors that name the key, presets."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.model.presets import PRESETS


def config(**changes):
    return ModelConfig.model_validate({"vocabulary_size": 100, **PRESETS["tiny"], **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widht": 128}, "widht"),
        ({"heads": 3}, r"width \(128\) must be a multiple of heads \(3\)"),
        ({"positions": "rotary"}, "positions"),
        ({"positions": "rope", "heads": 128}, "width / heads .1. must be even"),
        ({"positions": "tupe-r", "position_std": 0.1}, "position_std has no meaning for positions 'tupe-r'"),
        ({"positions": "rope", "position_start": "sinusoidal"}, "goes with positions tupe-a, tupe-r, not with 'rope'"),
        ({"norm": "pre", "head_scale": True}, "head_scale goes with norm 'pre-extra'"),
        ({"positions": "alibi", "attention": "concat"}, "'concat' cannot carry positions 'alibi'"),
        ({"positions": "bert-r", "attention": "concat"}, "'concat' cannot carry positions 'bert-r'"),
        ({"norm": "none"}, "norm"),
        ({"dropout": 1.0}, "dropout"),
        ({"layers": 0}, "layers"),
        ({"init_std": 0}, "init_std"),
        ({"vocabulary_size": 6}, "vocabulary_size"),
        ({"max_length": 1}, "max_length"),
    ],
)
def test_errors_name_the_key(changes, message):
    with pytest.raises(ValidationError, match=message):
        config(**changes)


def test_frozen_and_round_trip():
    made = config(positions="absolute", init_std=0.06)
    with pytest.raises(ValidationError):
        made.layers = 2
    assert ModelConfig.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("norm", "asked", "wanted"),
    [
        ("post", {}, True), ("pre", {}, True), ("pre-extra", {}, True), ("pre", {"embedding_norm": False}, False),
        # Models of before the default was decided.
        ("post", {"embedding_norm": None}, True), ("pre", {"embedding_norm": None}, False),
    ],
)  # fmt: skip
def test_embeddings_are_normalised_unless_told_otherwise(norm, asked, wanted):
    made = config(norm=norm, **asked)
    assert made.embedding_norm is wanted
    assert isinstance(Encoder(made).embedding_norm, nn.LayerNorm) is wanted


def test_presets_are_valid_and_grow():
    with torch.device("meta"):
        encoders = [Encoder(config(**PRESETS[name])) for name in PRESETS]
    sizes = [sum(p.numel() for p in encoder.parameters()) for encoder in encoders]
    assert list(PRESETS) == ["tiny", "small", "base", "large", "tiny-grown"]
    assert sizes[:4] == sorted(sizes[:4])
    assert sizes[2] > 85e6, "BERT-base has 85 M weights outside its embeddings"
