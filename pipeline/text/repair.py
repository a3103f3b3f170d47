"""Repair: ftfy, then what ftfy leaves: page furniture, invisible characters, normal form, blank lines and line ends.

Batches pass as bytes through the kernels; only documents (or lines) in which these cannot decide become Python strings.
"""

import re
import unicodedata
from collections.abc import Mapping

import ftfy
import numpy as np
import pyarrow as pa

from pipeline.config import RepairConfig
from pipeline.dedup.normalize import text_buffers
from pipeline.records import with_columns
from pipeline.text.furniture import cut_page_furniture
from pipeline.text.hyphens import join_hyphens
from pipeline.text.kernels.segments import FEEDS, FTFY, PAGES
from pipeline.text.kernels.tidy import CONTROLS, UNCERTAIN, WHITE, tidy
from pipeline.text.mojibake import fix_texts
from pipeline.text.traits import traits

REPAIRS: dict[str, str] = {
    "member_path": "an absolute or outward path was cut from the name of an archive's member",
    "main_text": "an HTML page was replaced by its main text",
    "html_stripped": "an HTML page only lost its tags: [html] whole names it, or it is beyond the limits of [html], or "
    "the parser refused it",
    "html_timeout": "an HTML page took more time than [html] timeout_seconds and only lost its tags",
    "ftfy": "ftfy changed something: mojibake, entities, quotes, ligatures, widths, line breaks, escapes, controls",
    "page_furniture": "running headers and footers of printed pages were cut, and the text around them joined",
    "controls": "invisible characters were removed (C1 controls, soft hyphens, word joiners, byte-order marks, "
    "noncharacters) or form feeds turned into line breaks",
    "nfc": "the text was brought to NFC where ftfy and the removal of controls had left another form",
    "whitespace": "blank lines, line ends or the ends of the text held surplus white space; "
    "newlines at the very end alone are not named",
    "hyphens": "words that were hyphenated at line ends were joined",
    "c4_lines": "lines were cut by the line rules of C4",
}
"""Name in the audit's `repairs` -> what it means, in the order of use."""

# U+2060 took over the zero-width no-break space from U+FEFF. Joiners, U+200B (word breaks in Thai and Khmer) and
# bidirectional marks carry meaning and stay, as in ftfy.
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u00ad\u2060\ufeff\ufdd0-\ufdef\ufffe\uffff]")
_BLANK_LINES = re.compile(r"\n{3,}")
_DEFAULT = RepairConfig()


def _without_controls(text: str) -> str:
    return _INVISIBLE.sub("", text.replace("\f\n", "\n").replace("\f", "\n"))


def _strip_space(text: str) -> str:
    """Line ends bare, at most one blank line in a row, no white space around the whole; indents inside it stay."""
    text = "\n".join(map(str.rstrip, text.split("\n")))
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return text.strip()


def _replaced(data: np.ndarray, offsets: np.ndarray, texts: Mapping[int, str]) -> tuple[np.ndarray, np.ndarray]:
    """The documents with those of `texts` (row -> text) in their place."""
    if not texts:
        return data, offsets
    parts: list[bytes] = []
    position = int(offsets[0])
    sizes = np.diff(offsets)
    for row in sorted(texts):
        text = texts[row].encode()
        parts += [data[position : offsets[row]].tobytes(), text]
        position = int(offsets[row + 1])
        sizes[row] = len(text)
    parts.append(data[position : offsets[-1]].tobytes())
    return np.frombuffer(b"".join(parts), np.uint8), np.concatenate(([0], np.cumsum(sizes)))


def _text(data: np.ndarray, offsets: np.ndarray, row: int) -> str:
    return data[offsets[row] : offsets[row + 1]].tobytes().decode()


def _repair(
    data: np.ndarray, offsets: np.ndarray, sound: np.ndarray, config: RepairConfig
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Bytes and offsets of the clean texts, and per name of a repair the documents that it changed (bool)."""
    rows = len(sound)
    data, offsets, facts = fix_texts(data, offsets, sound)
    done = {name: np.zeros(rows, bool) for name in REPAIRS}
    done["ftfy"] = facts[:, FTFY] > 0

    if config.page_furniture:
        texts = {}
        for row in np.flatnonzero((facts[:, FEEDS] >= 2) | (facts[:, PAGES] >= 3)):
            text = _text(data, offsets, int(row))
            cut = cut_page_furniture(text)
            if cut != text:
                texts[int(row)] = cut
                done["page_furniture"][row] = True
        data, offsets = _replaced(data, offsets, texts)

    table = traits()
    out, ends = np.empty(int(offsets[-1] - offsets[0]), np.uint8), np.empty(rows + 1, np.int64)
    facts = np.empty((rows, 3), np.int64)
    tidy(data, offsets, sound, table.kinds, table.traits, table.classes, table.pairs, out, ends, facts)
    done["controls"], done["whitespace"] = facts[:, CONTROLS] > 0, facts[:, WHITE] > 0
    texts = {}
    for row in np.flatnonzero(facts[:, UNCERTAIN]):
        text = _text(data, offsets, int(row))
        clean = _without_controls(text)
        normal = unicodedata.normalize("NFC", clean)
        texts[int(row)] = _strip_space(normal)
        done["controls"][row], done["nfc"][row] = clean != text, normal != clean
        done["whitespace"][row] = texts[int(row)] != normal.rstrip("\n")
    data, offsets = _replaced(out[: ends[-1]], ends, texts)

    if config.join_hyphens:
        texts = {}
        for row in np.flatnonzero(sound):
            text = _text(data, offsets, int(row))
            joined = join_hyphens(text)
            if joined != text:
                texts[int(row)] = joined
                done["hyphens"][row] = True
        data, offsets = _replaced(data, offsets, texts)
    return data, offsets, done


def _named(done: dict[str, np.ndarray], row: int) -> list[str]:
    return [name for name, rows in done.items() if rows[row]]


def repair_text(text: str, config: RepairConfig = _DEFAULT) -> tuple[str, list[str]]:
    """The clean text and the names (REPAIRS) of what changed something; the same as `repair` makes of a batch.

    The result is NFC, has only "\\n" for line breaks, and no white space at either end. Repairing it again changes
    nothing unless ftfy itself would change it (a soft hyphen that had hidden an entity, for one).
    """
    try:
        raw, lone = np.frombuffer(text.encode(), np.uint8), False
    except UnicodeEncodeError:  # lone surrogates, which UTF-8 cannot hold
        raw, lone = np.frombuffer(ftfy.fix_text(text).encode(), np.uint8), True
    data, _, done = _repair(raw, np.array([0, len(raw)], np.int64), np.ones(1, bool), config)
    done["ftfy"] |= lone
    return data.tobytes().decode(), _named(done, 0)


def repair(batch: pa.RecordBatch, config: RepairConfig = _DEFAULT) -> pa.RecordBatch:
    """`text` becomes clean text and `repairs` grows by what was done; quarantined rows stay as they are."""
    data, offsets = text_buffers(batch.column("text"))
    data.setflags(write=False)
    sound = batch.column("quarantine").is_null().to_numpy(zero_copy_only=False)
    data, offsets, done = _repair(data, offsets, sound, config)
    data = data[offsets[0] : offsets[-1]]
    buffers = [None, pa.py_buffer((offsets - offsets[0]).astype(np.int32)), pa.py_buffer(np.ascontiguousarray(data))]
    columns = {"text": pa.Array.from_buffers(pa.string(), batch.num_rows, buffers)}
    changed = np.logical_or.reduce(list(done.values()))
    if changed.any():
        repairs = batch.column("repairs").to_pylist()
        for row in np.flatnonzero(changed):
            repairs[row] = [*repairs[row], *_named(done, int(row))]
        columns["repairs"] = pa.array(repairs, pa.list_(pa.string()))
    return with_columns(batch, columns)
