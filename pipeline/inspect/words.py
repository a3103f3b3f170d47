"""What differs between two texts, word by word, with some words around it: bounded whatever the texts are.

White space does not count.
"""

import re
from dataclasses import dataclass

from pipeline.dedup.shingles import SPACELESS
from pipeline.inspect.changes import Change, changes_of

COMPARED = 400_000
"""Words of each text, from its beginning, that are compared."""
CONTEXT = 6
"""Equal words shown on each side of a change; changes that lie nearer to one another are shown together."""
CHANCE = 3
"""Equal words between two longer changes that are shown as part of them."""
SHOWN_HUNKS = 12
SHOWN_CHARACTERS = 240
"""Code points of one run of words; of a longer one the beginning and the end are shown."""

_ALONE = "".join(f"{chr(first)}-{chr(last)}" for first, last in SPACELESS)
_WORD = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+|[^\w\s]+")
"""In scripts without spaces a character is a word."""


@dataclass(frozen=True)
class Run:
    """Words in a row. `mark`: "=" in both texts, "-" in the first alone, "+" in the second alone."""

    mark: str
    text: str
    """As it stands in the text, white space made one space; "…" where the middle was cut."""


@dataclass(frozen=True)
class WordDifference:
    """What differs between a first and a second text."""

    hunks: tuple[tuple[Run, ...], ...]
    """Changes with words around them, in text order; at most SHOWN_HUNKS."""
    changes: int
    """Runs of words that differ, those that are not shown included."""
    only_first: int
    """Words that are in the first text alone."""
    only_second: int
    cut: bool
    """Words beyond COMPARED were not looked at."""


def word_difference(first: str, second: str) -> WordDifference:
    """Texts of the same words give no hunk."""
    one, cut_one = _words(first)
    two, cut_two = _words(second)
    known: dict[str, int] = {}
    ids = [
        [known.setdefault(text[start:end], len(known)) for start, end in spans]
        for text, spans in ((first, one), (second, two))
    ]
    exact = changes_of(ids[0], ids[1])
    changes = _legible(exact)
    hunks: list[tuple[Run, ...]] = []
    for group in _groups(changes):
        if len(hunks) == SHOWN_HUNKS:
            break
        hunks.append(_hunk(group, first, one, second, two))
    return WordDifference(
        hunks=tuple(hunks),
        changes=len(changes),
        only_first=sum(change[1] - change[0] for change in exact),
        only_second=sum(change[3] - change[2] for change in exact),
        cut=cut_one or cut_two,
    )


def _words(text: str) -> tuple[list[tuple[int, int]], bool]:
    spans: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        if len(spans) == COMPARED:
            return spans, True
        spans.append(match.span())
    return spans, False


def _legible(changes: list[Change]) -> list[Change]:
    """Long changes that only a few words part become one: such words are in both texts by chance."""
    merged: list[Change] = []
    for change in changes:
        if merged:
            last = merged[-1]
            gap = change[0] - last[1]
            if gap <= CHANCE and all(max(b - a, d - c) > 2 * gap for a, b, c, d in (last, change)):
                merged[-1] = (last[0], change[1], last[2], change[3])
                continue
        merged.append(change)
    return merged


def _groups(changes: list[Change]) -> list[list[Change]]:
    groups: list[list[Change]] = []
    for change in changes:
        if groups and change[0] - groups[-1][-1][1] <= 2 * CONTEXT:
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def _hunk(
    group: list[Change], first: str, one: list[tuple[int, int]], second: str, two: list[tuple[int, int]]
) -> tuple[Run, ...]:
    start, end = max(0, group[0][0] - CONTEXT), min(len(one), group[-1][1] + CONTEXT)
    runs = []
    at = start
    for a, b, c, d in group:
        runs.append(Run("=", _text(first, one, at, a)))
        runs.append(Run("-", _text(first, one, a, b)))
        runs.append(Run("+", _text(second, two, c, d)))
        at = b
    runs.append(Run("=", _text(first, one, at, end)))
    runs = [run for run in runs if run.text]
    if start and runs[0].mark == "=":
        runs[0] = Run("=", "… " + runs[0].text)
    if end < len(one) and runs[-1].mark == "=":
        runs[-1] = Run("=", runs[-1].text + " …")
    return tuple(runs)


def _text(text: str, spans: list[tuple[int, int]], start: int, end: int) -> str:
    if start == end:
        return ""
    first, last = spans[start][0], spans[end - 1][1]
    if last - first <= 4 * SHOWN_CHARACTERS:
        shown = " ".join(text[first:last].split())
        if len(shown) <= SHOWN_CHARACTERS:
            return shown
    half = SHOWN_CHARACTERS // 2
    # Cut between words, unless a single one is too long.
    head = next((spans[word][1] for word in range(_last(spans, start, first + half), start - 1, -1)), first + half)
    tail = next((spans[word][0] for word in range(_first(spans, last - half, end), end)), last - half)
    return " … ".join(" ".join(part.split()) for part in (text[first:head], text[tail:last]))


def _last(spans: list[tuple[int, int]], start: int, bound: int) -> int:
    """The last word from `start` on that ends by `bound`; start - 1 where none does."""
    word = start
    while word < len(spans) and spans[word][1] <= bound:
        word += 1
    return word - 1


def _first(spans: list[tuple[int, int]], bound: int, end: int) -> int:
    """The first of the words before `end` that lie behind `bound`; `end` where none does."""
    word = end
    while word and spans[word - 1][0] >= bound:
        word -= 1
    return word
