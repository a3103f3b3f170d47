"""The report: tables of every setting for the terminal and for benchmarks/ABLATION.md, and one JSON object."""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.ablations.summary import BASELINE, MODERN, TOGETHER, Row, Summary

BANDS_HEADER = "words by frequency band, mean over seeds; nats a piece"


def number(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else format(value, form)


def loss_cell(row: Row) -> str:
    if row.loss is None:
        return row.status
    spread = f" ± {row.spread:.3f}" if row.spread is not None else ""
    judged = " by the probe" if row.arm.judge == "probe" else ""
    return f"{row.loss:.3f}{spread} ({len(row.seeds)}){judged}"


def seconds_cell(summary: Summary, row: Row) -> str:
    target = summary.target(BASELINE)
    if target is None or row.loss is None or row.arm.judge == "probe":
        return ""
    found = row.seconds_to(target, summary.setting.seconds)
    return "never" if found is None else f"{found[0]:,.0f} ({found[1]})"


def difference_cell(summary: Summary, row: Row) -> str:
    found = summary.difference(row)
    if found is None:
        return ""
    spread = f" ± {found[1]:.3f}" if found[1] is not None else ""
    return f"{found[0]:+.3f}{spread} to {row.arm.against}"


def left_cell(summary: Summary, row: Row) -> str:
    if not row.curve or summary.levels is None:
        return ""
    return " / ".join("never" if time is None else f"{time:,.0f}" for time in summary.left(row))


def main_table(summary: Summary, titles: bool = False) -> list[list[str]]:
    """A row an arm, after a head; with `titles` its name is followed by what it is."""
    head = [
        "arm", "loss, nats (seeds)", "difference", "s to BERT's loss", "left plateau 1 / 2, s", "tokens/s",
        "rate", "choice", "searched",
    ]  # fmt: skip
    body = [
        [
            f"`{row.arm.name}` {row.arm.title}" if titles else row.arm.name,
            loss_cell(row),
            difference_cell(summary, row),
            seconds_cell(summary, row),
            left_cell(summary, row),
            number(row.average("result", "priced_tokens_per_second"), ",.0f"),
            number(row.rate, "g"),
            row.choice or "",
            str(row.searched) if row.searched else "",
        ]
        for row in summary.rows
    ]
    return [head, *body]


def measures_table(summary: Summary) -> list[list[str]]:
    """Bands, minimal pairs and the probe, of the arms that have any; only a head without them."""
    rows = [row for row in summary.rows if row.runs]
    bands: list[str] = []
    for row in rows:
        for run in row.runs:
            bands += [band for band in run.get("measures", {}).get("bands", {}) if band not in bands]
    head = ["arm", *bands, "pairs correct", "probe's loss", "probe's bands"]
    body = []
    for row in rows:
        cells = [number(row.average("measures", "bands", band)) for band in bands]
        pairs = row.average("measures", "minimal_pairs", "mean")
        probe = row.average("measures", "probe", "held_out_loss")
        judged = "yes" if row.arm.judge == "probe" else ""
        if any(cells) or pairs is not None or probe is not None:
            body.append([row.arm.name, *cells, number(pairs, ".1%"), number(probe), judged])
    return [head, *body]


def budgets_table(summary: Summary) -> list[list[str]]:
    """Losses of runs at parts of the budget."""
    rows = [row for row in summary.rows if len(row.shares) > 1]
    head = ["arm", "share of the budget", "loss, nats (seeds)"]
    return [head] + [
        [row.arm.name, f"{share:.2f}", f"{sum(losses) / len(losses):.3f} ({len(losses)})"]
        for row in rows
        for share, losses in sorted(row.shares.items(), reverse=True)
    ]


def markdown(table: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])


def plain(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table)


def heading(summary: Summary) -> str:
    """Setting, place, plateaus, and whether the comparison is void by its own rule."""
    setting, place = summary.setting, summary.place
    budget, search = f"{setting.seconds:,g}", f"{setting.tuning_seconds:,g}"
    lines = [f"{setting.title}; whole budget {budget} training seconds, a run of the search {search}."]
    if place is not None:
        where = f"Machine {place.machine}, {place.precision}, {setting.threads} thread(s)"
        lines.append(f"{where}; corpus {place.data[:16]}.")
    if summary.levels is None:
        lines.append("The plateaus of this setting were not measured yet.")
        return " ".join(lines)
    entropy, free = summary.levels["unigram_entropy"], summary.levels["order_free"]
    lines.append(f"Plateau 1 (unigram entropy) {entropy:.3f} nats, plateau 2 (words without order) {free:.3f}.")
    base = summary.target(BASELINE)
    if base is not None:
        below = entropy - base
        verdict = "holds" if below >= 1.5 else "**fails: comparisons with it are void here**"
        lines.append(f"The baseline ends {below:.2f} nats below the unigram entropy; the rule of 1.5 nats {verdict}.")
    return " ".join(lines)


def ratios(summary: Summary) -> str:
    told = []
    for control, goal in ((BASELINE, "a quarter"), (MODERN, "two thirds")):
        ratio = summary.ratio(control)
        found = "not known yet" if ratio is None else f"{ratio:.2f}"
        row = summary.row(TOGETHER)
        if ratio is None and row is not None and row.loss is not None and summary.target(control) is not None:
            found = "not reached in its budget"
        told.append(f"{TOGETHER} to {control}'s loss, over its time: {found} (goal: {goal})")
    return "; ".join(told) + "."


def section(summary: Summary, plot: str | None) -> str:
    """Markdown of one setting."""
    parts = [heading(summary), markdown(main_table(summary, titles=True)), ratios(summary)]
    for table, title in ((budgets_table(summary), "Parts of the budget"), (measures_table(summary), BANDS_HEADER)):
        if len(table) > 1:
            parts += [f"{title[0].upper()}{title[1:]}:", markdown(table)]
    if plot:
        parts.append(f"![loss curves]({plot})")
    return "\n\n".join(parts)


def text(summary: Summary) -> str:
    """The same for a terminal."""
    parts = [f"== {summary.setting.name}: {heading(summary)}", plain(main_table(summary)), ratios(summary)]
    parts += [plain(table) for table in (budgets_table(summary), measures_table(summary)) if len(table) > 1]
    return "\n\n".join(parts)


class DocumentError(ValueError):
    """The document lacks the marks between which a part is generated."""


def refresh(document: str, name: str, content: str) -> str:
    """The document with what stands between `<!-- name -->` and `<!-- /name -->` replaced; all else is kept."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if document.count(start) != 1 or document.count(end) != 1:
        raise DocumentError(f"{start} and {end} must stand in the document once each")
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: f"{start}\n\n{content}\n\n{end}", document)


def write_document(path: Path, summaries: Sequence[Summary], plots: dict[str, str]) -> None:
    """Refreshes the settings' parts of benchmarks/ABLATION.md."""
    document = path.read_text(encoding="utf-8")
    for summary in summaries:
        name = summary.setting.name
        document = refresh(document, f"generated: {name}", section(summary, plots.get(name)))
    path.write_text(document, encoding="utf-8")
