"""Other limits and what they would drop: the same numbers as counting every record by hand."""

import io
import random
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pipeline.config import PipelineConfig, RulesConfig
from pipeline.inspect.histogram import Histogram, on_grid
from pipeline.inspect.rules import InspectError
from pipeline.report import audit
from pipeline.text.rules import RULES, deciding
from pipeline.tune import SHARES, SHARES_OF_ONE_RULE, render_tuning, tune
from schemas.arrow import AUDIT
from schemas.manifest import Counts, FileEntry, Manifest, write_manifest

ROWS = 2000
NAMES = ("gopher.min_words", "gopher.max_hash_ratio", "gopher.min_alphabetic_words", "c4.min_sentences")
"""Two of each comparison and need; the last one does not decide by default."""


def _rows() -> list[dict[str, Any]]:
    draw = random.Random(5)
    rows = []
    for number in range(ROWS):
        scores: list[dict[str, Any]] = [
            {"rule": NAMES[0], "score": float(int(draw.lognormvariate(5, 1))), "limit": 50.0},
            {"rule": NAMES[1], "score": max(0.0, draw.gauss(0.0, 0.06)), "limit": 0.1},
            {"rule": NAMES[2], "score": draw.betavariate(9, 1), "limit": 0.8 if number % 2 else 0.7},
            {"rule": NAMES[3], "score": float(draw.randrange(12)), "limit": 3.0},
            {"rule": "c4.javascript", "score": float(draw.random() < 0.1), "limit": 0.0},
            {"rule": "old.rule", "score": 1.0, "limit": 2.0},
        ]
        if number % 3 == 0:
            del scores[2]
        breaking = [item["rule"] for item in scores if item["rule"] in NAMES[:3] and _breaks(item, item["limit"])]
        if number % 97 == 0:
            breaking.insert(0, "old.rule" if number % 2 else "without.score")
        row = {"record": f"f#{number}", "doc_id": f"{number:032x}", "source": "web", "repairs": [], "chars_in": 1}
        row |= {"verdict": "filtered" if breaking else "kept", "rule": breaking[0] if breaking else None}
        rows.append(row | {"chars_out": 1, "scores": scores})
    rows.append(rows[0] | {"record": "f#bad", "verdict": "quarantined", "rule": "invalid_json", "scores": []})
    return rows


def _breaks(item: dict[str, Any], limit: float) -> bool:
    return bool(RULES[item["rule"]].breaks(item["score"], limit))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tuned")
    (root / "audit").mkdir()
    path = "audit/audit-00000-of-00001.arrow"
    with pa.OSFile(str(root / path), "wb") as sink, pa.ipc.new_file(sink, AUDIT) as writer:
        writer.write_table(pa.Table.from_pylist(_rows(), schema=AUDIT), max_chunksize=100)
    files = [FileEntry(path=path, sha256="0" * 64, bytes=1, rows=ROWS + 1)]
    config = PipelineConfig(rules=RulesConfig(sets=("gopher-quality",))).model_dump(mode="json")
    manifest = Manifest(
        config=config, versions={}, fingerprints={}, counts=Counts(input=ROWS + 1, kept=ROWS + 1), sources={}, rules={},
        files=files, vocabulary_size=300, tokens=0,
    )  # fmt: skip
    write_manifest(root, manifest)
    return root


def _counted(name: str, limit: float | None) -> tuple[int, int]:
    """Records that break the rule at the limit (None: at their own), and those of them that no other rule drops."""
    decides = {rule.name for rule in deciding(RulesConfig(sets=("gopher-quality",)))}
    drops = alone = 0
    for row in _rows():
        own = [item for item in row["scores"] if item["rule"] == name]
        if own and _breaks(own[0], own[0]["limit"] if limit is None else limit):
            others = [item for item in row["scores"] if item["rule"] != name and item["rule"] in decides]
            drops += 1
            alone += row["rule"] not in ("old.rule", "without.score") and not any(
                _breaks(item, item["limit"]) for item in others
            )
    return drops, alone


@pytest.mark.parametrize("grouped", [1, 48])
def test_counts_are_those_of_every_record(directory: Path, monkeypatch: pytest.MonkeyPatch, grouped: int) -> None:
    monkeypatch.setattr(audit, "GROUPED_BATCHES", grouped)
    monkeypatch.setattr(Histogram, "MERGED", 50)
    tunings = {tuning.rule: tuning for tuning in tune(directory)}
    assert set(tunings) == {*NAMES, "c4.javascript", "old.rule"}
    for name in NAMES:
        tuning = tunings[name]
        assert (tuning.drops, tuning.alone) == _counted(name, None)
        assert tuning.decides == (name != "c4.min_sentences")
        assert tuning.scored == sum(item["rule"] == name for row in _rows() for item in row["scores"])
        assert [at.wanted for at in tuning.at] == list(SHARES)
        for at in tuning.at:
            assert (at.drops, at.alone) == _counted(name, at.limit)
            assert at.drops <= at.wanted * tuning.scored
    assert (tunings[NAMES[2]].limit_low, tunings[NAMES[2]].limit_high) == (0.7, 0.8)
    assert tunings[NAMES[0]].drops > tunings[NAMES[0]].alone > 0


def test_the_limit_is_the_strictest_that_drops_no_more(directory: Path) -> None:
    for name in NAMES:
        scores = {item["score"] for row in _rows() for item in row["scores"] if item["rule"] == name}
        minimum = RULES[name].comparison == "min"
        candidates = sorted(set(on_grid(np.array(sorted(scores)), up=not minimum).tolist()), reverse=not minimum)
        (tuning,) = tune(directory, name)
        assert [at.wanted for at in tuning.at] == list(SHARES_OF_ONE_RULE)
        for at in tuning.at[::3]:
            stricter = [limit for limit in candidates if (limit > at.limit if minimum else limit < at.limit)]
            assert not stricter or _counted(name, stricter[0])[0] > at.wanted * tuning.scored


def test_line_rules_and_unknown_rules_have_no_other_limits(directory: Path) -> None:
    tunings = {tuning.rule: tuning for tuning in tune(directory)}
    line = tunings["c4.javascript"]
    assert (line.unit, line.at) == ("line", ())
    assert line.drops == sum(item["score"] for row in _rows() for item in row["scores"] if item["rule"] == line.rule)
    unknown = tunings["old.rule"]
    assert (unknown.comparison, unknown.scored, unknown.at) == (None, ROWS, ())
    with pytest.raises(InspectError, match=r"no record has a score of 'c4\.min_lines'; .*old\.rule"):
        tune(directory, "c4.min_lines")


def test_both_tables_are_inert(directory: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=False)
    tunings = tune(directory)
    render_tuning(tunings, console)
    for tuning in tunings:
        render_tuning(tune(directory, tuning.rule), console, one=True)
    shown = out.getvalue()
    drops, alone = _counted(NAMES[0], None)
    assert f"{100 * drops / ROWS:.2f} %" in shown
    assert f"{alone:,}" in shown
    assert "≥ 0.7 – 0.8" in shown
    assert "cuts lines" in shown
    assert "does not know the rule" in shown


def _decimal(value: float, rounding: str) -> float:
    return float(Context(prec=4, rounding=rounding).create_decimal(Decimal(value)))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.floats(1e-9, 1e21),
        st.floats(-1e21, -1e-9),
        st.integers(-100_000, 100_000).map(float),
        st.integers(0, 20_000).map(lambda n: n / 10_000),
        st.sampled_from([0.0, 999.9999999999999, 1000.0, 0.1, 0.3, 1e-9, 9.9995, 1e20, 0.09999999999999999]),
    )
)
def test_the_grid_has_four_digits_and_rounds_to_one_side(value: float) -> None:
    scores = np.array([value])
    assert on_grid(scores, up=False)[0] == _below(value)
    assert on_grid(scores, up=True)[0] == -_below(-value)


def _below(value: float) -> float:
    """The greatest float named by four digits that is not above the value, which may itself be named so."""
    nearest = _decimal(value, "ROUND_HALF_EVEN")
    return value if nearest == value else _decimal(value, ROUND_FLOOR)


def test_the_grid_at_its_ends() -> None:
    scores = np.array([np.inf, -np.inf, 1e300, 3e-13, -3e-13, -0.0])
    assert on_grid(scores, up=False).tolist() == [np.inf, -np.inf, 1e300, 0.0, -1e-12, 0.0]
    assert on_grid(scores, up=True).tolist() == [np.inf, -np.inf, 1e300, 1e-12, 0.0, 0.0]
    assert not np.signbit(on_grid(scores, up=True)[4:]).any()
    assert _decimal(0.12345, ROUND_CEILING) == 0.1235 == on_grid(np.array([0.12345]), up=True)[0]
