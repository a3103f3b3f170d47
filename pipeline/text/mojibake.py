"""`ftfy.fix_text`, the same text for less work: only segments that some fixer could change are handed to ftfy.

ftfy fixes a document segment by segment: lines with their newline, cut every million code points. Its default
fixers leave a segment alone exactly when it holds none of the characters that they map or remove, no HTML entity that
may be unescaped, is NFC, and does not look like mojibake (`ftfy.badness.is_bad`). All of these are regex searches.
"""

import re
import unicodedata
from collections.abc import Iterator

import ftfy
from ftfy import TextFixerConfig, chardata, fixes
from ftfy.badness import is_bad

_CONFIG = TextFixerConfig(explain=False)
_KEEP_ENTITIES = _CONFIG._replace(unescape_html=False)
SEGMENT = _CONFIG.max_decode_length
"""Code points after which ftfy cuts a line."""


def _class(points: list[int]) -> str:
    return "".join(f"\\U{point:08x}" for point in points)


_QUOTES = "\u02bc\u2018-\u201f"
_MAPPED = _class([*chardata.LIGATURES, *chardata.WIDTH_MAP])
# ESC starts the terminal escapes and is itself a control. A CR inside a line is a line break, before a LF it goes.
_REMOVED = _class(sorted(chardata.CONTROL_CHARS)) + r"\u0085\u2028\u2029\x80-\x9f" + "\ud800-\udfff"
_TOUCHED = re.compile(f"[{_QUOTES}{_MAPPED}{_REMOVED}]|\r(?!\n)")
_HARD = re.compile(f"[{_REMOVED}]|\r(?!\n)")
_QUOTE = re.compile(f"[{_QUOTES}]")
_LIGATURE = re.compile(f"[{_class(list(chardata.LIGATURES))}]")
_WIDTH = re.compile(f"[{_class(list(chardata.WIDTH_MAP))}]")
SUSPICIOUS = re.compile("[\x80-\u058f\u2020\u2021\u2028-\u2bff\uf8ff\ufb00-\ufb06\ufffd]")
"""Characters without one of which ftfy never sees mojibake; dashes, quotes, bullets and ellipses alone are none.
A test holds this against ftfy's own expression."""


def _segments(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        end = text.find("\n", position) + 1 or len(text)
        end = min(end, position + SEGMENT)
        yield text[position:end]
        position = end


def _sound(segment: str) -> bool:
    """No character-wise fixer, normalisation or re-decoding changes it."""
    if _TOUCHED.search(segment):
        return False
    if segment.isascii():
        return True
    return unicodedata.is_normalized("NFC", segment) and not (SUSPICIOUS.search(segment) and is_bad(segment))


def _fix_segment(segment: str, entities: bool) -> str:
    if not (entities and "&" in segment) and not _HARD.search(segment):
        # One round of ftfy's loop by hand, in its order. Where its outcome is sound the next round changes nothing.
        if not segment.isascii() and SUSPICIOUS.search(segment) and is_bad(segment):
            return ftfy.fix_text_segment(segment, _CONFIG if entities else _KEEP_ENTITIES)
        fixed = segment
        if _LIGATURE.search(fixed):
            fixed = fixes.fix_latin_ligatures(fixed)
        if _WIDTH.search(fixed):
            fixed = fixes.fix_character_width(fixed)
        if _QUOTE.search(fixed):
            fixed = fixes.uncurl_quotes(fixed)
        if fixed.endswith("\r\n"):
            fixed = fixed[:-2] + "\n"
        fixed = unicodedata.normalize("NFC", fixed)
        # Full-width '&' and '；' become ASCII: then entities may appear that the next round would unescape.
        if _sound(fixed) and not (entities and "&" in fixed):
            return fixed
    return ftfy.fix_text_segment(segment, _CONFIG if entities else _KEEP_ENTITIES)


def fix_text(text: str) -> str:
    """Equal to `ftfy.fix_text(text)` with its default config (ftfy 6.3)."""
    # From the first segment with '<' on, ftfy leaves entities alone: what looks like HTML stays HTML.
    markup = text.find("<")
    entities_end = len(text) if markup < 0 else text.rfind("\n", 0, markup) + 1
    if text.isascii() and "&" not in text[:entities_end] and not _TOUCHED.search(text):
        if "\r" not in text:
            return text
        if len(text) <= SEGMENT:
            return text.replace("\r\n", "\n")
    out: list[str] = []
    seen_markup = False
    for segment in _segments(text):
        seen_markup = seen_markup or "<" in segment
        if _sound(segment) and (seen_markup or "&" not in segment) and not segment.endswith("\r\n"):
            out.append(segment)
        else:
            out.append(_fix_segment(segment, not seen_markup))
    return "".join(out)
