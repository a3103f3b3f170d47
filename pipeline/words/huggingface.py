"""A Hugging Face `tokenizer.json` as a SentencePiece model with Siliang's special pieces, where that is exact.

Both programs read one SentencePiece model; a tokenizer is converted once, or refused. Exact are Unigram models, and BPE
models whose merges follow from the order of their pieces, over text whose spaces are written ▁ (T5, XLM-R, Llama...).
Refused are ByteLevel (pieces are bytes, no text), WordPiece (the text does not come back), and normalisers that
SentencePiece does not have. Ids change: the special pieces come first, the others keep their order.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson

from pipeline.words import model_file
from pipeline.words.vocabulary import VocabularyError
from schemas.vocabulary import CLS, MASK, NEITHER, PAD, SEP, SPECIAL_PIECES, UNKNOWN, WORD_BOUNDARY

NAMES: Final = {
    PAD: ("[PAD]", "<pad>", "<|pad|>"),
    UNKNOWN: ("[UNK]", "<unk>", "<|unk|>"),
    CLS: ("[CLS]", "<s>", "<cls>", "<bos>", "<|begin_of_text|>"),
    SEP: ("[SEP]", "</s>", "<sep>", "<eos>", "<|end_of_text|>"),
    MASK: ("[MASK]", "<mask>", "<|mask|>"),
    NEITHER: ("[NEITHER]",),
}
"""What other tokenizers call the special pieces; the first one found is taken. [NEITHER] is added where missing."""

_BYTES: Final = {f"<0x{value:02X}>" for value in range(256)}


@dataclass(frozen=True)
class Converted:
    """A tokenizer.json as SentencePiece model."""

    model: bytes
    mapped: dict[str, str]
    """Special piece of schemas.vocabulary -> its name in the tokenizer."""
    other_specials: tuple[str, ...]
    """Further special tokens: control pieces here, no text makes them."""


@dataclass(frozen=True)
class _Spaces:
    """How text becomes what the model cuts."""

    charsmap: bytes = b""
    dummy_prefix: bool = False
    collapse: bool = False
    """Runs of spaces become one, none stays at the ends."""
    escaped: bool = False
    """Spaces are written ▁."""
    split: bool = False
    """No piece crosses a ▁."""


def is_tokenizer_json(path: str | Path) -> bool:
    """Whether the file is JSON by its first byte (a SentencePiece model starts with a newline character)."""
    try:
        with open(path, "rb") as file:
            return file.read(64).lstrip()[:1] == b"{"
    except OSError:
        return False


def convert(path: str | Path) -> Converted:
    """Raises VocabularyError that names what the tokenizer has and SentencePiece or Siliang has not."""
    try:
        raw = orjson.loads(Path(path).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise VocabularyError(f"{path}: cannot be read as a tokenizer.json ({error})") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("model"), dict):
        raise VocabularyError(f"{path}: JSON, but no tokenizer: it has no 'model'; give a Hugging Face tokenizer.json")
    try:
        return _Conversion(str(path), raw).run()
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, VocabularyError):
            raise
        raise VocabularyError(f"{path}: damaged, or of a version that is not known ({error!r})") from error


class _Conversion:
    def __init__(self, path: str, raw: dict[str, Any]) -> None:
        self.path = path
        self.raw = raw
        self.added = {token["content"]: token for token in raw.get("added_tokens") or []}

    def refuse(self, what: str) -> NoReturn:
        raise VocabularyError(
            f"{self.path}: {what}. A tokenizer.json can be used if it is a Unigram or BPE model over text whose spaces "
            "are written ▁ (Metaspace), as SentencePiece makes them; leave --vocabulary out to learn a vocabulary"
        )

    def run(self) -> Converted:
        model = self.raw["model"]
        # Files of the first years name no type; a unigram's vocabulary is a list, a WordPiece's has a prefix.
        kind = model.get("type") or (
            "Unigram" if isinstance(model["vocab"], list) else "BPE" if "merges" in model else "WordPiece"
        )
        if kind == "WordPiece":
            self.refuse("a WordPiece model: its pieces do not tell where spaces were, so the text does not come back")
        if kind not in ("Unigram", "BPE"):
            self.refuse(f"a {kind} model")
        spaces = self._spaces()
        if not spaces.escaped:
            self.refuse("its spaces are not written ▁, so its pieces do not tell where words begin")
        pieces = self._unigram(model) if kind == "Unigram" else self._bpe(model)
        return self._write(kind, pieces, spaces, bool(model.get("byte_fallback")))

    # ---- text to pieces

    def _spaces(self) -> _Spaces:
        settings: dict[str, Any] = {}
        for step in _steps(self.raw.get("normalizer"), "normalizers"):
            self._normalizer(step, settings)
        for step in _steps(self.raw.get("pre_tokenizer"), "pretokenizers"):
            kind = step["type"]
            if kind == "Metaspace":
                if step.get("replacement", WORD_BOUNDARY) != WORD_BOUNDARY:
                    self.refuse(f"its spaces are written {step['replacement']!r}")
                settings["escaped"] = True
                settings["split"] = step.get("split", True)
                settings["dummy_prefix"] = step.get("prepend_scheme", "always") != "never" and step.get(
                    "add_prefix_space", True
                )
            elif kind == "WhitespaceSplit":
                settings["collapse"] = True
            elif kind == "ByteLevel":
                self.refuse("a ByteLevel tokenizer (Ġ): its pieces are bytes of characters and no text")
            else:
                self.refuse(f"its pre-tokenizer {kind} has no counterpart in SentencePiece")
        return _Spaces(**settings)

    def _normalizer(self, step: dict[str, Any], settings: dict[str, Any]) -> None:
        kind = step["type"]
        if kind == "Precompiled" and "charsmap" not in settings:
            settings["charsmap"] = base64.b64decode(step["precompiled_charsmap"] or "")
        elif kind == "Prepend" and step["prepend"] == WORD_BOUNDARY:
            settings["dummy_prefix"] = True
        elif kind == "Replace" and step["pattern"] == {"String": " "} and step["content"] == WORD_BOUNDARY:
            settings["escaped"] = True
        elif kind == "Replace" and step["pattern"] == {"Regex": " {2,}"} and step["content"] in (" ", WORD_BOUNDARY):
            settings["collapse"] = True
        elif kind != "Strip":  # collapsing strips both ends; without it SentencePiece keeps what Strip would cut
            self.refuse(f"its normaliser {kind} has no counterpart in SentencePiece")

    # ---- pieces and scores, in the order of their ids

    def _unigram(self, model: dict[str, Any]) -> list[tuple[str, float]]:
        pieces = [(str(piece), float(score)) for piece, score in model["vocab"]]
        known = {piece for piece, _ in pieces}
        later = sorted((token["id"], content) for content, token in self.added.items() if content not in known)
        return pieces + [(content, 0.0) for _, content in later]

    def _bpe(self, model: dict[str, Any]) -> list[tuple[str, float]]:
        for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
            if model.get(key):
                self.refuse(f"its BPE model has {key} = {model[key]!r}")
        ids: dict[str, int] = dict(model["vocab"])
        ids.update({content: token["id"] for content, token in self.added.items() if content not in ids})
        pairs = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
        order: dict[str, int] = {}
        last = ""
        for left, right in pairs:
            made = left + right
            if made != last and made in order:
                self.refuse(f"its merges make {made!r} at two places of their order, SentencePiece knows one")
            order.setdefault(made, len(order))
            last = made
        self._check_splits(ids, order, set(pairs))
        return [
            (piece, -float(order[piece]) if piece in order else 0.0)
            for piece, _ in sorted(ids.items(), key=lambda i: i[1])
        ]

    def _check_splits(self, ids: dict[str, int], order: dict[str, int], pairs: set[Any]) -> None:
        """SentencePiece joins any two neighbours whose sum is a piece: every such pair must be a merge."""
        for made in order:
            for cut in range(1, len(made)):
                left, right = made[:cut], made[cut:]
                reachable = all(part in order or (len(part) == 1 and part in ids) for part in (left, right))
                if reachable and (left, right) not in pairs:
                    self.refuse(f"its merges never join {left!r} and {right!r}, SentencePiece would")

    # ---- the model

    def _write(self, kind: str, pieces: list[tuple[str, float]], spaces: _Spaces, byte_fallback: bool) -> Converted:
        present = {piece for piece, _ in pieces}
        mapped = self._specials(present)
        specials = [content for content, token in self.added.items() if token.get("special")]
        others = tuple(sorted(set(specials) - set(mapped.values()), key=lambda name: self.added[name]["id"]))
        if byte_fallback and (missing := sorted(_BYTES - present)):
            self.refuse(f"byte_fallback is on and {missing[0]} is missing ({len(missing)} of 256)")
        model = model_file.new_model()
        trainer, normalizer = model.trainer_spec, model.normalizer_spec
        trainer.model_type = model_file.UNIGRAM if kind == "Unigram" else model_file.BPE
        trainer.byte_fallback = byte_fallback
        trainer.pad_id, trainer.unk_id, trainer.bos_id, trainer.eos_id = PAD, UNKNOWN, CLS, SEP
        trainer.pad_piece, trainer.unk_piece, trainer.bos_piece, trainer.eos_piece = (
            SPECIAL_PIECES[token] for token in (PAD, UNKNOWN, CLS, SEP)
        )
        normalizer.name = "precompiled" if spaces.charsmap else "identity"
        normalizer.precompiled_charsmap = spaces.charsmap
        normalizer.add_dummy_prefix = spaces.dummy_prefix
        normalizer.remove_extra_whitespaces = spaces.collapse
        normalizer.escape_whitespaces = True
        rows = [
            (piece, 0.0, model_file.UNKNOWN if token == UNKNOWN else model_file.CONTROL)
            for token, piece in enumerate(SPECIAL_PIECES)
        ]
        taken = {*mapped.values(), *SPECIAL_PIECES}
        rows += [
            (piece, score, self._type(piece, byte_fallback, spaces, others))
            for piece, score in pieces
            if piece not in taken
        ]
        model_file.add_pieces(model, rows)
        return Converted(model_file.dump_model(model), mapped, others)

    def _type(self, piece: str, byte_fallback: bool, spaces: _Spaces, others: tuple[str, ...]) -> int:
        if piece in others:
            return model_file.CONTROL
        if byte_fallback and piece in _BYTES:
            return model_file.BYTE
        if piece in self.added:
            return model_file.USER_DEFINED
        if spaces.split and WORD_BOUNDARY in piece[1:]:
            return model_file.UNUSED
        return model_file.NORMAL

    def _specials(self, present: set[str]) -> dict[str, str]:
        found = {token: next((name for name in names if name in present), None) for token, names in NAMES.items()}
        missing = [SPECIAL_PIECES[token] for token, name in found.items() if name is None and token != NEITHER]
        if missing:
            has = [content for content, token in self.added.items() if token.get("special")]
            wanted = "; ".join(
                f"{piece} is missing (looked for {', '.join(NAMES[SPECIAL_PIECES.index(piece)])})" for piece in missing
            )
            raise VocabularyError(
                f"{self.path}: {wanted}. Its special pieces are {', '.join(has[:20]) or 'none'}. "
                "Give a vocabulary of a masked language model, or leave --vocabulary out to learn one"
            )
        return {SPECIAL_PIECES[token]: name for token, name in found.items() if name is not None}


def _steps(part: dict[str, Any] | None, key: str) -> Iterator[dict[str, Any]]:
    """A step, or the steps of a sequence of them."""
    if part is None:
        return
    if part["type"] == "Sequence":
        for step in part[key]:
            yield from _steps(step, key)
    else:
        yield part
