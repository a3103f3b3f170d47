"""The records on both sides of a limit: the same as sorting the whole audit, however it is cut into tables."""

import io
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from pipeline.config import PipelineConfig
from pipeline.inspect.near import nearest, render_near
from pipeline.inspect.rules import InspectError
from pipeline.report import audit
from schemas.arrow import AUDIT
from schemas.manifest import Counts, FileEntry, Manifest, write_manifest

RULE = "gopher.min_words"
ROWS = 300


def _rows() -> list[dict[str, Any]]:
    """Many ties, copies of every fifth document, limits that differ by language, and some rows without a score."""
    draw = random.Random(3)
    rows: list[dict[str, Any]] = []
    for number in range(ROWS):
        words, language = float(draw.randrange(20, 90)), draw.choice(["en", "de"])
        limit = 50.0 if language == "en" else 40.0
        row = {
            "record": f"dir/{'ab'[number % 2]}.jsonl#{number}",
            "doc_id": f"{draw.getrandbits(128):032x}",
            "source": "web",
            "verdict": "filtered" if words < limit else "kept",
            "scores": [
                {"rule": "gopher.max_words", "score": words, "limit": 100_000.0},
                {"rule": RULE, "score": words, "limit": limit},
                {"rule": "c4.javascript", "score": 0.0, "limit": 0.0},
            ],
            "rule": RULE if words < limit else None,
            "repairs": [],
            "language": language,
            "chars_in": 1200,
            "chars_out": 1100,
            "excerpt": "The [bold]whale[/bold]\x1b[2J\u202e swam.",
        }
        if number % 7 == 6:
            row |= {"verdict": "quarantined", "rule": "invalid_json", "scores": []}
        elif number % 5 == 4:
            # A copy read before the document that is kept.
            copied = rows[-1] | {"record": f"dir/0.jsonl#{number}"}
            row = copied | {"verdict": "duplicate", "rule": "exact"} if copied["verdict"] == "kept" else copied
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("near")
    (root / "audit").mkdir()
    files = []
    for part in range(3):
        path = f"audit/audit-{part:05}-of-00003.arrow"
        table = pa.Table.from_pylist(_rows()[part * 100 : part * 100 + 100], schema=AUDIT)
        with pa.OSFile(str(root / path), "wb") as sink, pa.ipc.new_file(sink, AUDIT) as writer:
            writer.write_table(table, max_chunksize=10)
        files.append(FileEntry(path=path, sha256="0" * 64, bytes=1, rows=100))
    config = PipelineConfig().model_dump(mode="json")
    counts = Counts(input=ROWS, kept=ROWS)
    manifest = Manifest(
        config=config, versions={}, fingerprints={}, counts=counts, sources={}, rules={}, files=files,
        vocabulary_size=300, tokens=0,
    )  # fmt: skip
    write_manifest(root, manifest)
    return root


def _expected(rows: list[dict[str, Any]], count: int) -> list[tuple[str, bool]]:
    sides: dict[bool, list[tuple[float, str, bool, str]]] = {True: [], False: []}
    for row in rows:
        for item in row["scores"]:
            if item["rule"] == RULE:
                key = (abs(item["score"] - item["limit"]), row["doc_id"], row["verdict"] == "duplicate", row["record"])
                sides[item["score"] < item["limit"]].append(key)
    best: dict[bool, list[str]] = {}
    for side, keys in sides.items():
        firsts: dict[str, str] = {}
        for key in sorted(keys):
            firsts.setdefault(key[1], key[3])
        best[side] = list(firsts.values())[:count]
    return [(name, True) for name in best[True][::-1]] + [(name, False) for name in best[False]]


@pytest.mark.parametrize("grouped", [1, 7, 48])
@pytest.mark.parametrize("count", [1, 2, 20, 1000])
def test_the_nearest_are_those_of_a_sort(
    directory: Path, monkeypatch: pytest.MonkeyPatch, grouped: int, count: int
) -> None:
    monkeypatch.setattr(audit, "GROUPED_BATCHES", grouped)
    rows = nearest(directory, RULE, count)
    assert [(row["record"], row["near"]["breaks"]) for row in rows] == _expected(_rows(), count)
    whole = {row["record"]: row for row in _rows()}
    for row in rows:
        score = next(item for item in row["scores"] if item["rule"] == RULE)
        assert row["near"] == score | {"breaks": score["score"] < score["limit"]}
        assert row["excerpt"] == whole[row["record"]]["excerpt"]


def test_filters_choose_among_the_records(directory: Path) -> None:
    some = [row for row in _rows() if row["record"].startswith("dir/a.jsonl#")]
    rows = nearest(directory, RULE, 4, record="dir/a.jsonl")
    assert [(row["record"], row["near"]["breaks"]) for row in rows] == _expected(some, 4)
    one = rows[0]
    assert [row["doc_id"] for row in nearest(directory, RULE, 4, doc=one["doc_id"][:20].upper())] == [one["doc_id"]]


def test_a_kept_document_goes_before_its_copies(directory: Path) -> None:
    shown = {row["doc_id"]: row["verdict"] for row in nearest(directory, RULE, ROWS)}
    copied = [row["doc_id"] for row in _rows() if row["verdict"] == "duplicate"]
    assert len(copied) > 10
    assert {shown[doc_id] for doc_id in copied} == {"kept"}


def test_questions_without_an_answer(directory: Path) -> None:
    with pytest.raises(InspectError, match=r"'no\.such' is no rule of this version; rules with scores here: c4"):
        nearest(directory, "no.such")
    with pytest.raises(InspectError, match=r"'c4\.min_lines' scored none of these records; .*gopher\.max_words"):
        nearest(directory, "c4.min_lines")
    with pytest.raises(InspectError, match="cuts lines"):
        nearest(directory, "c4.javascript")
    with pytest.raises(InspectError, match="rules with scores here: none"):
        nearest(directory, RULE, record="nowhere")


def test_a_terminal_shows_hostile_text_inert(directory: Path) -> None:
    out = io.StringIO()
    rows = nearest(directory, RULE, 3)
    rows[0] |= {"record": "[red]x[/red]\x07"}
    render_near(rows, Console(file=out, width=200, force_terminal=False))
    shown = out.getvalue()
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "[bold]whale[/bold]⟨U+001B⟩[2J⟨U+202E⟩" in shown
    assert "[red]x[/red]⟨U+0007⟩" in shown
    assert (shown.count("breaks"), shown.count("passes")) == (3, 3)
