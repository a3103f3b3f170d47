"""One text against every rule, before any corpus is prepared: what `prepare` would do with it, and why."""

import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.config import PipelineConfig
from pipeline.inspect.difference import Difference, difference
from pipeline.inspect.explanation import VERDICT_STYLES
from pipeline.inspect.rules import broken, described
from pipeline.io.inputs import InputError, InputFile, list_inputs
from pipeline.io.read import read_batches
from pipeline.jobs import importing_beam
from pipeline.report.visible import visible_text
from pipeline.text.html import main_text
from pipeline.text.language_rules import rules_for
from pipeline.text.rules import check_rules_config, scored

STANDARD_INPUT = "-"
_RECORD = re.compile(r"(.+)#([0-9]+)", re.S)


@dataclass(frozen=True)
class Trial:
    """What cleaning makes of one record. Deduplication, which needs the other records, has no part in it."""

    record: str
    more: bool
    """The file holds further records; FILE#N tries the one whose name ends so."""
    verdict: str
    rule: str | None
    detail: str | None
    language: str | None
    language_score: float | None
    script: str | None
    chars_in: int
    chars_out: int
    repairs: tuple[str, ...]
    rules: tuple[dict[str, Any], ...]
    """In deciding order, rules on demand only where their set is chosen: rule, set, unit, comparison, score (None where
    the rule does not apply), limit, breaks, decides (under this config it may drop), cuts (under this config it may cut
    lines), decided (it dropped)."""
    difference: Difference
    """From the text as it was read (of HTML: its main text) to the clean text."""


def try_rules(file: str, config: PipelineConfig, stdin: BinaryIO | None = None) -> Trial:
    """Reads FILE as `prepare` would and scores its first record, or that of FILE#N; '-' is plain text from stdin.

    Raises InputError where there is no such file, record or a directory, RuleError for a config of unknown rules.
    """
    check_rules_config(config.rules)
    if file != STANDARD_INPUT:
        path, number = _named(file)
        if Path(path).is_dir():
            raise InputError(f"{file}: is a directory; --try takes one file, or - for the standard input")
        files = list_inputs([path], config.input.formats)
        if len(files) != 1:
            raise InputError(f"{file}: names {len(files)} files; --try takes one")
        return _try(files[0], number, file, config)
    with tempfile.TemporaryDirectory() as directory:
        whole = Path(directory) / "stdin.txt"
        with whole.open("wb") as sink:
            shutil.copyfileobj(stdin or sys.stdin.buffer, sink)
        return _try(InputFile(str(whole), "stdin", "stdin", whole.stat().st_size), None, "stdin", config)


def _named(file: str) -> tuple[str, str | None]:
    match = _RECORD.fullmatch(file)
    return (file, None) if match is None or Path(file).exists() else (match[1], match[2])


def _try(file: InputFile, number: str | None, name: str, config: PipelineConfig) -> Trial:
    found, more = None, False
    for batch in read_batches(file, config.input):
        names = batch["record"].to_pylist()
        if found is not None:
            more = True
            break
        rows = [row for row, record in enumerate(names) if number is None or record.endswith(f"#{number}")]
        if rows:
            found = batch.take(pa.array(rows[:1]))
            more = len(batch) > 1
            if more:
                break
    if found is None:
        raise InputError(f"{name}: the file has no record whose name ends in #{number}")
    return score(found, more, config)


def score(raw: pa.RecordBatch, more: bool, config: PipelineConfig) -> Trial:
    """`raw`: one row of the schema RECORDS."""
    with importing_beam():
        from pipeline.stages.clean import clean_batch

    read = main_text(raw, config.html)["text"][0].as_py()
    clean = clean_batch(raw, config)
    (row,) = clean.to_pylist()
    sound = row["quarantine"] is None
    scores = {item["rule"]: item for item in row["scores"]}
    rules = []
    used = {rule.name for rule in (*rules_for(config.language), *scored(config.rules))}
    for rule in described(config):
        if rule["name"] not in used:
            continue
        item = scores.get(rule["name"])
        breaks = item is not None and bool(broken(rule, np.array(item["score"]), np.array(item["limit"])))
        rules.append(
            {
                "rule": rule["name"],
                "set": rule["set"],
                "unit": rule["unit"],
                "comparison": rule["comparison"],
                "score": None if item is None else item["score"],
                "limit": rule["limit_in_force"] if item is None else item["limit"],
                "breaks": breaks,
                "decides": rule["decides"],
                "cuts": rule["unit"] == "line"
                and rule["set"] in config.rules.sets
                and rule["name"] not in config.rules.disable,
                "decided": rule["name"] == row["rule"],
            }
        )
    return Trial(
        record=row["record"],
        more=more,
        verdict=row["verdict"],
        rule=row["rule"],
        detail=row["detail"],
        language=row["language"],
        language_score=row["language_score"],
        script=row["script"],
        chars_in=row["chars_in"],
        chars_out=len(row["text"]),
        repairs=tuple(row["repairs"]),
        rules=tuple(rules) if sound else (),
        difference=difference(read, row["text"]) if sound else Difference((), False),
    )


def render_trial(trial: Trial, console: Console) -> None:
    """The verdict, a table of the rules, the repairs and what they changed. Hidden characters are named."""
    head = Text.assemble(
        (visible_text(trial.record, 160), "bold"),
        " would be ",
        (trial.verdict, VERDICT_STYLES.get(trial.verdict, "")),
        f": {visible_text(trial.rule, 160)}" if trial.rule else "",
        f" ({visible_text(trial.detail, 500)})" if trial.detail else "",
    )
    console.print(head)
    if trial.more:
        console.print("The file holds more records; FILE#N tries another one.")
    if not trial.rules:
        return
    score = f" ({trial.language_score:.2f})" if trial.language_score is not None else ""
    console.print(
        Text(
            f"Language {visible_text(trial.language or 'not told', 40)}{score}, script {trial.script}; "
            f"{trial.chars_in:,} characters came in, {trial.chars_out:,} of clean text were left."
        )
    )
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for name in ("rule", "score", "limit", "", "in this config"):
        table.add_column(name, justify="right" if name in ("score", "limit") else "left", overflow="fold")
    for rule in trial.rules:
        wanted = "≥" if rule["comparison"] == "min" else "≤"
        says = "does not apply" if rule["score"] is None else "passes"
        if rule["breaks"]:
            says = "breaks" if rule["unit"] == "page" else "cuts lines" if rule["cuts"] else "would cut lines"
        part = "may drop" if rule["decides"] else "may cut lines" if rule["cuts"] else "scored only"
        table.add_row(
            Text(visible_text(rule["rule"], 160)),
            "" if rule["score"] is None else f"{rule['score']:.4g}",
            f"{wanted} {rule['limit']:.6g}",
            Text(says, style="yellow" if rule["breaks"] else ""),
            Text("decided", style="bold") if rule["decided"] else part,
        )
    console.print(table)
    repairs = ", ".join(visible_text(name, 80) for name in trial.repairs)
    console.print(Text(f"Repairs: {repairs}." if repairs else "Nothing had to be repaired."))
    for line in trial.difference.lines:
        style = {"-": "red", "+": "green", "@": "cyan"}.get(line[:1], "")
        bare = line.rstrip(" ")
        shown = visible_text(bare, 200) + "·" * (len(line) - len(bare))  # spaces at the end of a line would not be seen
        console.print(Text(shown, style=style), soft_wrap=True)
    if trial.difference.cut:
        console.print("… and more that is not shown")
