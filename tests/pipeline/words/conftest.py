"""Real documents from samples/, one tokenizer learnt from them, and their tokens."""

import hashlib
import json
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import VocabularyConfig
from pipeline.words.spans import Spans, word_spans
from pipeline.words.tokenizer import Encoded, Tokenizer
from pipeline.words.vocabulary import train_vocabulary

SAMPLES = Path(__file__).parents[3] / "samples"


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for item in (value.values() if isinstance(value, dict) else value or []) for text in _strings(item)]


def read_texts() -> dict[str, str]:
    """File name -> text: plain text, Chinese classics (strings of the JSON), declarations (HTML without tags)."""
    texts = {}
    for path in sorted(SAMPLES.rglob("*")):
        if path.suffix == ".txt":
            texts[path.name] = path.read_bytes().decode("utf-8", "replace")
        elif path.parent.name == "zh-classics":
            texts[path.name] = "\n".join(_strings(json.loads(path.read_text(encoding="utf-8"))))
        elif path.parent.name == "udhr-html":
            texts[path.name] = unescape(re.sub(r"<[^>]*>", " ", path.read_text(encoding="utf-8")))
    return texts


@dataclass(frozen=True)
class Corpus:
    names: list[str]
    texts: list[str]
    doc_ids: pa.Array
    encoded: Encoded
    spans: Spans


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    return read_texts()


@pytest.fixture(scope="session")
def tokenizer(texts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("vocabulary") / "siliang.model"
    # 0.99 leaves rare characters to the byte pieces, so that words spelt in bytes occur
    train_vocabulary(texts.values(), path, VocabularyConfig(size=4096, character_coverage=0.99, threads=1))
    return Tokenizer(path)


@pytest.fixture(scope="session")
def corpus(texts: dict[str, str], tokenizer: Tokenizer) -> Corpus:
    """Every sample, cut into documents of about 2,000 characters; equal ones once."""
    origin: dict[str, str] = {}
    for name, text in texts.items():
        for start in range(0, len(text), 2000):
            origin.setdefault(text[start : start + 2000], name)
    parts, names = list(origin), list(origin.values())
    encoded = tokenizer.encode(parts)
    doc_ids = pa.array([hashlib.blake2b(part.encode(), digest_size=16).hexdigest() for part in parts])
    return Corpus(names, parts, doc_ids, encoded, word_spans(encoded, tokenizer.piece_kinds))
