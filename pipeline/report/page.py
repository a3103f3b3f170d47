"""The report as files: report.json and one self-contained index.html, both written atomically."""

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.collect import collect
from pipeline.report.examples import NAME_LIMIT
from pipeline.report.model import Report
from pipeline.report.visible import visible, visible_text

HERE = Path(__file__).parent
SHOWN_RULES = 60
"""Rules with examples on the page; bounds its size, with the lengths of examples.py."""


def write_report(directory: str | Path) -> tuple[Path, Path]:
    """Writes DIRECTORY/report/report.json and index.html; returns both paths, JSON first.

    Raises ManifestError or SchemaError (schemas) for an unfinished or damaged directory.
    """
    report = collect(directory)
    folder = Path(directory) / "report"
    folder.mkdir(exist_ok=True)
    page = render(report).encode()
    return _write(folder / "report.json", report.to_bytes()), _write(folder / "index.html", page)


def _write(target: Path, data: bytes) -> Path:
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, target)
    return target


def render(report: Report) -> str:
    """One HTML page without script or remote reference; the same text for the same report."""
    from pipeline.report.charts import charts  # matplotlib: half a second, which no other command should pay

    css = (HERE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        text=_text,
        inner=visible,
        name=_name,
        n=_count,
        share=_share,
        num=_number,
        size=_size,
        json=_json,
        seconds=_seconds,
    )
    template = environment.get_template("page.html")
    return template.render(
        r=report,
        charts=charts(report),
        css=Markup(css),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'",
        shown_rules=SHOWN_RULES,
    )


def _text(value: str) -> Markup:
    """Document text: hidden characters shown, isolated from the direction of its surroundings."""
    return Markup('<bdi dir="auto" class="t">{}</bdi>').format(visible(value))


def _name(value: str) -> Markup:
    """A record, source, rule or word; on one line."""
    return Markup('<bdi class="m">{}</bdi>').format(visible_text(value, NAME_LIMIT))


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _share(value: float, whole: float = 1.0) -> str:
    return "–" if not whole else f"{100 * value / whole:.1f}\u00a0%"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f} s"


def _size(value: int | None) -> str:
    if value is None:
        return "–"
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:,} B"


def _json(value: Any) -> Markup:
    return visible(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode(), 50_000)
