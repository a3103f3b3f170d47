"""`ftfy.fix_text`, the same text for a small part of the work: a kernel does what can be done character by character.

ftfy fixes a document segment by segment: lines with their newline, cut every million code points. Its default
fixers leave a segment alone exactly when it holds none of the characters that they map or remove, no HTML entity that
may be unescaped, is NFC, and does not look like mojibake (`ftfy.badness.is_bad`). The kernel decides all of this, maps
and removes what ftfy maps and removes, and looks again at what comes out, as ftfy does. Only segments with mojibake,
entities, or another normal form are handed on.
"""

import re
import sys
import unicodedata
from functools import lru_cache

import ftfy
import numpy as np
from ftfy import TextFixerConfig, chardata, fixes
from ftfy.badness import is_bad

from pipeline.text.kernels.segments import DOCUMENT, ENTITIES, FIRST, FTFY, LAST, fix
from pipeline.text.traits import HARD, MAPPED, REMOVED, RETURN, traits

_CONFIG = TextFixerConfig(explain=False)
_KEEP_ENTITIES = _CONFIG._replace(unescape_html=False)
SEGMENT = _CONFIG.max_decode_length
"""Code points after which ftfy cuts a line."""

MARKS = 1000
"""Combining marks in a row, written as entities, of which STREAM_SAFE stay: normalising a run takes quadratic time, and
10 MB of them hours. Readers refuse such runs of plain characters."""
STREAM_SAFE = 30
"""Marks in a row that UAX #15 (Stream-Safe Text Format) allows."""

REMEMBERED = 400
"""Code points up to which a segment's fix is kept for its next copy: mails share their ugly lines."""


@lru_cache(maxsize=1)
def _mark_runs() -> re.Pattern[str]:
    marks = "".join(f"\\U{point:08x}" for point in range(sys.maxunicode + 1) if unicodedata.combining(chr(point)))
    return re.compile(f"([{marks}]{{{STREAM_SAFE}}})[{marks}]{{{MARKS - STREAM_SAFE},}}")


def _stream_safe(segment: str) -> str:
    """The segment, its entities undone and long runs of marks cut, where they stand for such a run; else as it is."""
    plain = fixes.unescape_html(segment)
    cut = _mark_runs().sub(r"\1", plain)
    return segment if len(cut) == len(plain) else cut


@lru_cache(maxsize=1)
def _touched() -> re.Pattern[str]:
    """What a fixer other than those of mojibake and entities may change, by itself."""
    table = traits()
    points = np.flatnonzero(table.traits[table.kinds] & (MAPPED | REMOVED | HARD | RETURN))
    characters = "".join(f"\\U{point:08x}" for point in points)
    return re.compile(f"[{characters}\ud800-\udfff]")


def _sound(segment: str) -> bool:
    """No character-wise fixer, normalisation or re-decoding changes it."""
    return not _touched().search(segment) and unicodedata.is_normalized("NFC", segment) and not is_bad(segment)


def _scan(
    data: np.ndarray, offsets: np.ndarray, sound: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The kernel's part: bytes, offsets, facts, and the segments that are left to ftfy."""
    table = traits()
    size, documents = int(offsets[-1] - offsets[0]), len(offsets) - 1
    out, ends = np.empty(size, np.uint8), np.empty(documents + 1, np.int64)
    facts = np.empty((documents, 3), np.int64)
    lines = np.count_nonzero(data[offsets[0] : offsets[-1]] == 10)
    hard = np.empty((lines + documents + size // SEGMENT + 1, 4), np.int64)
    listed = fix(
        *(data, offsets, sound, SEGMENT, table.kinds, table.traits, table.machine.moves, table.machine.longest),
        *(table.classes, table.pairs, table.places, table.substitutes, out, ends, facts, hard),
    )
    out.setflags(write=False)  # as all bytes that come from Arrow or Python: numba compiles for writable ones apart
    return out[: ends[-1]], ends, facts, hard[:listed]


def _one(raw: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.frombuffer(raw, np.uint8), np.array([0, len(raw)], np.int64), np.ones(1, bool)


def _fix_segment(segment: str, entities: bool) -> str:
    """`ftfy.fix_text_segment`. One round of ftfy's loop by hand, in its order, where it holds nothing hard; where its
    outcome is sound the next round would change nothing."""
    if entities and segment.count("&") >= MARKS:
        segment = _stream_safe(segment)
    if chardata.C1_CONTROL_RE.search(segment) or is_bad(segment):
        return ftfy.fix_text_segment(segment, _CONFIG if entities else _KEEP_ENTITIES)
    fixed = fixes.unescape_html(segment) if entities and "&" in segment else segment
    if fixed != segment and not ("&" in fixed or "＆" in fixed or "\n" in fixed[:-1]):
        # No entity is left or can come about, so the kernel may do the rest of the round and look for another.
        out, _, _, hard = _scan(*_one(fixed.encode()))
        if not len(hard):
            return out.tobytes().decode()
    if fixed == segment or not is_bad(fixed):
        fixed = fixes.uncurl_quotes(fixes.fix_character_width(fixes.fix_latin_ligatures(fixed)))
        fixed = fixes.fix_surrogates(fixes.fix_line_breaks(fixed))
        fixed = fixes.remove_control_chars(fixes.remove_terminal_escapes(fixed))
        fixed = unicodedata.normalize("NFC", fixed)
        if _sound(fixed) and not (entities and "&" in fixed and fixes.unescape_html(fixed) != fixed):
            return fixed
    return ftfy.fix_text_segment(segment, _CONFIG if entities else _KEEP_ENTITIES)


_fix_known = lru_cache(maxsize=8192)(_fix_segment)


def fix_texts(data: np.ndarray, offsets: np.ndarray, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`ftfy.fix_text` of every document with `sound`; the others stay as they are.

    Takes sound UTF-8 (uint8), its offsets (int64 [documents + 1]) and a mask (bool [documents]). Returns new bytes,
    their offsets, and facts, int64 [documents, 3], columns as in pipeline.text.kernels.segments.
    """
    out, ends, facts, hard = _scan(data, offsets, sound)
    parts: list[bytes] = []
    position = 0
    growth = np.zeros(len(offsets), np.int64)
    for row in hard.tolist():
        before = out[row[FIRST] : row[LAST]].tobytes()
        segment = before.decode()
        fixed = (_fix_known if len(segment) <= REMEMBERED else _fix_segment)(segment, bool(row[ENTITIES]))
        if fixed == segment:
            continue
        after = fixed.encode()
        facts[row[DOCUMENT], FTFY] = 1
        growth[row[DOCUMENT] + 1] += len(after) - len(before)
        parts += [out[position : row[FIRST]].tobytes(), after]
        position = row[LAST]
    if not parts:
        return out, ends, facts
    parts.append(out[position:].tobytes())
    return np.frombuffer(b"".join(parts), np.uint8), ends + np.cumsum(growth), facts


def fix_text(text: str) -> str:
    """Equal to `ftfy.fix_text(text)` with its default config (ftfy 6.3)."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:  # lone surrogates, which UTF-8 cannot hold
        return ftfy.fix_text(text)
    fixed, _, _ = fix_texts(*_one(raw))
    return fixed.tobytes().decode()
