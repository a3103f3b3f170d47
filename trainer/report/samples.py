"""Filled gaps of a run over its evaluations, as the page shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.vocabulary import WORD_BOUNDARY
from trainer.report.history import History, Record, number

SHOWN = 7
"""Evaluations of a text: the first, the last, and some between."""
TEXTS = 12
PIECE, TEXT = 60, 600
"""Characters of a piece and of the text between two gaps."""


@dataclass(frozen=True)
class Word:
    """Text, or what stands in a gap."""

    text: str
    gap: bool = False
    right: bool = False
    share: float | None = None
    """Probability."""


@dataclass(frozen=True)
class Fill:
    step: int
    words: tuple[Word, ...]
    right: int
    gaps: int


@dataclass(frozen=True)
class Sample:
    """One text: as it was, and as the model filled it at some steps."""

    truth: tuple[Word, ...]
    fills: tuple[Fill, ...]


def samples_of(history: History) -> list[Sample]:
    """Records that are not as `trainer.evaluate.samples` writes them are left out."""
    by_number: dict[int, list[Record]] = {}
    for record in history.of("sample"):
        if _sound(record):
            by_number.setdefault(record.get("sample", 0), []).append(record)
    return [_sample(by_number[key]) for key in sorted(by_number)[:TEXTS]]


def _sound(record: Record) -> bool:
    text, gaps = record.get("text"), record.get("gaps")
    return (
        isinstance(text, list)
        and isinstance(gaps, list)
        and len(text) == len(gaps) + 1
        and all(isinstance(part, str) for part in text)
        and all(
            isinstance(gap, Mapping) and isinstance(gap.get("truth"), str) and isinstance(gap.get("filled"), str)
            for gap in gaps
        )
    )


def chosen(count: int, shown: int = SHOWN) -> list[int]:
    """Of `count` evaluations the first, the last and some evenly between."""
    if count <= shown:
        return list(range(count))
    return [round(k * (count - 1) / (shown - 1)) for k in range(shown)]


def _sample(records: Sequence[Record]) -> Sample:
    return Sample(
        truth=_words(records[-1], "truth"),
        fills=tuple(
            Fill(
                record["step"],
                _words(record, "filled"),
                sum(gap["truth"] == gap["filled"] for gap in record["gaps"]),
                len(record["gaps"]),
            )
            for record in (records[k] for k in chosen(len(records)))
        ),
    )


def _words(record: Record, name: str) -> tuple[Word, ...]:
    text: list[str] = record["text"]
    gaps: list[Mapping[str, Any]] = record["gaps"]
    words = [Word(text[0][-TEXT:])]
    for gap, following in zip(gaps, text[1:], strict=True):
        share = number(gap.get("probability")) if name == "filled" else None
        words.append(Word(_spaced(gap[name][:PIECE]), True, gap["truth"] == gap["filled"], share))
        words.append(Word(following[:TEXT]))
    return tuple(word for word in words if word.text)


def _spaced(piece: str) -> str:
    """As it stands in a text; a piece that is a space alone stays to be seen."""
    return piece if piece == WORD_BOUNDARY else piece.replace(WORD_BOUNDARY, " ")
