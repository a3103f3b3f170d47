"""The extractors of main text, as plain functions of a page. They may take long: see html_guard."""

from collections.abc import Callable
from typing import Any

BOILERPLATE = (
    "nav",
    "footer",
    "aside",
    ".footer",
    "#footer",
    "[role=navigation]",
    "[role=search]",
    "[role=contentinfo]",
    ".headerlink",
)
"""CSS selectors left out even when no main content was found and the whole page is taken. Not `form`: some frameworks
wrap the whole page in one. `.headerlink` is the mark behind the headings of Sphinx."""

MIN_BODY = 100
"""Characters below which a marked article body is only a stub."""


def resiliparse_text(html: str) -> str:
    """Main text: the one element marked `itemprop=articleBody`, where the search for main content would drop lists of
    links that belong to the text; else resiliparse's main content without user comments and bylines; else the whole
    page without BOILERPLATE.

    Raises RuntimeError or ValueError (its HTMLParserException) for a page that the parser refuses.
    """
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    def whole(page: Any) -> str:
        return extract_plain_text(page, alt_texts=False, skip_elements=BOILERPLATE)

    if "articleBody" in html:
        document = HTMLTree.parse(html).document
        # Only the number and the first: a walk over the matches is quadratic, 3,000 of them took 9 s.
        bodies: Any = document.query_selector_all("[itemprop=articleBody]") if document is not None else []
        if len(bodies) == 1 and len(text := whole(bodies[0].html)) > MIN_BODY:
            return text
    text = extract_plain_text(
        html, main_content=True, alt_texts=False, comments=False, post_meta=False, skip_elements=BOILERPLATE
    )
    return text or whole(html)


def trafilatura_text(html: str) -> str:
    """trafilatura without its fallbacks and without user comments: slower, and fewer teasers of news pages stay."""
    from trafilatura import extract

    return extract(html, fast=True, include_comments=False) or ""


EXTRACTORS: dict[str, Callable[[str], str]] = {"resiliparse": resiliparse_text, "trafilatura": trafilatura_text}
