"""A vocabulary that the user gives: a SentencePiece model with Siliang's special pieces, or a `tokenizer.json`."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.words.huggingface import convert, is_tokenizer_json
from pipeline.words.model_file import BYTE, parse_model
from pipeline.words.vocabulary import VocabularyError, check_vocabulary


@dataclass(frozen=True)
class GivenVocabulary:
    model: bytes
    """A SentencePiece model that holds schemas.vocabulary.SPECIAL_PIECES."""
    size: int
    note: str | None
    """For people: what of the vocabulary loses text, or None."""
    facts: dict[str, Any]
    """JSON values: the format, and of a converted one what its special pieces were called."""


def given_vocabulary(path: str | Path) -> GivenVocabulary:
    """Reads, converts and checks. Raises VocabularyError."""
    facts: dict[str, Any] = {"format": "sentencepiece"}
    if is_tokenizer_json(path):
        converted = convert(path)
        facts = {
            "format": "tokenizer.json",
            "specials": converted.mapped,
            "other_specials": list(converted.other_specials),
        }
        with tempfile.TemporaryDirectory() as directory:
            model = Path(directory) / "siliang.model"
            model.write_bytes(converted.model)
            try:
                size = check_vocabulary(model)
            except VocabularyError as error:
                raise VocabularyError(f"{path}: converted, it is no usable vocabulary ({error})") from error
        data = converted.model
    else:
        size = check_vocabulary(path)
        data = Path(path).read_bytes()
    note = None
    if not any(piece.type == BYTE for piece in parse_model(data).pieces):
        note = "the given vocabulary has no byte pieces: characters that it does not know become [UNK] and are lost"
    return GivenVocabulary(data, size, note, facts)
