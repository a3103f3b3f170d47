"""The report's tables, of cells as text: a head, then a row an arm."""

import math

from benchmarks.ablations.summary import BASELINE, Row, Summary
from benchmarks.ablations.tuned import TASKS


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
            str(len(row.tried) + len(row.finals)) if row.tried else "",
        ]
        for row in summary.rows
    ]
    return [head, *body]


def measures_table(summary: Summary) -> list[list[str]]:
    """Bands, minimal pairs, fine-tuning and the probe, of the arms that have any; only a head without them."""
    rows = [row for row in summary.rows if row.runs]
    bands: list[str] = []
    for row in rows:
        for run in row.runs:
            bands += [band for band in run.get("measures", {}).get("bands", {}) if band not in bands]
    head = ["arm", *bands, "pairs correct", *(f"{task}, fine-tuned" for task in TASKS), "probe's loss", "probe's bands"]
    body = []
    for row in rows:
        cells = [number(row.average("measures", "bands", band)) for band in bands]
        pairs = row.average("measures", "minimal_pairs", "mean")
        tuned = [number(row.average("measures", "finetuned", task, "test", "median"), ".1%") for task in TASKS]
        probe = row.average("measures", "probe", "held_out_loss")
        judged = "yes" if row.arm.judge == "probe" else ""
        if any([*cells, *tuned]) or pairs is not None or probe is not None:
            body.append([row.arm.name, *cells, number(pairs, ".1%"), *tuned, number(probe), judged])
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


def searches_table(summary: Summary) -> list[list[str]]:
    """What each arm's search tried: a row a choice, a column a rate."""
    rates = summary.setting.rates
    body = []
    for row in summary.rows:
        for choice in row.arm.choices:
            losses = [row.tried.get((choice.name, rate)) for rate in rates]
            if any(loss is not None for loss in losses):
                cells = ["diverged" if loss == math.inf else number(loss) for loss in losses]
                taken = [
                    f"**{c}**" if (choice.name, r) == (row.choice, row.rate) else c
                    for c, r in zip(cells, rates, strict=True)
                ]
                body.append([row.arm.name, choice.name, *taken])
    return [["arm", "choice", *(f"{rate:g}" for rate in rates)], *body]


def finals_table(summary: Summary) -> list[list[str]]:
    """What was decided at the whole budget."""
    body = []
    for row in summary.rows:
        for (name, rate), loss in row.finals.items():
            cell = "diverged" if loss == math.inf else number(loss)
            taken = f"**{cell}**" if (name, rate) == (row.choice, row.rate) else cell
            body.append([row.arm.name, name, f"{rate:g}", taken])
    return [["arm", "choice", "rate", "loss, nats"], *body]
