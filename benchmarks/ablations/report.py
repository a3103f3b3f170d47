"""The report: tables of every setting for the terminal and for benchmarks/ABLATION.md, and one JSON object."""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.ablations.summary import BASELINE, MODERN, TOGETHER, Summary
from benchmarks.ablations.tables import budgets_table, finals_table, main_table, measures_table, searches_table

MEASURES = "beside the loss, means over seeds: nats a piece of words by frequency band; shares of pairs and of labels"
SEARCHES = "searches: losses of single runs at each rate, the one that was taken in bold"
FINALS = "what a search decided at the whole budget, on its own seed, the one that was taken in bold"


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


def further(summary: Summary) -> list[tuple[list[list[str]], str]]:
    """(table, title) of those that are left out as long as they have a head alone."""
    return [
        (budgets_table(summary), "parts of the budget"),
        (measures_table(summary), MEASURES),
        (searches_table(summary), SEARCHES),
        (finals_table(summary), FINALS),
    ]


def section(summary: Summary, plot: str | None) -> str:
    """Markdown of one setting."""
    parts = [heading(summary), markdown(main_table(summary, titles=True)), ratios(summary)]
    for table, title in further(summary):
        if len(table) > 1:
            parts += [f"{title[0].upper()}{title[1:]}:", markdown(table)]
    if plot:
        parts.append(f"![loss curves]({plot})")
    return "\n\n".join(parts)


def text(summary: Summary) -> str:
    """The same for a terminal."""
    parts = [f"== {summary.setting.name}: {heading(summary)}", plain(main_table(summary)), ratios(summary)]
    parts += [f"{title}\n{plain(table)}" for table, title in further(summary) if len(table) > 1]
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
