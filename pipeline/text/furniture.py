"""Running headers and footers of printed pages, as RFCs carry them, cut so that paragraphs run on.

A page break is a form feed or the end, or, without form feeds, a line that ends in "[Page 7]". The last line before it
is its footer, the first line behind it its header. They count as furniture only where they repeat: precision comes
before recall.
"""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

MIN_PAGES = 3
"""Page breaks that must show the same footer or header."""
MIN_SHARE = 0.5
"""Of all page breaks, as a share, too: less is a chapter title or chance."""
MIN_LINES = 10
"""Lines from one page break to the next, in the median: less is a table of contents or a list."""
MAX_GAP = 8
"""Blank lines between a footer or header and the break."""
MIN_FULL_LINE = 50
"""Code points from which a line that ends in no mark is thought to run on over the page."""

_PAGE_MARK = re.compile(r"\[Page [0-9ivxlc]+\]\s*$", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+")
_NUMBERED = re.compile(r"\bpage #|^[-–—\s]*#[-–—\s]*$", re.IGNORECASE)
_LETTERS = re.compile(r"[^\W\d_]{3}")


@dataclass
class _Break:
    line: int
    """Where the form feed stands, or, without one, the line of the page mark."""
    footer: int | None
    header: int | None


def _neighbour(lines: list[str], start: int, step: int) -> int | None:
    """The nearest line with text, at most MAX_GAP blank lines away."""
    for place in range(start, start + step * (MAX_GAP + 1), step):
        if not 0 <= place < len(lines) or "\f" in lines[place]:
            return None
        if lines[place].strip():
            return place
    return None


def _breaks(lines: list[str]) -> list[_Break]:
    feeds = [number for number, line in enumerate(lines) if line == "\f"]
    if len(feeds) >= MIN_PAGES - 1:
        found = [_Break(feed, _neighbour(lines, feed - 1, -1), _neighbour(lines, feed + 1, 1)) for feed in feeds]
        return [*found, _Break(len(lines), _neighbour(lines, len(lines) - 1, -1), None)]
    marks = [number for number, line in enumerate(lines) if _PAGE_MARK.search(line)]
    return [_Break(mark, mark, _neighbour(lines, mark + 1, 1)) for mark in marks]


def _pattern(line: str) -> str:
    return " ".join(line.split())


def _rising(numbers: list[list[int]]) -> bool:
    """Whether some number of the lines counts the pages: up by one in at least nine of ten steps."""
    width = min(map(len, numbers))
    for place in range(width):
        steps = [after[place] - before[place] for before, after in pairwise(numbers)]
        if steps and sum(step == 1 for step in steps) >= 0.9 * len(steps):
            return True
    return False


def _furniture(lines: list[str], places: list[int], breaks: int) -> set[int]:
    """Those of `places` that repeat word for word, or but for a page number that counts up."""
    needed = max(MIN_PAGES, MIN_SHARE * breaks)
    found: set[int] = set()
    exact = Counter(_pattern(lines[place]) for place in places)
    masked: dict[str, list[int]] = {}
    for place in places:
        pattern = _pattern(lines[place])
        if exact[pattern] >= needed and _LETTERS.search(pattern):
            found.add(place)
        masked.setdefault(_NUMBER.sub("#", pattern), []).append(place)
    for pattern, rows in masked.items():
        if len(rows) >= needed and _NUMBERED.search(pattern):
            numbers = [[int(number) for number in _NUMBER.findall(lines[row])] for row in rows]
            if _rising(numbers):
                found.update(rows)
    return found


def _runs_on(before: str, after: str) -> bool:
    """Whether the lines on both sides of a page break belong to one paragraph."""
    if len(before) - len(before.lstrip()) != len(after) - len(after.lstrip()):
        return False
    if not before.strip() or not after.strip():
        return False
    last, first = before.rstrip()[-1], after.lstrip()[0]
    if last in ".!?:。！？":
        return False
    return first.islower() or last in ",;-" or len(before.strip()) >= MIN_FULL_LINE


def cut_page_furniture(text: str) -> str:
    """The text without page furniture; as it was where fewer than MIN_PAGES page breaks show any.

    Form feeds between the pages go with it, and the blank lines around: one is left, or none where the line before ends
    in the middle of a sentence and the next goes on at the same indent. Texts have "\\n" alone for line breaks.
    """
    lines = text.replace("\f", "\f\n").split("\n") if "\f" in text else text.split("\n")
    breaks = _breaks(lines)
    if len(breaks) < MIN_PAGES:
        return text
    gaps = sorted(after.line - before.line for before, after in pairwise(breaks))
    if not gaps or gaps[len(gaps) // 2] < MIN_LINES:
        return text
    footers = _furniture(lines, [b.footer for b in breaks if b.footer is not None], len(breaks))
    headers = _furniture(lines, [b.header for b in breaks if b.header is not None], len(breaks))
    if not footers and not headers:
        return text
    out: list[str] = []
    position = 0
    for number, page in enumerate(breaks):
        footer = page.footer if page.footer in footers else None
        header = page.header if page.header in headers else None
        if footer is None and header is None:
            continue
        # The footer of a page of one line is the header of the page: cut already.
        first = max(position, footer if footer is not None else page.line)
        last = header if header is not None else page.line
        stop = breaks[number + 1].line if number + 1 < len(breaks) else len(lines)
        while first > position and not lines[first - 1].strip():
            first -= 1
        last += 1
        while last < stop and not lines[last].strip():
            last += 1
        out += lines[position:first]
        position = last
        if out and position < len(lines) and not _runs_on(out[-1], lines[position]):
            out.append("")
    out += lines[position:]
    return "\n".join(out)
