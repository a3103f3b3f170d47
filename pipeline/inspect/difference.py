"""What changed between two texts, line by line, bounded whatever the texts are."""

import difflib
import itertools
from dataclasses import dataclass

COMPARED = 2_000
"""Lines of each text, from the first difference on, that are compared: difflib may take quadratic time."""
SHOWN_LINES = 60
SHOWN_CHARACTERS = 160
"""Code points shown of a line, from shortly before its first difference on."""
_BEFORE = 40


@dataclass(frozen=True)
class Difference:
    """`lines` as in a unified diff without file names; they hold the texts' characters as they are."""

    lines: tuple[str, ...]
    cut: bool
    """Something that differs may be missing from `lines`."""


def difference(before: str, after: str) -> Difference:
    """At most SHOWN_LINES lines, each of at most SHOWN_CHARACTERS and its mark; equal texts give none."""
    old, new = before.split("\n"), after.split("\n")
    start = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    start = max(0, start - 1)  # one line of context
    cut = max(len(old), len(new)) - start > COMPARED
    old_part, new_part = old[start : start + COMPARED], new[start : start + COMPARED]
    lines: list[str] = []
    for group in difflib.SequenceMatcher(None, old_part, new_part).get_grouped_opcodes(1):
        _, old_first, _, new_first, _ = group[0]
        _, _, old_last, _, new_last = group[-1]
        lines.append(
            f"@@ -{start + old_first + 1},{old_last - old_first} +{start + new_first + 1},{new_last - new_first} @@"
        )
        for tag, one, two, three, four in group:
            lines += _changed(old_part[one:two], new_part[three:four], tag)
        if len(lines) > SHOWN_LINES:
            break
    return Difference(tuple(lines[:SHOWN_LINES]), cut or len(lines) > SHOWN_LINES)


def _changed(old: list[str], new: list[str], tag: str) -> list[str]:
    if tag == "equal":
        return [" " + _window(line, 0) for line in old]
    # The n-th old line is taken for the n-th new one: good enough to find the place to show in long lines.
    first = [_first_difference(one, two) for one, two in zip(old, new, strict=False)]
    first += [0] * (max(len(old), len(new)) - len(first))
    return [
        mark + _window(line, place)
        for mark, lines in (("-", old), ("+", new))
        for line, place in zip(lines, first, strict=False)
    ]


def _first_difference(one: str, two: str) -> int:
    low, high = 0, min(len(one), len(two))
    while low < high:  # halving compares slices in C: a line may hold megabytes
        middle = (low + high + 1) // 2
        if one[low:middle] == two[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _window(line: str, place: int) -> str:
    start = max(0, place - _BEFORE) if len(line) > SHOWN_CHARACTERS else 0
    head = "…" if start else ""
    shown = line[start : start + SHOWN_CHARACTERS - len(head)]
    return head + (shown if start + len(shown) == len(line) else shown[:-1] + "…")
