"""What the stages told about the words, as the report shows it. A corpus whose stages/ is gone has none of it."""

from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import Field, ValidationError

from pipeline.report.model.base import Facts
from schemas.manifest import Manifest


class Counting(Facts):
    """How the words were counted, as the count stage tells it."""

    words: int
    """Running words, those of unlisted words included."""
    least: dict[str, int] = Field(default_factory=dict)
    """words, ngrams -> occurrences from which one is listed."""
    listed: dict[str, int] = Field(default_factory=dict)
    """words, ngrams -> how many are listed."""
    heaps: tuple[tuple[int, int], ...] = ()
    """(running words, distinct words) in growing shares of the documents; empty where seldom words are not listed."""
    heaps_law: tuple[float, float] = (0.0, 0.0)
    """(k, beta) of distinct = k * running ^ beta, fitted to `heaps`; zeros where there are not two points."""


class RareFacts(Facts):
    """How the rare words were chosen and what their notes hold, as the encode stage tells it."""

    rare_low: int
    """Least occurrences of a rare word."""
    rare_high: int
    """And the most."""
    rare_excluded: dict[str, int] = Field(default_factory=dict)
    """Reason (not letters, numeral, markup, spelling) -> words of this range that got no note."""
    spelling_limits: dict[str, float] = Field(default_factory=dict)
    """Script -> bits a letter above which a word counts as misread print."""
    without_window: int | None = None
    """Rare words that stand in held-out documents only, so that their notes hold no window."""
    in_families: int | None = None
    """Rare words with another rare form; None where families were not looked for."""
    window_by_family: int | None = None
    """Those of `without_window` of which another form has a window."""


_Kind = TypeVar("_Kind", bound=Facts)


def counting(directory: Path, manifest: Manifest) -> Counting | None:
    """None where the count stage's file is gone, damaged, or another run's."""
    return _read(directory, manifest, "count", Counting)


def rare_facts(directory: Path, manifest: Manifest) -> RareFacts | None:
    """None where the encode stage's file is gone, damaged, or another run's."""
    return _read(directory, manifest, "encode", RareFacts)


def _read(directory: Path, manifest: Manifest, stage: str, kind: type[_Kind]) -> _Kind | None:
    try:
        done: dict[str, Any] = orjson.loads((directory / "stages" / stage / "done.json").read_bytes())
        if done["fingerprint"] != manifest.fingerprints.get(stage):
            return None
        return kind.model_validate(done["facts"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
