"""The pages of the server: the report with a link to the search, the search, one record."""

import html
import re
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.inspect.explanation import explain, outcome
from pipeline.inspect.rules import broken
from pipeline.report.shell import render_page
from pipeline.serve.index import Found
from pipeline.serve.query import FACETS, LONGEST, Query

TEMPLATES = Path(__file__).parent / "templates"
_META = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
_REFUSING = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Of a page that brings no policy: nothing of it runs."""


def policy_of(page: str) -> str:
    """The Content-Security-Policy to send with a page: its own, and that nobody may frame it."""
    found = _META.search(page, 0, 4096)
    own = html.unescape(found[1]) if found else ""
    policy = own if own.startswith("default-src 'none'; ") else _REFUSING
    return f"{policy}; frame-ancestors 'none'"


def with_search(report: str) -> str:
    """The report's page with a link to the search in its navigation."""
    return report.replace("</nav>", '<a href="/search">Search the records</a>\n</nav>', 1)


def _style() -> str:
    return (TEMPLATES / "search.css").read_text(encoding="utf-8")


def search_page(query: Query, found: Found, facets: dict[str, list[tuple[str, int]]], records: int) -> str:
    pages = max(1, -(-found.total // query.size))
    return render_page(
        "search.html",
        TEMPLATES,
        _style(),
        form_action="'self'",
        query=query,
        found=found,
        # HTML cannot hand every character back, so values with control characters are not offered.
        facets={name: [pair for pair in pairs if pair[0].isprintable()] for name, pairs in facets.items()},
        fields={name: _printable(value) for name, value in query if isinstance(value, str)},
        names=FACETS,
        records=records,
        pages=pages,
        outcome=outcome,
        twin=_twin,
    )


def record_page(row: dict[str, Any], rules: dict[str, dict[str, Any]]) -> str:
    """`rules`: what `pipeline.inspect.rules.rules_of` tells of this corpus."""
    scores = [
        {**item, "breaks": _breaks(rules.get(item["rule"]), item), "decided": item["rule"] == row["rule"]}
        for item in row["scores"]
    ]
    scores.sort(key=lambda item: (not item["decided"], not item["breaks"], item["rule"]))
    return render_page(
        "record.html", TEMPLATES, _style(), row=row, scores=scores, explanation=explain(row), twin=_twin(row)
    )


def _breaks(rule: dict[str, Any] | None, item: dict[str, Any]) -> bool:
    return rule is not None and bool(broken(rule, np.array([item["score"]]), np.array([item["limit"]]))[0])


def _printable(text: str) -> str:
    return "".join(filter(str.isprintable, text))


def _twin(row: dict[str, Any]) -> str | None:
    """The search for the kept record of a duplicate; None where it is of an earlier output or no duplicate."""
    record = row["duplicate_record"]
    return None if not record or "//" in record else "/search?" + Query(record=record[:LONGEST]).url()
