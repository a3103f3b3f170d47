"""The verdict on every record: all rules are scored, the chosen ones decide, and the reason is put into words."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import RulesConfig
from pipeline.records import with_columns
from pipeline.text import c4
from pipeline.text.datatrove import DATATROVE_STATISTICS, measure_datatrove
from pipeline.text.language_rules import explanations, rules_of_batch
from pipeline.text.lists import measure_lists
from pipeline.text.rules import (
    ALL_STATISTICS,
    Rule,
    cutting_variant,
    deciding,
    limit_of,
    line_limits,
    scored,
    statistics_of,
)
from pipeline.text.statistics import C4_VARIANTS, Statistic, measure_c4
from schemas.arrow import AUDIT


def _number(value: float) -> str:
    """At most four significant places behind the point, large numbers in full."""
    return f"{value:.0f}" if value == int(value) else f"{value:.4g}"


def explain(rule: Rule, score: float, limit: float, known: Mapping[str, Statistic] = ALL_STATISTICS) -> str:
    """For people: "31 words, at least 50 wanted". `known`: the statistics with their units."""
    wanted = "at least" if rule.comparison == "min" else "at most"
    return f"{_number(score)} {known[rule.statistic].unit}, {wanted} {_number(limit)} wanted"


def _applicable(batch: pa.RecordBatch, rules: list[Rule], sound: np.ndarray) -> np.ndarray:
    """bool [rows, rules]: whether the rule is for the row's script and language; never for quarantined rows."""
    coded = [pc.dictionary_encode(batch[name], null_encoding="encode") for name in ("script", "language")]
    scripts, languages = (column.dictionary.to_pylist() for column in coded)
    script, language = (column.indices.to_numpy(zero_copy_only=False) for column in coded)
    pairs, inverse = np.unique(script * max(1, len(languages)) + language, return_inverse=True)
    table = np.zeros((len(pairs), len(rules)), bool)
    for row, pair in enumerate(pairs):
        one, other = scripts[pair // len(languages)], languages[pair % len(languages)]
        table[row] = [rule.scope.holds(one, other) for rule in rules]
    return table[inverse] & sound[:, None]


def _limits(batch: pa.RecordBatch, rules: Sequence[Rule], config: RulesConfig) -> np.ndarray:
    """float64 [rows, rules]: the limits in force for each row's language."""
    common = np.array([limit_of(rule, config) for rule in rules], np.float64)
    limits = np.broadcast_to(common, (len(batch), len(rules)))
    if not config.language_limits:
        return limits
    limits = limits.copy()
    for language in config.language_limits:
        rows = pc.equal(batch["language"], language).fill_null(False).to_numpy(zero_copy_only=False)
        limits[rows] = [limit_of(rule, config, language) for rule in rules]
    return limits


def _scores(applies: np.ndarray, scores: np.ndarray, limits: np.ndarray, names: pa.StringArray) -> pa.ListArray:
    """The `scores` column of the audit: per row, its rules in their order."""
    item = AUDIT.field("scores").type.value_field
    values = [names.take(pa.array(np.nonzero(applies)[1])), pa.array(scores[applies])]
    values.append(pa.array(limits[applies]))
    structs = pa.StructArray.from_arrays(values, fields=list(item.type))
    offsets = np.concatenate([[0], np.cumsum(applies.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), structs, type=AUDIT.field("scores").type)


def judge(batch: pa.RecordBatch, config: RulesConfig) -> pa.RecordBatch:
    """Adds `scores`, `verdict` ("kept", "filtered", "quarantined") and `rule`; `detail` says why a page was filtered.

    Every rule of `scored` that applies to the row is scored with the limit in force; the statistics that are made on
    demand are added where one of them asks for them. The first breaking rule in the order of `rules_of` decides, among
    the rules of `config.sets` (and its own) that are not disabled. Quarantined rows have no scores and keep their
    reason (as `rule`) and detail. Call `check_rules_config` before: unknown names are not looked for here.
    """
    for variant, measured in C4_VARIANTS.items():
        limits = line_limits(config, variant)
        if limits != measured:
            batch = measure_c4(batch, variant, limits)
    rules = [*rules_of_batch(batch), *scored(config)]
    wanted = {rule.statistic for rule in rules} & DATATROVE_STATISTICS.keys()
    if not wanted <= set(batch.schema.names):
        batch = measure_datatrove(batch)
    batch = measure_lists(batch, config)
    limit = _limits(batch, rules, config)
    decisive = {rule.name for rule in (*rules_of_batch(batch), *deciding(config))}
    reason = batch["quarantine"]
    sound = reason.is_null().to_numpy(zero_copy_only=False)
    applies = _applicable(batch, rules, sound)
    columns = {
        name: pc.fill_null(batch[name], 0).to_numpy(zero_copy_only=False).astype(np.float64)
        for name in {rule.statistic: None for rule in rules}
    }
    scores = np.stack([columns[rule.statistic] for rule in rules], axis=1)
    broken = np.zeros(applies.shape, bool)
    for index, rule in enumerate(rules):
        if rule.name in decisive:
            broken[:, index] = applies[:, index] & rule.breaks(scores[:, index], limit[:, index])
    filtered = broken.any(axis=1)
    first = broken.argmax(axis=1)
    names = pa.array([rule.name for rule in rules], pa.string())
    details = batch["detail"].to_pylist()
    foreign, known = explanations(batch), statistics_of(config)
    for row in np.flatnonzero(filtered).tolist():
        which = first[row]
        of_numbers = explain(rules[which], float(scores[row, which]), float(limit[row, which]), known)
        details[row] = foreign[row] or of_numbers
    verdict = np.where(filtered, 1, np.where(sound, 0, 2))
    decider = names.take(pa.array(first, pa.int32(), mask=~filtered))
    return with_columns(
        batch,
        {
            "detail": pa.array(details, pa.string()),
            "scores": _scores(applies, scores, limit, names),
            "verdict": pa.array(["kept", "filtered", "quarantined"]).take(pa.array(verdict)),
            "rule": pc.coalesce(reason, decider),
        },
    )


def cut_lines(batch: pa.RecordBatch, config: RulesConfig) -> pa.RecordBatch:
    """With `c4` (or `c4-datatrove`) among the sets: its line rules cut lines (and citation marks) from kept rows.

    `repairs` names "c4_lines" and `detail` counts the cut lines where anything was cut. Judge first: what C4 asks of
    the text after cutting is among the statistics already, so a cut text is never empty.
    """
    variant = cutting_variant(config)
    if variant is None:
        return batch
    limits = line_limits(config, variant)
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
