"""The main text of HTML pages: what a reader came for, without navigation.

Kept, as seen on pages of kernel, Python and LibreOffice manuals, declarations and news: headings (without marks of
their level), paragraphs, lists with bullets or numbers, preformatted blocks with their line breaks and indents, and the
cells of tables, in order, mostly a line each. Not kept: the <title> (pages repeat it as a heading), link targets, texts
of images, form fields, user comments, scripts.

One bad page never stops a worker. Pages beyond the bounds of html_limits, which hold on every machine, only lose their
tags; large ones are parsed in a process of their own that a timer ends (html_guard); the rest is parsed in place.
"""

from fnmatch import fnmatch
from importlib.util import find_spec

import pyarrow as pa

from pipeline.config import ConfigError, HtmlConfig
from pipeline.records import with_columns
from pipeline.text.html_extract import EXTRACTORS
from pipeline.text.html_guard import PageRefusedError, PageTimeoutError, extract_guarded
from pipeline.text.html_limits import beyond, needs_guard, without_tags

DEFAULT = HtmlConfig()


def check_extractor(config: HtmlConfig) -> None:
    """Raises ConfigError if the extractor's library is not installed."""
    if find_spec(config.extractor) is None:
        name = config.extractor
        raise ConfigError(f'[html] extractor = "{name}": the package {name} is not installed; run: pip install {name}')


def extract_page(html: str, config: HtmlConfig = DEFAULT) -> tuple[str, str]:
    """The text, and how it was found: "main_text", "html_stripped" or "html_timeout" (see REPAIRS).

    The text is "" where a page shows nothing but navigation. Never raises on bad HTML; ConfigError where the
    extractor's package is not installed.
    """
    if config.extractor != DEFAULT.extractor:
        check_extractor(config)
    if beyond(html, config) is not None:
        return without_tags(html), "html_stripped"
    # A page of trafilatura's may take minutes whatever its size.
    guarded = config.extractor != DEFAULT.extractor or needs_guard(html)
    try:
        if guarded:
            return extract_guarded(html, config.extractor, config.timeout_seconds), "main_text"
        return EXTRACTORS[config.extractor](html), "main_text"
    except PageTimeoutError:
        return without_tags(html), "html_timeout"
    except (PageRefusedError, RuntimeError, ValueError):
        return without_tags(html), "html_stripped"


def extract(html: str, config: HtmlConfig = DEFAULT) -> str:
    """The text of `extract_page` alone."""
    return extract_page(html, config)[0]


def is_whole(record: str, config: HtmlConfig) -> bool:
    """Whether [html] whole names the file of the record (PATH#POSITION)."""
    path = record.rpartition("#")[0]
    return any(fnmatch(path, pattern) for pattern in config.whole)


def main_text(batch: pa.RecordBatch, config: HtmlConfig = DEFAULT) -> pa.RecordBatch:
    """Rows of media "html" get their main text, and how it was found among their repairs; other rows stay as they
    are."""
    media = batch.column("media").to_pylist()
    pages = [
        kind == "html" and sound
        for kind, sound in zip(media, batch.column("quarantine").is_null().to_pylist(), strict=True)
    ]
    if not any(pages):
        return batch
    texts = batch.column("text").to_pylist()
    repairs = batch.column("repairs").to_pylist()
    records = batch.column("record").to_pylist() if config.whole else [""] * len(batch)
    for row, page in enumerate(pages):
        if page:
            if is_whole(records[row], config):
                texts[row], how = without_tags(texts[row]), "html_stripped"
            else:
                texts[row], how = extract_page(texts[row], config)
            repairs[row] = [*repairs[row], how]
    return with_columns(
        batch, {"text": pa.array(texts, pa.string()), "repairs": pa.array(repairs, pa.list_(pa.string()))}
    )
