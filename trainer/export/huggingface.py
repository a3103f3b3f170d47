"""The directory that transformers' Auto classes load with trust_remote_code."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from schemas.vocabulary import CLS, MASK, PAD, SEP, SPECIAL_PIECES, UNKNOWN
from trainer.export.source import Source
from trainer.model.config import NORM_EPSILON

FILES = Path(__file__).with_name("files")
MODELLING, TOKENIZATION = "modeling_siliang", "tokenization_siliang"
VOCABULARY = "siliang.model"
CLASSES = {
    "masked-lm": ("AutoModelForMaskedLM", "SiliangForMaskedLM"),
    "classification": ("AutoModelForSequenceClassification", "SiliangForSequenceClassification"),
    "regression": ("AutoModelForSequenceClassification", "SiliangForSequenceClassification"),
    "tokens": ("AutoModelForTokenClassification", "SiliangForTokenClassification"),
}
SPECIALS = {
    "pad_token": SPECIAL_PIECES[PAD],
    "unk_token": SPECIAL_PIECES[UNKNOWN],
    "cls_token": SPECIAL_PIECES[CLS],
    "sep_token": SPECIAL_PIECES[SEP],
    "mask_token": SPECIAL_PIECES[MASK],
}


def write_huggingface(source: Source, directory: Path) -> None:
    """config.json, model.safetensors, the modelling and tokenization files, and the tokenizer's.

    Raises OSError.
    """
    write_json(directory / "config.json", _config(source))
    save_tensors(directory / "model.safetensors", _weights(source))
    write_tokenizer(source, directory)
    shutil.copyfile(FILES / f"{MODELLING}.py", directory / f"{MODELLING}.py")


def write_tokenizer(source: Source, directory: Path) -> None:
    """The SentencePiece model, and a tokenizer of transformers around it."""
    shutil.copyfile(source.vocabulary, directory / VOCABULARY)
    shutil.copyfile(FILES / f"{TOKENIZATION}.py", directory / f"{TOKENIZATION}.py")
    described = {
        "tokenizer_class": "SiliangTokenizer",
        "auto_map": {"AutoTokenizer": [f"{TOKENIZATION}.SiliangTokenizer", None]},
        "model_max_length": source.longest,
        "padding_side": "right",
        "truncation_side": "right",
        **SPECIALS,
    }
    write_json(directory / "tokenizer_config.json", described)


def common_config(source: Source) -> dict[str, Any]:
    """Keys of config.json that every model of transformers has."""
    config = source.config
    described: dict[str, Any] = {
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward,
        "max_position_embeddings": config.max_length,
        "hidden_dropout_prob": config.dropout,
        "classifier_dropout": 0.1,
        "initializer_range": config.init_std,
        "layer_norm_eps": NORM_EPSILON,
        "pad_token_id": PAD,
        "dtype": "float32",
    }
    if source.labels:
        described["id2label"] = {str(k): name for k, name in enumerate(source.labels)}
        described["label2id"] = {name: k for k, name in enumerate(source.labels)}
    if source.kind in ("classification", "regression"):
        described["problem_type"] = "regression" if source.kind == "regression" else "single_label_classification"
    return described


def _config(source: Source) -> dict[str, Any]:
    config, (auto, name) = source.config, CLASSES[source.kind]
    return {
        "model_type": "siliang",
        "architectures": [name],
        "auto_map": {
            "AutoConfig": f"{MODELLING}.SiliangConfig",
            "AutoModel": f"{MODELLING}.SiliangModel",
            # A head that the weights do not hold starts fresh, as for every model of transformers.
            **{kind: f"{MODELLING}.{class_}" for kind, class_ in CLASSES.values()},
            auto: f"{MODELLING}.{name}",
        },
        **common_config(source),
        "positions": config.positions,
        "norm": config.norm,
        "embedding_norm": config.embedding_norm,
        "head_scale": config.head_scale,
        **({} if config.shapes is None else {"shapes": [shape.model_dump(mode="json") for shape in config.shapes]}),
    }


def _weights(source: Source) -> dict[str, Tensor]:
    """By the names of the modelling file; the masked-LM head's matrix is the token embeddings'."""
    weights = {f"encoder.{name}": tensor for name, tensor in source.encoder.state_dict().items()}
    for name, tensor in source.head.items():
        place = f"head.{'decoder.bias' if name == 'bias' else name}" if source.kind == "masked-lm" else name
        weights[place] = tensor
    return weights


def save_tensors(path: Path, weights: dict[str, Tensor]) -> None:
    """transformers asks for the metadata."""
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path, {"format": "pt"})


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
