"""The main text of HTML pages: what a reader came for, without navigation, by resiliparse."""

import re

import pyarrow as pa
from resiliparse.extract.html2text import extract_plain_text

from pipeline.records import with_columns

BOILERPLATE = (
    "nav",
    "footer",
    "aside",
    ".footer",
    "#footer",
    "[role=navigation]",
    "[role=search]",
    "[role=contentinfo]",
)
"""CSS selectors left out even when no main content was found and the whole page is taken. Not `form`: some frameworks
wrap the whole page in one."""

MAX_DEPTH = 512
"""Nesting that browsers keep. The main-content search is quadratic in depth: 10,000 nested <div> took 2.7 s."""

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
_MARKUP = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^<>]*>", re.DOTALL | re.IGNORECASE)
# Elements without an end tag, or whose end tag is implied by the next one: they do not nest in themselves.
_FLAT = frozenset(
    [
        *(
            "area",
            "base",
            "br",
            "col",
            "embed",
            "hr",
            "img",
            "input",
            "link",
            "meta",
            "param",
            "source",
            "track",
            "wbr",
        ),
        *("p", "li", "dt", "dd", "td", "th", "tr", "tbody", "thead", "tfoot", "option", "optgroup"),
        *("html", "head", "body"),
    ]
)


def _depth(html: str) -> int:
    """Upper bound of the nesting depth, from the tags alone."""
    # A page this deep needs that many tags; most pages stop here.
    if html.count("<") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for closing, name in _TAG.findall(html):
        if name.lower() in _FLAT:
            continue
        depth = max(0, depth - 1) if closing else depth + 1
        deepest = max(deepest, depth)
    return deepest


def extract(html: str) -> str:
    """Main text with paragraphs, list bullets and preformatted blocks kept.

    Where no main content is found: the whole page without BOILERPLATE; "" where that is empty too. Never raises on
    bad HTML: a page the parser refuses is stripped of its tags.
    """
    try:
        text = ""
        if _depth(html) <= MAX_DEPTH:
            text = extract_plain_text(html, main_content=True, alt_texts=False, skip_elements=BOILERPLATE)
        return text or extract_plain_text(html, alt_texts=False, skip_elements=BOILERPLATE)
    except (RuntimeError, ValueError):
        return _MARKUP.sub(" ", html)


def main_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of media "html" get their main text, and "main_text" among their repairs; other rows stay as they are."""
    media = batch.column("media").to_pylist()
    pages = [
        kind == "html" and sound
        for kind, sound in zip(media, batch.column("quarantine").is_null().to_pylist(), strict=True)
    ]
    if not any(pages):
        return batch
    texts = batch.column("text").to_pylist()
    repairs = batch.column("repairs").to_pylist()
    for row, page in enumerate(pages):
        if page:
            texts[row] = extract(texts[row])
            repairs[row] = [*repairs[row], "main_text"]
    return with_columns(
        batch, {"text": pa.array(texts, pa.string()), "repairs": pa.array(repairs, pa.list_(pa.string()))}
    )
