"""The verdict on every record: all rules are scored, the chosen ones decide, and the reason is put into words."""

import pyarrow as pa

from pipeline.config import RulesConfig
from pipeline.records import with_columns
from pipeline.text import c4
from pipeline.text.rules import RULES, Rule, deciding, limit_of, line_limits
from pipeline.text.statistics import C4_COLUMNS, STATISTICS, as_columns, c4_statistics
from schemas.arrow import AUDIT


def _number(value: float) -> str:
    """At most four significant places behind the point, large numbers in full."""
    return f"{value:.0f}" if value == int(value) else f"{value:.4g}"


def explain(rule: Rule, score: float, limit: float) -> str:
    """For people: "31 words, at least 50 wanted"."""
    wanted = "at least" if rule.comparison == "min" else "at most"
    return f"{_number(score)} {STATISTICS[rule.statistic].unit}, {wanted} {_number(limit)} wanted"


def _remeasured(batch: pa.RecordBatch, limits: c4.LineLimits) -> pa.RecordBatch:
    """The C4 columns anew, under other line limits than those `measure` counts with."""
    texts, scripts = (batch.column(name).to_pylist() for name in ("text", "script"))
    rows = [
        None if script is None else c4_statistics(text, script, limits)
        for text, script in zip(texts, scripts, strict=True)
    ]
    return with_columns(batch, as_columns(rows, C4_COLUMNS))


def judge(batch: pa.RecordBatch, config: RulesConfig) -> pa.RecordBatch:
    """Adds `scores`, `verdict` ("kept", "filtered", "quarantined") and `rule`; `detail` says why a page was filtered.

    Every rule of every set that applies to the row is scored with the limit in force. The first breaking rule in the
    order of RULES decides, among the rules of `config.sets` that are not disabled. Quarantined rows have no scores and
    keep their reason (as `rule`) and detail. Call `check_rules_config` before: unknown names are not looked for here.
    """
    limits = line_limits(config)
    if limits != c4.DEFAULT_LIMITS:
        batch = _remeasured(batch, limits)
    columns = {name: batch.column(name).to_pylist() for name in STATISTICS}
    languages, scripts, reasons, details = (
        batch.column(name).to_pylist() for name in ("language", "script", "quarantine", "detail")
    )
    in_force = [(rule, limit_of(rule, config)) for rule in RULES.values()]
    decisive = {rule.name for rule in deciding(config)}
    all_scores: list[list[dict[str, object]]] = []
    verdicts: list[str] = []
    deciders: list[str | None] = []
    for row, reason in enumerate(reasons):
        scores: list[dict[str, object]] = []
        decider = None
        if reason is None:
            for rule, limit in in_force:
                if not rule.scope.holds(scripts[row], languages[row]):
                    continue
                score = float(columns[rule.statistic][row])
                scores.append({"rule": rule.name, "score": score, "limit": limit})
                if decider is None and rule.name in decisive and rule.breaks(score, limit):
                    decider = rule.name
                    details[row] = explain(rule, score, limit)
        all_scores.append(scores)
        verdicts.append("quarantined" if reason is not None else "filtered" if decider else "kept")
        deciders.append(reason if reason is not None else decider)
    return with_columns(
        batch,
        {
            "detail": pa.array(details, pa.string()),
            "scores": pa.array(all_scores, AUDIT.field("scores").type),
            "verdict": pa.array(verdicts, pa.string()),
            "rule": pa.array(deciders, pa.string()),
        },
    )


def cut_lines(batch: pa.RecordBatch, config: RulesConfig) -> pa.RecordBatch:
    """With `c4` among the sets: its line rules cut lines (and citation marks) from the text of kept rows.

    `repairs` names "c4_lines" and `detail` counts the cut lines where anything was cut. Judge first: what C4 asks of
    the text after cutting is among the statistics already, so a cut text is never empty.
    """
    if "c4" not in config.sets:
        return batch
    limits = line_limits(config)
    texts, repairs, details, scripts, verdicts = (
        batch.column(name).to_pylist() for name in ("text", "repairs", "detail", "script", "verdict")
    )
    for row, verdict in enumerate(verdicts):
        if verdict != "kept":
            continue
        page = c4.apply(texts[row], scripts[row], limits)
        if page.cut or page.cited:
            texts[row] = "\n".join(page.kept).strip()
            repairs[row] = [*repairs[row], "c4_lines"]
            details[row] = f"{page.cut} of {page.cut + page.left} lines cut by the C4 line rules"
    return with_columns(
        batch,
        {
            "text": pa.array(texts, pa.string()),
            "repairs": pa.array(repairs, pa.list_(pa.string())),
            "detail": pa.array(details, pa.string()),
        },
    )
