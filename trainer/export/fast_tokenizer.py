"""A SentencePiece model as a tokenizer.json for Hugging Face `tokenizers`, which needs no custom code.

It is not SentencePiece: scores are added in fp64 where SentencePiece has fp32, so of two cuts of a long text with all
but equal scores it may take the other one; normalisation goes by grapheme, so some sequences of combining characters
come out otherwise; and a mask inside a word ("un[MASK]able") makes what follows it begin a word. `files/
tokenization_siliang.py` has none of this and goes along wherever custom code may.
"""

import base64
import re
from pathlib import Path
from typing import Any

import sentencepiece

from schemas.vocabulary import CLS, MASK, PAD, SEP, SPECIAL_PIECES, UNKNOWN, WORD_BOUNDARY
from trainer.export.sentencepiece_model import ModelFacts, read_facts

ADDED = (PAD, UNKNOWN, CLS, SEP, MASK)


def fast_tokenizer(path: str | Path) -> dict[str, Any]:
    """The content of tokenizer.json. Raises TokenizerError."""
    facts = read_facts(path)
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    pieces = [model.id_to_piece(i) for i in range(len(model))]
    special = [
        i
        for i in range(len(model))
        if model.is_control(i) or model.is_unknown(i) or model.is_unused(i) or model.is_byte(i)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": SPECIAL_PIECES[i],
                "single_word": False,
                "lstrip": i == MASK,  # the space before a gap belongs to the piece that is sought
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for i in ADDED
        ],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(facts)},
        "pre_tokenizer": _apart([pieces[i] for i in special]) if facts.kind == "unigram" else None,
        "post_processor": _template(),
        "decoder": {"type": "Sequence", "decoders": _decoders(facts)},
        "model": _unigram(model, pieces, facts) if facts.kind == "unigram" else _bpe(model, pieces, special, facts),
    }


def _replace(pattern: str, content: str, regex: bool = True) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex" if regex else "String": pattern}, "content": content}


def _normalizers(facts: ModelFacts) -> list[dict[str, Any]]:
    """In SentencePiece's order."""
    steps: list[dict[str, Any]] = []
    if facts.charsmap:
        encoded = base64.b64encode(facts.charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": encoded})
    if facts.remove_spaces:
        steps += [_replace(r"\A +| +\z", ""), _replace(" {2,}", " ")]
    space = WORD_BOUNDARY if facts.escape_spaces else " "
    if facts.dummy_prefix:
        steps.append({"type": "Prepend", "prepend": space})
    if facts.escape_spaces:
        steps.append(_replace(" ", WORD_BOUNDARY, regex=False))
    if facts.remove_spaces:
        # A ▁ that was written out at the end goes like a space.
        steps.append(_replace(rf"{re.escape(space)}+\z", ""))
    return steps


def _apart(special: list[str]) -> dict[str, Any]:
    """SentencePiece's specials and bytes stand for no text; here a text "<0x41>" would be the piece of that name, so it
    is cut behind its first character."""
    first = {piece[0] for piece in special if len(piece) > 1}
    rest = [re.escape(piece[1:]) for piece in special if not _is_byte(piece) and len(piece) > 1]
    if any(map(_is_byte, special)):
        rest.append("0x[0-9A-F]{2}>")
    pattern = f"[{re.escape(''.join(sorted(first)))}](?={'|'.join(rest)})"
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "MergedWithPrevious", "invert": False}


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x")


def _template() -> dict[str, Any]:
    """[CLS] A [SEP] or [CLS] A [SEP] B [SEP]."""
    cls, sep = ({"SpecialToken": {"id": SPECIAL_PIECES[i], "type_id": 0}} for i in (CLS, SEP))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [cls, first, sep],
        "pair": [cls, first, sep, second, sep],
        "special_tokens": {
            SPECIAL_PIECES[i]: {"id": SPECIAL_PIECES[i], "ids": [i], "tokens": [SPECIAL_PIECES[i]]} for i in (CLS, SEP)
        },
    }


def _decoders(facts: ModelFacts) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [_replace(WORD_BOUNDARY, " ", regex=False)]
    if facts.byte_fallback:
        steps.append({"type": "ByteFallback"})
    steps.append({"type": "Fuse"})
    if facts.dummy_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return steps


def _unigram(model: sentencepiece.SentencePieceProcessor, pieces: list[str], facts: ModelFacts) -> dict[str, Any]:
    return {
        "type": "Unigram",
        "unk_id": UNKNOWN,
        "vocab": [[piece, model.get_score(i)] for i, piece in enumerate(pieces)],
        "byte_fallback": facts.byte_fallback,
    }


def _bpe(
    model: sentencepiece.SentencePieceProcessor, pieces: list[str], special: list[int], facts: ModelFacts
) -> dict[str, Any]:
    """SentencePiece merges whatever two neighbours make the piece of the highest score; here every such pair is a rule,
    in the order of the pieces they make."""
    none = set(special)
    normal = {piece: -model.get_score(i) for i, piece in enumerate(pieces) if i not in none}
    ranked = [
        (rank, len(left), left, piece[len(left) :])
        for piece, rank in normal.items()
        for left in (piece[:k] for k in range(1, len(piece)))
        if left in normal and piece[len(left) :] in normal
    ]
    return {
        "type": "BPE",
        "unk_token": SPECIAL_PIECES[UNKNOWN],
        "fuse_unk": True,
        "byte_fallback": facts.byte_fallback,
        "ignore_merges": False,
        "vocab": {piece: i for i, piece in enumerate(pieces)},
        "merges": [[left, right] for _, _, left, right in sorted(ranked)],
    }
