"""Hostile text made harmless to look at: controls, bidi overrides and invisible characters are shown, not obeyed.

HTML escaping is not enough: a right-to-left override reverses the line it stands in, an escape code repaints a
terminal, and NUL ends or breaks a document. Both faces of this module replace each of them by a visible name.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from markupsafe import Markup, escape

# Everything that draws nothing itself or steers how the rest is drawn, and the noncharacters. Found by category, so it
# grows with unicodedata; the two private planes at the end go by range.
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
_NAME = 8
"""Characters of a hidden one's name, "⟨U+202E⟩"; nine from plane 1 on."""
# Line structure, and the two joiners that Persian and Indic spelling needs (they move nothing).
_SHOWN_AS_THEY_ARE = "\n\t\u200c\u200d"


@cache
def _hidden() -> re.Pattern[str]:
    """Runs of hidden characters. The scan takes a fifth of a second, and not every command shows text."""
    points = [
        point
        for point in range(0xF0000)
        if (unicodedata.category(chr(point)) in _HIDDEN_CATEGORIES and chr(point) not in _SHOWN_AS_THEY_ARE)
        or point & 0xFFFE == 0xFFFE
    ]
    ranges: list[list[int]] = []
    for point in points:
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    inner = "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
    return re.compile(f"[{inner}\U000f0000-\U0010ffff]+")


def _name(character: str) -> str:
    # Not the control pictures U+2400...: common fonts (DejaVu Sans) lack them.
    return f"⟨U+{ord(character):04X}⟩"


def cut(text: str, limit: int) -> str:
    """At most `limit` code points; an ellipsis tells that something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _parts(text: str, limit: int) -> Iterator[tuple[str, bool]]:
    """(characters to show, whether they are names of hidden ones). Names count as long as they are drawn: hostile text
    takes no more room than other text."""
    shown, end, left = cut(text, limit), 0, limit
    for match in _hidden().finditer(shown):
        plain = cut(shown[end : match.start()], max(1, left))
        left -= len(plain)
        yield plain, False
        fitting = min(len(match.group()), max(0, left) // _NAME)
        yield "".join(map(_name, match.group()[:fitting])), True
        left -= _NAME * fitting
        end = match.end()
        if fitting < len(match.group()):
            yield "…", False
            return
    yield cut(shown[end:], max(1, left)), False


def visible_text(text: str, limit: int = 240) -> str:
    """Plain text for terminals and chart labels: the first `limit` code points, on one line."""
    shown = cut(text, limit).replace("\n", "↵").replace("\t", " ")
    return _hidden().sub(lambda match: "".join(map(_name, match.group())), shown)


def visible(text: str, limit: int = 240) -> Markup:
    """Escaped HTML of at most `limit` characters as they are drawn: hidden ones stand in `<i class="c">` by their
    names, lines are kept."""
    return Markup("").join(
        Markup('<i class="c">{}</i>').format(part) if hidden else escape(part)
        for part, hidden in _parts(text, limit)
        if part
    )
