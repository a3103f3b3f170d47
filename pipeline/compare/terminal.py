"""A comparison as tables on a terminal."""

from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.compare.model import LENGTH_SHARES, Comparison, Decision, Move
from pipeline.report.visible import visible_text

SHOWN = 12
"""Lines of a table; --json and --html have all."""
_NONE = (0,) * len(LENGTH_SHARES)
SHOWN_MOVES = 8
"""Of each kind, with an example."""


def render(found: Comparison, console: Console) -> None:
    """Hidden characters are named; nothing of a text is obeyed."""
    one, two = found.first, found.second
    console.print(Text.assemble("first   ", (visible_text(one.path, 400), "bold"), f"  {one.digest[:16]}"))
    console.print(Text.assemble("second  ", (visible_text(two.path, 400), "bold"), f"  {two.digest[:16]}"))
    if one.digest == two.digest:
        console.print("Their manifests are the same: two copies of one output.")
    console.print()
    _counts(found, console)
    _settings(found, console)
    sources = [(row.name, _kept(row.first), _kept(row.second)) for row in found.sources]
    _pairs("source, kept of input", sources, console)
    _pairs(
        "rule, records it dropped",
        [(row.name, _number(row.first), _number(row.second)) for row in found.rules],
        console,
    )
    _pairs("language, kept", [(row.name, f"{row.first:,}", f"{row.second:,}") for row in found.languages], console)
    _moves(found, console)


def _kept(counts: dict[str, int] | None) -> str:
    return "–" if counts is None else f"{counts['kept']:,} of {counts['input']:,}"


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def change(first: float | None, second: float | None) -> str:
    """'+1,204 (+3.1 %)'; empty where there is none."""
    if first is None or second is None or first == second:
        return ""
    share = f" ({100 * (second - first) / first:+.1f} %)" if first else ""
    return f"{second - first:+,}{share}"


def figures(found: Comparison) -> list[tuple[str, int, int]]:
    """Every number that both outputs have: (name, first, second)."""
    one, two = found.first, found.second
    rows = [(f"records: {name}", one.counts[name], two.counts[name]) for name in one.counts]
    rows += [(f"tokens: {split}", one.tokens[split], two.tokens[split]) for split in one.tokens]
    rows += [
        ("characters kept", one.characters, two.characters),
        ("vocabulary", one.vocabulary_size, two.vocabulary_size),
    ]
    for share, first, second in zip(LENGTH_SHARES, one.lengths or _NONE, two.lengths or _NONE, strict=True):
        rows.append((f"length that {share:.0%} of the kept stay below", first, second))
    return rows


def _table(title: str) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    table.add_column(title, overflow="fold")
    for name in ("first", "second", "change"):
        table.add_column(name, justify="right", overflow="fold")
    return table


def _counts(found: Comparison, console: Console) -> None:
    table = _table("")
    for name, first, second in figures(found):
        if first or second:
            table.add_row(name, f"{first:,}", f"{second:,}", change(first, second))
    console.print(table)


def short(value: Any, limit: int = 120) -> str:
    """A config value on one line."""
    return "–" if value is None else visible_text(orjson.dumps(value).decode(), limit)


def _settings(found: Comparison, console: Console) -> None:
    rows = [(row.key, short(row.first), short(row.second)) for row in found.settings + found.versions]
    console.print()
    if not rows:
        console.print("Config and library versions are the same.")
        return
    table = Table("setting or version that differs", "first", "second", show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(visible_text(cell, 160)) for cell in row))
    console.print(table)


def _pairs(title: str, rows: list[tuple[str, str, str]], console: Console) -> None:
    differ = [row for row in rows if row[1] != row[2]]
    console.print()
    same = len(rows) - len(differ)
    if not differ:
        console.print(f"{title}: the same ({same:,} of them).")
        return
    table = _table(title)
    table.columns.pop()
    for name, first, second in differ[:SHOWN]:
        table.add_row(Text(visible_text(name, 160)), first, second)
    console.print(table)
    left = [f"{len(differ) - SHOWN:,} more differ"] if len(differ) > SHOWN else []
    left += [f"{same:,} are the same"] if same else []
    if left:
        console.print(f"({', '.join(left)})")


def decision(one: Decision) -> str:
    """'kept', or 'filtered by gopher.min_words'."""
    return one.verdict if one.rule is None else f"{one.verdict} by {visible_text(one.rule, 120)}"


def _moves(found: Comparison, console: Console) -> None:
    match = found.matching
    console.print()
    texts = f" ({match.changed:,} with another text)" if match.changed else ""
    other_names = f", {match.by_doc_id:,} by their text" if match.by_doc_id else ""
    alone = [sum(side.values()) for side in (match.only_first, match.only_second)]
    console.print(
        f"{match.by_record:,} records are in both by name{texts}{other_names}; {alone[0]:,} in the first alone, "
        f"{alone[1]:,} in the second alone."
    )
    console.print(
        f"{found.lost:,} went from kept to dropped, {found.gained:,} from dropped to kept, {found.other:,} are dropped "
        "for another reason."
    )
    for title, moves in (
        ("kept -> dropped", [move for move in found.moves if move.lost]),
        ("dropped -> kept", [move for move in found.moves if move.gained]),
        ("dropped for another reason", [move for move in found.moves if not move.lost and not move.gained]),
    ):
        if moves:
            console.print()
            console.print(title, style="bold")
        for move in moves[:SHOWN_MOVES]:
            _move(move, console)
        if len(moves) > SHOWN_MOVES:
            console.print(f"  and {len(moves) - SHOWN_MOVES} more; --json and --html have them")


def _move(move: Move, console: Console) -> None:
    records = f"{move.records:,} record{'' if move.records == 1 else 's'}"
    console.print(Text(f"  {records}: {decision(move.before)} -> {decision(move.after)}"))
    for example in move.examples[:1]:
        console.print(Text(f"    {visible_text(example.record, 160)}"))
        console.print(Text(f"    first: {example.before}; second: {example.after}", style="dim"))
        if example.excerpt:
            console.print(Text(f"    {visible_text(example.excerpt, 160)}", style="dim"))
