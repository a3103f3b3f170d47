"""How well a vocabulary fits: what a token covers, what is spelt in bytes, how words of each frequency are cut."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.words.spans import word_spans
from pipeline.words.tokenizer import Encoded, Tokenizer
from schemas.vocabulary import FIRST_ORDINARY, UNKNOWN

MEASURED_WORDS = 5000
"""Words of each frequency band that are cut, evenly spaced over it."""
LONGEST = 20


@dataclass
class Tally:
    """What some text became. `words` are those of pipeline.words.spans; `word_tokens` the tokens inside them."""

    documents: int = 0
    characters: int = 0
    bytes: int = 0
    tokens: int = 0
    byte_tokens: int = 0
    unknown_tokens: int = 0
    words: int = 0
    word_tokens: int = 0

    def add(self, other: "Tally") -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def row(self) -> dict[str, Any]:
        """JSON values: the sums and their ratios."""
        return {**asdict(self), **self.ratios()}

    def ratios(self) -> dict[str, float | None]:
        """Per token and per word; None where there is nothing to divide by."""
        return {
            "characters_per_token": _ratio(self.characters, self.tokens),
            "bytes_per_token": _ratio(self.bytes, self.tokens),
            "tokens_per_word": _ratio(self.word_tokens, self.words),
            "byte_share": _ratio(self.byte_tokens, self.tokens),
            "unknown_share": _ratio(self.unknown_tokens, self.tokens),
        }


def _ratio(above: float, below: float) -> float | None:
    return round(above / below, 6) if below else None


@dataclass
class Measured:
    """A vocabulary on a sample."""

    languages: dict[str, Tally] = field(default_factory=dict)
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Occurrences by token id [size]."""

    def total(self) -> Tally:
        whole = Tally()
        for tally in self.languages.values():
            whole.add(tally)
        return whole

    def rows(self) -> list[dict[str, Any]]:
        """One for each language, the largest first."""
        ordered = sorted(self.languages.items(), key=lambda item: (-item[1].bytes, item[0]))
        return [{"language": name, **tally.row()} for name, tally in ordered]


def tally(tokenizer: Tokenizer, texts: list[str], encoded: Encoded) -> Tally:
    """`encoded` are the tokens of `texts`."""
    spans = word_spans(encoded, tokenizer.piece_kinds)
    return Tally(
        documents=len(texts),
        characters=sum(map(len, texts)),
        bytes=sum(len(text.encode()) for text in texts),
        tokens=len(encoded.ids),
        byte_tokens=int(tokenizer.byte_pieces[encoded.ids].sum()),
        unknown_tokens=int((encoded.ids == UNKNOWN).sum()),
        words=len(spans),
        word_tokens=int((spans.end - spans.start).sum()),
    )


def measure(tokenizer: Tokenizer, batches: Iterable[pa.RecordBatch]) -> Measured:
    """Encodes batches of pipeline.words.sample.SAMPLE and sums by language."""
    measured = Measured(counts=np.zeros(tokenizer.size, np.int64))
    for batch in batches:
        for language in sorted(set(batch["language"].to_pylist())):
            texts = batch.filter(pc.equal(batch["language"], language))["text"].to_pylist()
            encoded = tokenizer.encode(texts)
            measured.languages.setdefault(language, Tally()).add(tally(tokenizer, texts, encoded))
            measured.counts += np.bincount(encoded.ids, minlength=tokenizer.size)
    return measured


def ordinary_pieces(tokenizer: Tokenizer) -> npt.NDArray[np.bool_]:
    """True [size] for pieces that are text of more than a byte."""
    _, offsets = tokenizer.surfaces
    spelt = offsets[1:] > offsets[:-1]
    boundary = np.array([tokenizer.piece(token).strip("▁") == "" for token in range(tokenizer.size)])
    chosen = (spelt | boundary) & ~tokenizer.byte_pieces
    chosen[:FIRST_ORDINARY] = False
    return np.asarray(chosen, np.bool_)


def pieces(tokenizer: Tokenizer, counts: npt.NDArray[Any]) -> dict[str, Any]:
    """Unused and longest pieces; `counts` [size] are the occurrences of every id."""
    ordinary = ordinary_pieces(tokenizer)
    unused = np.flatnonzero(ordinary & (counts == 0))
    order = sorted(np.flatnonzero(ordinary).tolist(), key=lambda token: (-len(tokenizer.piece(token)), token))
    longest = [{"piece": tokenizer.piece(token), "count": int(counts[token])} for token in order[:LONGEST]]
    return {
        "ordinary": int(ordinary.sum()),
        "unused": len(unused),
        "unused_examples": [tokenizer.piece(token) for token in unused[:LONGEST].tolist()],
        "longest": longest,
    }


def fertility(tokenizer: Tokenizer, read: Callable[[], Iterable[pa.RecordBatch]]) -> list[dict[str, Any]]:
    """Tokens per word by frequency band (1, 2-9, 10-99, ...); `read` gives WORD_FREQUENCY batches, and is called twice.

    Words are cut in their normalised form, behind a space; at most MEASURED_WORDS of a band, evenly spaced over its
    rows. `whole` is the share of words that are one piece, `with_bytes` of those that hold byte pieces; all three
    ratios count each word once.
    """
    words, occurrences, top = np.zeros(len(_BANDS), np.int64), np.zeros(len(_BANDS), np.int64), 0
    for batch in read():
        counts, bands = _bands(batch)
        words += np.bincount(bands, minlength=len(_BANDS))
        np.add.at(occurrences, bands, counts)
        top = max(top, int(counts.max(initial=0)))
    picked = [np.unique(np.linspace(0, n - 1, min(n, MEASURED_WORDS)).round().astype(np.int64)) for n in words.tolist()]
    cut = [_Cut() for _ in _BANDS]
    seen = np.zeros(len(_BANDS), np.int64)
    for batch in read():
        _, bands = _bands(batch)
        for band in np.unique(bands).tolist():
            rows = np.flatnonzero(bands == band)
            chosen = rows[np.isin(seen[band] + np.arange(len(rows)), picked[band])]
            seen[band] += len(rows)
            cut[band].add(tokenizer, batch["word"].take(pa.array(chosen)).to_pylist())
    return [
        {
            "low": int(_BANDS[band]),
            "high": min(int(_BANDS[band + 1]) - 1, top) if band + 1 < len(_BANDS) else top,
            "words": int(words[band]),
            "occurrences": int(occurrences[band]),
            **cut[band].ratios(),
        }
        for band in np.flatnonzero(words).tolist()
    ]


_BANDS = np.array([1, 2, *(10**power for power in range(1, 19))], np.int64)
"""Least count of each band."""


def _bands(batch: pa.RecordBatch) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Counts and bands [rows]."""
    counts = batch["count"].to_numpy().astype(np.int64)
    return counts, np.searchsorted(_BANDS, counts, side="right") - 1


@dataclass
class _Cut:
    """Words and what they were cut into."""

    words: int = 0
    tokens: int = 0
    whole: int = 0
    with_bytes: int = 0

    def add(self, tokenizer: Tokenizer, words: list[str]) -> None:
        encoded = tokenizer.encode(words)
        byte_tokens = np.append(0, np.cumsum(tokenizer.byte_pieces[encoded.ids]))[encoded.offsets]
        self.words += len(words)
        self.tokens += len(encoded.ids)
        self.whole += int((np.diff(encoded.offsets) == 1).sum())
        self.with_bytes += int((np.diff(byte_tokens) > 0).sum())

    def ratios(self) -> dict[str, float | None]:
        return {
            "tokens_per_word": _ratio(self.tokens, self.words),
            "whole": _ratio(self.whole, self.words),
            "with_bytes": _ratio(self.with_bytes, self.words),
        }
