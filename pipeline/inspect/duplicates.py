"""Pairs of a removed record and the kept document that justifies it, with what differs between their words."""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.text import Text

from pipeline.inspect.records import chosen
from pipeline.inspect.rules import InspectError
from pipeline.inspect.texts import texts_of
from pipeline.inspect.words import word_difference
from pipeline.report.audit import select, tables
from pipeline.report.visible import visible_text
from schemas.manifest import read_manifest

KINDS = ("exact", "near", "contained", "protected")
SORTS = ("hash", "jaccard")
STYLES = {"-": "red", "+": "green", "=": ""}
_KEY = ["record", "doc_id", "source", "verdict", "rule", "jaccard", "kind"]


def pairs(
    directory: str | Path,
    kind: str | None = None,
    source: str | None = None,
    limit: int = 20,
    sort: Literal["hash", "jaccard"] | str = "hash",
    sample: str = "",
    record: str | None = None,
    doc: str | None = None,
) -> list[dict[str, Any]]:
    """At most `limit` removed records, whatever the order of the audit: "hash" draws a sample, which is the same each
    time and another one for another word in `sample`; "jaccard" gives the least resemblance first.

    kind: one of KINDS; source: of the removed record; record, doc: as in `find`, of the removed record.

    Keys of a row: record, doc_id, source, kind, jaccard, detail, excerpt; kept: {record, doc_id, source, excerpt}
    (source None and excerpt "" where it is not of this run; kept is None where no document is named); compared:
    "documents", "excerpts" (the documents are gone) or None (only one of the texts is at hand); difference: asdict of a
    `WordDifference` whose first text is the removed one, or None.

    Memory depends on `limit`. Raises InspectError for an unknown kind, order or source, ManifestError, SchemaError.
    """
    root = Path(directory)
    manifest = read_manifest(root)
    for name, value, known in (("kind", kind, KINDS), ("order", sort, SORTS), ("source", source, manifest.sources)):
        if value is not None and value not in known:
            raise InspectError(f"no {name} is called '{value}'; known here: {', '.join(sorted(known))}")
    files = manifest.under("audit")

    def keys() -> Iterator[tuple[float, bytes, str]]:
        for table in tables(root, files, _KEY):
            mask = pc.is_in(table["kind"], value_set=pa.array(KINDS if kind is None else [kind]))
            mask = pc.and_(mask, chosen(table, record, doc))
            if source is not None:
                mask = pc.and_(mask, pc.equal(table["source"], source))
            some = table.filter(mask)
            columns = (some[name].to_pylist() for name in ("record", "doc_id", "jaccard"))
            for name, doc_id, jaccard in zip(*columns, strict=True):
                drawn = hashlib.blake2b(f"{sample}\0{doc_id}\0{name}".encode(), digest_size=8).digest()
                yield (jaccard if jaccard is not None else 2.0) if sort == "jaccard" else 0.0, drawn, name

    order = [name for _, _, name in heapq.nsmallest(limit, keys())]
    rows = {row["record"]: row for row in _rows(root, files, "record", order)}
    dropped = [rows[name] for name in order]
    twins = {
        (row["record"], row["doc_id"]): row
        for row in _rows(root, files, "record", [row["duplicate_record"] for row in dropped if row["duplicate_record"]])
    }
    texts = texts_of(root, {key for row in dropped for key in (_own(row), _twin(row)) if key is not None})
    return [_pair(row, twins, texts) for row in dropped]


def _rows(root: Path, files: Any, column: str, values: list[str]) -> Iterator[dict[str, Any]]:
    wanted = pa.array(sorted(set(values)), pa.string())
    for table in select(root, files, [column], lambda batch: pc.is_in(batch[column], value_set=wanted)):
        yield from table.to_pylist()


def _own(row: dict[str, Any]) -> tuple[str, str]:
    return row["record"], row["doc_id"]


def _twin(row: dict[str, Any]) -> tuple[str, str] | None:
    twin = row["duplicate_record"], row["duplicate_of"]
    return None if None in twin else twin


def _pair(
    row: dict[str, Any], twins: dict[tuple[str, str], dict[str, Any]], texts: dict[tuple[str, str], str]
) -> dict[str, Any]:
    twin = _twin(row)
    told: dict[str, Any] = {name: row[name] for name in ("record", "doc_id", "source", "kind", "jaccard", "detail")}
    told |= {"excerpt": row["excerpt"] or "", "kept": None, "compared": None, "difference": None}
    if twin is None:
        return told
    kept = twins.get(twin, {})
    told["kept"] = {
        "record": twin[0],
        "doc_id": twin[1],
        "source": kept.get("source"),
        "excerpt": kept.get("excerpt") or "",
    }
    if _own(row) in texts and twin in texts:
        told["compared"] = "documents"
        told["difference"] = asdict(word_difference(texts[_own(row)], texts[twin]))
    elif row["excerpt"] and kept.get("excerpt"):
        told["compared"] = "excerpts"
        told["difference"] = asdict(word_difference(row["excerpt"], kept["excerpt"]))
    return told


def render_pairs(rows: list[dict[str, Any]], console: Console) -> None:
    """Each pair with its changes: [-words of the removed record alone-], {+words of the kept document alone+}."""
    if not rows:
        console.print("No removed record meets these filters.")
        return
    if any(row["compared"] == "excerpts" for row in rows):
        console.print("The documents below stages/ are gone: excerpts of the audit are compared in their place.")
    for number, row in enumerate(rows, 1):
        jaccard = "" if row["jaccard"] is None else f", Jaccard {row['jaccard']:.3f}"
        console.print(Text(f"{number}. {row['kind']}{jaccard}", style="bold"), soft_wrap=True)
        console.print(Text(f"   removed {_named(row, row['kind'])}"), soft_wrap=True)
        if row["kept"] is not None:
            console.print(Text(f"   kept    {_named(row['kept'], row['kind'])}"), soft_wrap=True)
        if row["detail"]:
            console.print(Text(f"   {visible_text(row['detail'], 500)}"), soft_wrap=True)
        if row["difference"] is None:
            console.print(Text(f"   {visible_text(row['excerpt'], 240)}", style="dim"), soft_wrap=True)
        else:
            _render_difference(row["difference"], "excerpts " if row["compared"] == "excerpts" else "", console)
        console.print()


def _named(item: dict[str, Any], kind: str) -> str:
    elsewhere = "protected" if kind == "protected" else "of an earlier run"
    source = elsewhere if item["source"] is None else f"source {visible_text(item['source'], 160)}"
    return f"{visible_text(item['record'], 160)} ({source}, doc_id {visible_text(item['doc_id'][:12], 12)})"


def _render_difference(difference: dict[str, Any], what: str, console: Console) -> None:
    hunks, changes = difference["hunks"], difference["changes"]
    if not changes:
        console.print(Text(f"   {what}word for word the same", style="dim"), soft_wrap=True)
    for hunk in hunks:
        line = Text("   ")
        for number, run in enumerate(hunk):
            opening, closing = {"-": ("[-", "-]"), "+": ("{+", "+}"), "=": ("", "")}[run["mark"]]
            shown = f"{opening}{visible_text(run['text'], 400)}{closing}"
            line.append(f"{' ' if number else ''}{shown}", style=STYLES[run["mark"]])
        console.print(line, soft_wrap=True)
    if changes:
        told = (
            f"{changes:,} run{'' if changes == 1 else 's'} of words {'differs' if changes == 1 else 'differ'}: "
            f"{difference['only_first']:,} words in the removed record alone, "
            f"{difference['only_second']:,} in the kept one alone"
        )
        more = "; not all are shown" if sum(_changed(hunk) for hunk in hunks) < changes else ""
        console.print(Text(f"   {told}{more}", style="dim"), soft_wrap=True)
    if difference["cut"]:
        console.print(Text("   of very long texts only the beginnings were compared", style="dim"), soft_wrap=True)


def _changed(hunk: list[dict[str, Any]]) -> int:
    """Changes in a hunk: a run of the second text right after one of the first is the same change."""
    return sum(
        run["mark"] != "=" and not (number and run["mark"] == "+" and hunk[number - 1]["mark"] == "-")
        for number, run in enumerate(hunk)
    )
