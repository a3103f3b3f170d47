"""The shell of every page: one file that opens without a network, whose policy allows its own style and script alone.

A page is a template that extends base.html. Text of documents goes through the filters `text`, `inner` and `name`;
everything else is escaped by jinja2 itself.
"""

import base64
import hashlib
import math
import re
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline.report.visible import cut, visible, visible_text

TEMPLATES = Path(__file__).parent / "templates"
NAME_LIMIT = 160
"""Code points of a name that are shown."""


def render_page(
    template: str, folder: Path = TEMPLATES, style: str = "", form_action: str = "'none'", **context: Any
) -> str:
    """One HTML page; the same text for the same context.

    Args:
        template: a file name in `folder` or in templates/ here.
        style: more CSS, after page.css.
        form_action: where the policy lets forms go.
    """
    css, js = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    css += style
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        text=_text,
        inner=visible,
        plain=visible_text,
        prose=_prose,
        name=_name,
        n=_count,
        large=_large,
        share=_share,
        num=_number,
        size=_size,
        json=_json,
        seconds=_seconds,
    )
    return environment.get_template(template).render(
        css=Markup(css), js=Markup(js), policy=_policy(css, js, form_action), **context
    )


def _policy(css: str, js: str, form_action: str) -> str:
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js))
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; "
        f"form-action {form_action}"
    )


def _text(value: str) -> Markup:
    """Document text: hidden characters shown, isolated from the direction of its surroundings."""
    return Markup('<bdi dir="auto" class="t">{}</bdi>').format(visible(value))


def _name(value: str, limit: int = NAME_LIMIT) -> Markup:
    """A record, source, rule or word, without its own line ends; it may break behind "/" and "_"."""
    shown = re.sub("([/_])(?=.)", r"\1<wbr>", str(escape(cut(visible_text(value, limit), limit))))
    return Markup('<bdi class="m">{}</bdi>').format(Markup(shown))


def _prose(value: str) -> Markup:
    """A sentence of ours in which `code` stands between backticks; what it quotes is escaped."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(visible_text(value, 2_000)))))


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _large(value: int) -> str:
    """Characters, which may be billions."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:,.2f}\u00a0{unit}"
    return f"{value:,}"


def _share(value: float | None, whole: float = 1.0) -> str:
    return "–" if value is None or not whole else f"{100 * value / whole:.1f}\u00a0%"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if not math.isfinite(value) or abs(value) >= 1e15:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f} s"


def _size(value: float | None) -> str:
    if value is None:
        return "–"
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:,.0f} B"


def _json(value: Any) -> Markup:
    return visible(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode(), 50_000)
