"""Audit rows put into words: a table, and for a few of them a paragraph each."""

from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report.visible import visible_text
from schemas.arrow import AUDIT

VERDICT_STYLES = {"kept": "green", "filtered": "yellow", "duplicate": "blue", "quarantined": "red"}
_DUPLICATES = {
    "exact": "an exact copy of",
    "near": "a near-duplicate of",
    "contained": "a part of",
    "protected": "one that shares text with",
}
EXPLAINED = 5
"""Up to this many rows each gets its paragraph under the table."""


def explain(row: dict[str, Any]) -> str:
    """One paragraph for people: the verdict, what decided it, and what was repaired. Hidden characters are named."""
    said = [f"{_shown(row['record'])} (source {_shown(row['source'])}) {outcome(row)}."]
    detail = row.get("detail")
    if detail:
        said.append(f"Found: {_shown(detail, 500)}.")
    if row.get("language"):
        score = row.get("language_score")
        said.append(f"Language {_shown(row['language'])}" + (f" ({score:.2f})." if score is not None else "."))
    if row["verdict"] != "quarantined":
        said.append(f"{row['chars_in']:,} characters came in, {row['chars_out']:,} of clean text were left.")
        repairs = ", ".join(_shown(name) for name in row["repairs"])
        said.append(f"Repairs: {repairs}." if repairs else "Nothing had to be repaired.")
    return " ".join(said)


def outcome(row: dict[str, Any]) -> str:
    """What was decided, from "was" on: the verdict and why. Hidden characters are named."""
    rule = _shown(row["rule"] or "a reason that was not told")
    match row["verdict"]:
        case "kept":
            count = len(row["scores"])
            return f"was kept: no rule in use decided against it ({count} rule{'' if count == 1 else 's'} scored it)"
        case "filtered" if row["kind"] == "protected":
            return f"was removed as {_DUPLICATES['protected']} a protected item"
        case "filtered":
            return f"was filtered: rule {rule} decided{_measured(row)}"
        case "duplicate":
            return f"was removed as {_DUPLICATES.get(row['kind'], 'a duplicate of')} {_twin(row)}"
        case "quarantined":
            return f"was quarantined: {rule}"
        case verdict:
            return f"has the verdict {_shown(str(verdict))}"


def _measured(row: dict[str, Any]) -> str:
    for item in row["scores"]:
        if item["rule"] == row["rule"]:
            score, limit = item["score"], item["limit"]
            side = "below" if score < limit else "above" if score > limit else "at"
            return f", its score {score:.4g} is {side} the limit {limit:.4g}"
    return " (it has no score)"


def _twin(row: dict[str, Any]) -> str:
    twin = _shown(row["duplicate_record"] or "") or "a kept document"
    doc_id = f" (doc_id {_shown(row['duplicate_of'])})" if row["duplicate_of"] else ""
    jaccard = f" with an exact Jaccard of {row['jaccard']:.3f}" if row["jaccard"] is not None else ""
    return f"{twin}{doc_id}{jaccard}"


def _shown(text: str, limit: int = 160) -> str:
    return visible_text(text, limit)


def render(rows: list[dict[str, Any]], console: Console) -> None:
    """A table, and for a few rows an explanation and the text of each."""
    if not rows:
        console.print("No record of the audit meets these filters.")
        return
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for name in ("record", "verdict", "rule", "score", "limit", "language", "characters", "doc_id"):
        table.add_column(name, overflow="fold", justify="right" if name in ("score", "limit", "characters") else "left")
    for row in rows:
        decided = next((item for item in row["scores"] if item["rule"] == row["rule"]), None)
        score = f"{decided['score']:.4g}" if decided else f"{row['jaccard']:.3f}" if row["jaccard"] is not None else ""
        table.add_row(
            Text(_shown(row["record"])),
            Text(_shown(row["verdict"]), style=VERDICT_STYLES.get(row["verdict"], "")),
            Text(_shown(row["rule"] or "")),
            score,
            f"{decided['limit']:.4g}" if decided else "",
            Text(_shown(row["language"] or "")),
            f"{row['chars_out']:,}",
            Text(_shown(row["doc_id"][:12])),
        )
    console.print(table)
    if len(rows) <= EXPLAINED:
        for row in rows:
            console.print()
            console.print(Text(explain(row)))
            if row["excerpt"]:
                console.print(Text(_shown(row["excerpt"], 240), style="dim"))


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    """The rows themselves, one JSON object a line, keys in the order of the audit schema."""
    return b"".join(
        orjson.dumps({name: row[name] for name in AUDIT.names}, option=orjson.OPT_APPEND_NEWLINE) for row in rows
    )
