"""Text of runs made harmless to look at: escaped, and what draws nothing or steers how the rest is drawn is named."""

import unicodedata

from markupsafe import Markup, escape

_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def visible_text(text: str, limit: int = 200) -> str:
    """Plain, on one line, at most `limit` characters before hidden ones are named."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    spaced = cut.replace("\n", " ").replace("\t", " ")
    return "".join(f"⟨U+{ord(c):04X}⟩" if unicodedata.category(c) in _HIDDEN else c for c in spaced)


def visible(text: str, limit: int = 200) -> Markup:
    """Escaped, and apart from the direction of what stands around it."""
    return Markup("<bdi>{}</bdi>").format(escape(visible_text(text, limit)))
