"""The directory of a plain BERT: transformers loads it without custom code, as every program that knows BERT does."""

from pathlib import Path

import torch
from torch import Tensor

from trainer.export.fast_tokenizer import fast_tokenizer
from trainer.export.huggingface import common_config, save_tensors, write_json, write_tokenizer
from trainer.export.source import ExportError, Source
from trainer.model.encoder import Layer
from trainer.model.positions import AbsolutePositions, SinusoidalPositions

NAMES = {
    "masked-lm": "BertForMaskedLM",
    "classification": "BertForSequenceClassification",
    "regression": "BertForSequenceClassification",
    "tokens": "BertForTokenClassification",
}
HEADS = {
    "masked-lm": {
        "dense": "cls.predictions.transform.dense",
        "norm": "cls.predictions.transform.LayerNorm",
        "bias": "cls.predictions.bias",
    },
    "classification": {"dense": "bert.pooler.dense", "out": "classifier"},
    "regression": {"dense": "bert.pooler.dense", "out": "classifier"},
    "tokens": {"out": "classifier"},
}
TEXTS = 2
"""Kinds of tokens of a pair. Siliang has none, so both embeddings are zero."""


def check_plain(source: Source) -> None:
    """Raises ExportError where BERT cannot compute what this model does."""
    config = source.config
    reasons = []
    if config.positions not in ("absolute", "sinusoidal"):
        reasons.append(f"positions '{config.positions}' (BERT adds embeddings to the input)")
    if config.norm != "post":
        reasons.append(f"norm '{config.norm}' (BERT's is 'post')")
    if not config.embedding_norm:
        reasons.append("no norm on the embeddings")
    if config.shapes is not None:
        reasons.append("layers of different shapes (pruned)")
    if reasons:
        raise ExportError(
            f"{source.path}: is no plain BERT: {'; '.join(reasons)}. --format huggingface exports it with its own "
            "modelling file; a run with model.norm=post and model.positions=absolute is a plain BERT"
        )


def write_bert(source: Source, directory: Path) -> None:
    """config.json, model.safetensors and tokenizer files. Raises ExportError, OSError."""
    check_plain(source)
    described = {
        "model_type": "bert",
        "architectures": [NAMES[source.kind]],
        **common_config(source),
        "hidden_act": "gelu",
        "attention_probs_dropout_prob": 0.0,
        "type_vocab_size": TEXTS,
    }
    write_json(directory / "config.json", described)
    save_tensors(directory / "model.safetensors", _weights(source))
    write_tokenizer(source, directory)
    write_json(directory / "tokenizer.json", fast_tokenizer(source.vocabulary))


def _weights(source: Source) -> dict[str, Tensor]:
    encoder, config = source.encoder, source.config
    embeddings = "bert.embeddings"
    weights = {
        f"{embeddings}.word_embeddings.weight": encoder.token_embedding.weight,
        f"{embeddings}.position_embeddings.weight": _positions(source),
        f"{embeddings}.token_type_embeddings.weight": torch.zeros(TEXTS, config.width),
        **_part(encoder.embedding_norm, f"{embeddings}.LayerNorm"),
    }
    for number, layer in enumerate(encoder.layers):
        assert isinstance(layer, Layer)
        place = f"bert.encoder.layer.{number}"
        attention = layer.attention
        for what, tensor in (("weight", attention.qkv.weight), ("bias", attention.qkv.bias)):
            for name, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                weights[f"{place}.attention.self.{name}.{what}"] = third
        weights |= _part(attention.out, f"{place}.attention.output.dense")
        weights |= _part(layer.attention_norm, f"{place}.attention.output.LayerNorm")
        weights |= _part(layer.feed_forward.up, f"{place}.intermediate.dense")
        weights |= _part(layer.feed_forward.down, f"{place}.output.dense")
        weights |= _part(layer.feed_forward_norm, f"{place}.output.LayerNorm")
    for name, tensor in source.head.items():
        part, dot, rest = name.partition(".")
        weights[HEADS[source.kind][part] + dot + rest] = tensor
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def _part(module: torch.nn.Module, place: str) -> dict[str, Tensor]:
    return {f"{place}.{name}": tensor for name, tensor in module.named_parameters()}


def _positions(source: Source) -> Tensor:
    positions = source.encoder.positions
    if isinstance(positions, SinusoidalPositions):
        return positions.table_LD * positions.scale
    assert isinstance(positions, AbsolutePositions)
    return positions.embedding.weight
