"""The records nearest to a rule's limit, on both sides: where a changed limit would act first."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.inspect.explanation import VERDICT_STYLES
from pipeline.inspect.records import chosen
from pipeline.inspect.rules import InspectError, broken, rules_of
from pipeline.report.audit import select, tables
from pipeline.report.scores import Scores, scores
from pipeline.report.visible import visible_text
from schemas.manifest import read_manifest

SHOWN_TEXT = 200
"""Code points of an excerpt in the table."""


def nearest(
    directory: str | Path, rule: str, limit: int = 20, record: str | None = None, doc: str | None = None
) -> list[dict[str, Any]]:
    """At most `limit` audit rows on each side of the limit of `rule`, whatever was decided about them.

    Each row gets the key "near": {"rule", "score", "limit", "breaks"}. Order: along the scale, those that break the
    rule first and the nearest of them last, then those that do not, the nearest first. Ties go by doc_id; of raw copies
    one is shown, a kept one if there is one. `record` and `doc` as in `find`. Two passes over the audit; memory depends
    on `limit` alone.

    Raises InspectError for a rule that is unknown, cuts lines or scored no record, ManifestError, SchemaError.
    """
    root = Path(directory)
    manifest = read_manifest(root)
    files = manifest.under("audit")
    described = rules_of(manifest).get(rule)
    if described is not None and described["unit"] == "line":
        raise InspectError(f"rule '{rule}' cuts lines: its limit is one line's, so no record lies near to it")
    best = {True: _NONE, False: _NONE}
    scored: set[str] = set()
    for table in tables(root, files, ["record", "doc_id", "verdict", "scores"]):
        if record is not None or doc is not None:
            table = table.filter(chosen(table, record, doc))
        for found in scores(table):
            scored.add(found.rule)
            if found.rule == rule and described is not None:
                breaks = broken(described, found.score, found.limit)
                for side in best:
                    best[side] = _nearer(best[side], table, found, breaks == side, limit)
    if described is None or rule not in scored:
        known = ", ".join(sorted(scored)) or "none"
        why = "is no rule of this version" if described is None else "scored none of these records"
        raise InspectError(f"'{rule}' {why}; rules with scores here: {known}")
    keys = [
        {"record": key["record"], "near": {"rule": rule, "score": key["score"], "limit": key["limit"], "breaks": side}}
        for side, order in ((True, -1), (False, 1))
        for key in best[side].to_pylist()[::order]
    ]
    names = pa.array([key["record"] for key in keys], pa.string())
    rows: dict[str, dict[str, Any]] = {}
    for table in select(root, files, ["record"], lambda batch: pc.is_in(batch["record"], value_set=names)):
        rows.update((row["record"], row) for row in table.to_pylist())
    return [rows[key["record"]] | {"near": key["near"]} for key in keys]


_KEY = pa.schema(
    [
        pa.field("distance", pa.float64()),
        pa.field("doc_id", pa.string()),
        pa.field("copy", pa.bool_()),
        pa.field("record", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("limit", pa.float64()),
    ]
)
_NONE = pa.Table.from_batches([], _KEY)  # `empty_table` imports pandas where it is installed
_ORDER = [(name, "ascending") for name in ("distance", "doc_id", "copy", "record")]


def _nearer(best: pa.Table, table: pa.Table, found: Scores, side: np.ndarray, count: int) -> pa.Table:
    """The `count` first of `best` and of those of `table` on this side, each doc_id once, ascending by _ORDER."""
    distance = np.abs(found.score - found.limit)
    bound = best["distance"][-1].as_py() if len(best) == count else np.finfo(np.float64).max
    slots = np.flatnonzero(side & (distance <= bound))
    if not len(slots):
        return best
    rows = table.select(["doc_id", "verdict", "record"]).take(found.rows[slots])
    columns = [
        pa.chunked_array([distance[slots]]),
        rows["doc_id"],
        pc.equal(rows["verdict"], "duplicate"),
        rows["record"],
        pa.chunked_array([found.score[slots]]),
        pa.chunked_array([found.limit[slots]]),
    ]
    merged = pa.concat_tables([best, pa.Table.from_arrays(columns, schema=_KEY)])
    merged = merged.take(pc.sort_indices(merged, sort_keys=_ORDER)).combine_chunks()
    _, first = np.unique(merged["doc_id"].combine_chunks().dictionary_encode().indices.to_numpy(), return_index=True)
    return merged.take(np.sort(first)[:count]).combine_chunks()


def render_near(rows: list[dict[str, Any]], console: Console) -> None:
    """A table along the scale, with a line where the limit lies."""
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for name in ("score", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("", "verdict", "decided by", "record", "text"):
        table.add_column(name, overflow="fold")
    for number, row in enumerate(rows):
        near = row["near"]
        if number and rows[number - 1]["near"]["breaks"] != near["breaks"]:
            table.add_section()
        table.add_row(
            f"{near['score']:.4g}",
            f"{near['limit']:.4g}",
            "breaks" if near["breaks"] else "passes",
            Text(visible_text(row["verdict"], 40), style=VERDICT_STYLES.get(row["verdict"], "")),
            Text(visible_text(row["rule"] or "", 160)),
            Text(visible_text(row["record"], 160)),
            Text(visible_text(row["excerpt"] or "", SHOWN_TEXT), style="dim"),
        )
    console.print(table)
