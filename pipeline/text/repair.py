"""Repair: ftfy, then what ftfy leaves: invisible characters, page breaks, normal form, blank lines and line ends."""

import re
import unicodedata

import pyarrow as pa

from pipeline.records import with_columns
from pipeline.text.mojibake import fix_text

REPAIRS: dict[str, str] = {
    "main_text": "an HTML page was replaced by its main text",
    "ftfy": "ftfy changed something: mojibake, entities, quotes, ligatures, widths, line breaks, escapes, controls",
    "controls": "invisible characters were removed (C1 controls, soft hyphens, word joiners, byte-order marks, "
    "noncharacters) or form feeds turned into line breaks",
    "nfc": "the text was brought to NFC where ftfy and the removal of controls had left another form",
    "whitespace": "blank lines, line ends or the ends of the text held surplus white space; "
    "newlines at the very end alone are not named",
    "c4_lines": "lines were cut by the line rules of C4",
}
"""Name in the audit's `repairs` -> what it means, in the order of use."""

# U+2060 took over the zero-width no-break space from U+FEFF. Joiners, U+200B (word breaks in Thai and Khmer) and
# bidirectional marks carry meaning and stay, as in ftfy.
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u00ad\u2060\ufeff\ufdd0-\ufdef\ufffe\uffff]")
_BLANK_LINES = re.compile(r"\n{3,}")


def _without_controls(text: str) -> str:
    return _INVISIBLE.sub("", text.replace("\f\n", "\n").replace("\f", "\n"))


def _strip_space(text: str) -> str:
    """Line ends bare, at most one blank line in a row, no white space around the whole; indents inside it stay."""
    text = "\n".join(map(str.rstrip, text.split("\n")))
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return text.strip()


def repair_text(text: str) -> tuple[str, list[str]]:
    """The clean text and the names (REPAIRS) of what changed something.

    The result is NFC, has only "\\n" for line breaks, and no white space at either end. Repairing it again changes
    nothing unless ftfy itself would change it (a soft hyphen that had hidden an entity, for one).
    """
    names = []
    fixed = fix_text(text)
    if fixed != text:
        names.append("ftfy")
    clean = _without_controls(fixed)
    if clean != fixed:
        names.append("controls")
    normal = unicodedata.normalize("NFC", clean)
    if normal != clean:
        names.append("nfc")
    stripped = _strip_space(normal)
    if stripped != normal.rstrip("\n"):
        names.append("whitespace")
    return stripped, names


def repair(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`text` becomes clean text and `repairs` grows by what was done; quarantined rows stay as they are."""
    texts = batch.column("text").to_pylist()
    repairs = batch.column("repairs").to_pylist()
    for row, sound in enumerate(batch.column("quarantine").is_null().to_pylist()):
        if sound:
            texts[row], names = repair_text(texts[row])
            repairs[row] = [*repairs[row], *names]
    return with_columns(
        batch, {"text": pa.array(texts, pa.string()), "repairs": pa.array(repairs, pa.list_(pa.string()))}
    )
