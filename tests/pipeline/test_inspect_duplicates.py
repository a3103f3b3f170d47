"""Pairs of removed and kept records of a real, small run, with what differs between them."""

import io
import random
import shutil
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from rich.console import Console

from pipeline.cli import run
from pipeline.config import make_config
from pipeline.inspect.duplicates import KINDS, pairs, render_pairs
from pipeline.inspect.rules import InspectError
from pipeline.inspect.texts import texts_of
from pipeline.progress import StageProgress
from pipeline.run import Preparation, Request
from pipeline.stages.documents import EARLIER
from pipeline.stages.tally import AuditTally
from schemas.arrow import AUDIT
from schemas.manifest import Manifest, read_manifest, write_manifest

COPIES = 12
CONFIG = {
    "input": {"priority": ["first", "second"]},
    "boilerplate": {"enabled": False},
    "rules": {"sets": []},
    "deduplicate": {"containment": 0.9},
}
_QUIET = StageProgress(quiet=True)


def _text(draw: random.Random, words: int) -> list[str]:
    trees = ("ash", "birch", "cedar", "fir", "larch", "oak")
    return [f"{draw.choice(trees)}{draw.randrange(900)}" for _ in range(words)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each of COPIES documents an exact copy, a near-copy with one changed word, and an excerpt of 100 words."""
    root = tmp_path_factory.mktemp("twins")
    draw = random.Random(5)
    lines: dict[str, list[str]] = {"first": [], "second": []}
    for number in range(COPIES):
        words = _text(draw, 300)
        near = [*words[:150], f"[red]CHANGED{number}[/red]", *words[151:]]
        lines["first"].append(" ".join(words))
        lines["second"] += [" ".join(words).upper(), " ".join(near), " ".join(words[100:200])]
    for name, texts in lines.items():
        (root / name).mkdir()
        (root / name / "all.jsonl").write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts))
    output = root / "data"
    config = make_config(CONFIG)
    # The stages after deduplication have no part in this.
    stages = Preparation(Request((f"first={root / 'first'}", f"second={root / 'second'}"), str(output), config), _QUIET)
    stages.space.claim(config, None)
    cleaned = stages.clean()
    stages.boilerplate(cleaned)
    stages.deduplicate(cleaned)
    tally = AuditTally.total([stages.results["deduplicate"].facts])
    manifest = Manifest(
        config=config.model_dump(mode="json"),
        versions={},
        fingerprints={},
        counts=tally.counts(),
        sources=tally.source_counts(),
        rules=tally.rules,
        files=list(stages.results["deduplicate"].files),
        vocabulary_size=300,
        tokens=0,
    )
    write_manifest(output, manifest)
    return output


def test_every_removed_record_stands_beside_what_was_kept(directory: Path) -> None:
    rows = pairs(directory, limit=1000)
    assert len(rows) == 3 * COPIES == read_manifest(directory).counts.duplicate
    assert {row["kind"] for row in rows} == {"exact", "near", "contained"}
    for row in rows:
        number = (int(row["record"].rpartition("#")[2]) - 1) // 3
        assert row["kept"]["record"].endswith(f"#{number + 1}")
        assert (row["source"], row["kept"]["source"], row["compared"]) == ("second", "first", "documents")
        difference = row["difference"]
        match row["kind"]:
            case "exact":  # in capitals: another text, the same when normalised
                assert (row["jaccard"], difference["only_first"], difference["only_second"]) == (1.0, 300, 300)
            case "near":
                assert 0.8 <= row["jaccard"] < 1
                (hunk,) = difference["hunks"]
                assert f"CHANGED{number}" in " ".join(run["text"] for run in hunk if run["mark"] == "-")
                assert difference["only_second"] == 1
            case "contained":
                assert (difference["only_first"], difference["only_second"]) == (0, 200)
                assert "of its shingles are in the kept document" in row["detail"]


def test_kinds_sources_and_names_choose(directory: Path) -> None:
    near = pairs(directory, kind="near")
    assert [row["kind"] for row in near] == ["near"] * COPIES
    assert pairs(directory, kind="protected") == []
    assert pairs(directory, source="first") == []
    assert len(pairs(directory, source="second", limit=5)) == 5
    (one,) = pairs(directory, record=near[0]["record"])
    assert one == near[0]
    assert pairs(directory, doc=near[0]["doc_id"]) == [one]
    for wrong in ({"kind": "far"}, {"source": "third"}, {"sort": "length"}):
        with pytest.raises(InspectError, match=f"is called '{next(iter(wrong.values()))}'; known here: "):
            pairs(directory, **wrong)


def test_a_sample_is_the_same_each_time_and_another_for_another_word(directory: Path) -> None:
    def names(**options) -> list[str]:
        return [row["record"] for row in pairs(directory, **options)]

    assert names(limit=6) == names(limit=6) == names(limit=100)[:6]
    assert names(limit=6, sample="other") != names(limit=6)
    assert sorted(names(limit=100, sample="other")) == sorted(names(limit=100))
    by_jaccard = [row["jaccard"] for row in pairs(directory, kind="near", sort="jaccard")]
    assert by_jaccard == sorted(by_jaccard)


def test_where_the_documents_are_gone_excerpts_are_compared_and_that_is_said(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "data", ignore=shutil.ignore_patterns("stages"))
    rows = pairs(tmp_path / "data", kind="exact")
    assert {row["compared"] for row in rows} == {"excerpts"}
    assert all(row["difference"]["only_first"] > 5 for row in rows)
    assert "The documents below stages/ are gone" in _rendered(rows)
    assert "excerpts word for word the same" in _rendered(pairs(tmp_path / "data", kind="near"))


def test_protected_items_are_named_by_the_detail(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "data")
    (entry,) = read_manifest(directory).under("audit")
    path = tmp_path / "data" / entry.path
    rows = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all().to_pylist()
    dropped = next(row for row in rows if row["kind"] == "near")
    named = {"duplicate_of": None, "duplicate_record": None, "jaccard": None}
    dropped |= {
        "verdict": "filtered",
        "kind": "protected",
        "rule": "protected",
        "detail": "13 words of quiz.jsonl#7",
        **named,
    }
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, AUDIT) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=AUDIT))
    (row,) = pairs(tmp_path / "data", kind="protected")
    assert (row["kept"], row["compared"], row["difference"]) == (None, None, None)
    shown = _rendered([row])
    assert shown.startswith("1. protected\n   removed second/all.jsonl#")
    assert "13 words of quiz.jsonl#7" in shown


def _rendered(rows: list[dict], **options) -> str:
    out = io.StringIO()
    render_pairs(rows, Console(file=out, width=100, markup=False, **options))
    return out.getvalue()


def test_a_terminal_marks_the_words_and_obeys_none(directory: Path) -> None:
    rows = pairs(directory, kind="near", limit=2)
    (removed,) = [run for run in rows[0]["difference"]["hunks"][0] if run["mark"] == "-"]
    removed["text"] = "[blink]\x1b[5m\u202e[/blink]"
    rows[0]["kept"]["record"] = "[bold]\x07"
    plain = _rendered(rows)
    assert not {"\x1b", "\u202e", "\x07"} & set(plain)
    assert " [-[blink]⟨U+001B⟩[5m⟨U+202E⟩[/blink]-] {+" in plain
    assert "kept    [bold]⟨U+0007⟩ (source first" in plain
    assert "1 run of words differs" in plain
    assert "removed second/all.jsonl#" in plain
    assert "kept    first/all.jsonl#" in plain
    coloured = _rendered(rows, force_terminal=True, color_system="standard")
    assert "\x1b[31m" in coloured
    assert "\x1b[32m" in coloured
    assert "[blink]⟨U+001B⟩[5m⟨U+202E⟩[/blink]" in coloured
    assert "No removed record meets these filters." in _rendered([])


def test_the_kinds_are_those_of_the_audit_schema() -> None:
    meaning = AUDIT.field("kind").metadata[b"meaning"].decode()
    assert all(kind in meaning for kind in KINDS)


def test_texts_of_an_earlier_run_are_read_there(directory: Path, tmp_path: Path) -> None:
    kept = pairs(directory, kind="near", limit=1)[0]["kept"]
    key = (f"before//{kept['record']}", kept["doc_id"])
    assert texts_of(tmp_path, [key]) == {}
    (tmp_path / EARLIER).parent.mkdir(parents=True)
    (tmp_path / EARLIER).write_bytes(orjson.dumps([[str(directory), 0, "before"]]))
    found = texts_of(tmp_path, [key, ("before//first/all.jsonl#1", "f" * 32), (kept["record"], kept["doc_id"])])
    assert found.keys() == {key}
    assert found[key].startswith(kept["excerpt"])


def test_the_command_writes_json_lines_and_refuses_what_makes_no_sense(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*options: str) -> tuple[int, str, str]:
        code = run(["inspect", str(directory), *options])
        return code, *capsys.readouterr()

    code, shown, _ = asked("--duplicates", "--kind", "near", "--source", "second", "--sort", "jaccard", "--limit", "3")
    assert code == 0
    assert [orjson.loads(line) for line in shown.splitlines()] == [
        orjson.loads(orjson.dumps(row)) for row in pairs(directory, kind="near", limit=3, sort="jaccard")
    ]
    assert asked("--duplicates", "--kind", "protected") == (0, "", "no record matches\n")
    for wrong in (["--kind", "near"], ["--duplicates", "--rule", "near"], ["--duplicates", "--kind", "far"]):
        code, shown, complaint = asked(*wrong)
        assert (code, shown) == (2, "")
        assert "--duplicates" in complaint or "'far'" in complaint
