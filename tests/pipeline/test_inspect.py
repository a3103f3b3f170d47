"""Finding audit rows by each filter, and saying why a record went."""

import io
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from rich.console import Console

import pipeline.inspect.explanation as inspection
from pipeline.config import PipelineConfig
from pipeline.inspect.explanation import explain, json_lines, render
from pipeline.inspect.records import find
from pipeline.report import audit
from schemas.arrow import AUDIT
from schemas.manifest import Counts, FileEntry, Manifest, ManifestError, write_manifest

ROWS_PER_BATCH = 10
FILES = 4


def _row(number: int) -> dict[str, Any]:
    verdict = ("kept", "kept", "filtered", "kept", "duplicate", "kept", "quarantined", "kept")[number % 8]
    row = {
        "record": f"dir/file.jsonl#{number}" if number < 100 else f"dir/file.jsonl.gz#{number}",
        "doc_id": f"{number:04x}" + "ab" * 14,
        "source": "web",
        "verdict": verdict,
        "scores": [{"rule": "words", "score": float(number % 50), "limit": 50.0}],
        "rule": {"filtered": "words", "duplicate": "near", "quarantined": "bad_json"}.get(verdict),
        "repairs": ["mojibake", "controls"] if number % 2 == 0 else [],
        "language": "en",
        "language_score": 0.75,
        "chars_in": 1200,
        "chars_out": 1100,
        "excerpt": "The whale\x1b[2J swam.",
        "detail": "line 3 is not JSON" if verdict == "quarantined" else None,
        "duplicate_of": f"{0:04x}" + "ab" * 14 if verdict == "duplicate" else None,
        "duplicate_record": "dir/file.jsonl#0" if verdict == "duplicate" else None,
        "jaccard": 0.875 if verdict == "duplicate" else None,
        "kind": "near" if verdict == "duplicate" else None,
    }
    return row


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inspected")
    (root / "audit").mkdir()
    files = []
    for part in range(FILES):
        path = f"audit/audit-{part:05}-of-{FILES:05}.arrow"
        table = pa.Table.from_pylist([_row(number) for number in range(part * 50, part * 50 + 50)], schema=AUDIT)
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.OSFile(str(root / path), "wb") as sink, pa.ipc.new_file(sink, AUDIT, options=options) as writer:
            writer.write_table(table, max_chunksize=ROWS_PER_BATCH)
        files.append(FileEntry(path=path, sha256="0" * 64, bytes=1, rows=50))
    manifest = Manifest(
        config=PipelineConfig().model_dump(mode="json"),
        versions={},
        fingerprints={},
        counts=Counts(input=200, kept=200),
        sources={},
        rules={},
        files=files,
        vocabulary_size=300,
        tokens=0,
    )
    write_manifest(root, manifest)
    return root


def _numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row["record"].rpartition("#")[2]) for row in rows]


def test_find_by_record(directory: Path) -> None:
    assert _numbers(find(directory, "dir/file.jsonl#7", None, None, 20)) == [7]
    assert _numbers(find(directory, "dir/file.jsonl", None, None, 500)) == list(range(100))
    assert _numbers(find(directory, "dir/file.jsonl.gz", None, None, 3)) == [100, 101, 102]
    assert find(directory, "dir/file", None, None, 20) == []


def test_find_by_doc_and_rule(directory: Path) -> None:
    assert _numbers(find(directory, None, "001", None, 20)) == list(range(16, 32))[:20]
    assert _numbers(find(directory, None, "00AB" + "ab" * 14, None, 20)) == [0xAB]
    assert _numbers(find(directory, None, None, "words", 4)) == [2, 10, 18, 26]
    assert _numbers(find(directory, None, None, "near", 2)) == [4, 12]
    assert _numbers(find(directory, "dir/file.jsonl.gz", None, "bad_json", 2)) == [102, 110]
    assert find(directory, None, None, "no-such-rule", 20) == []


def test_without_a_filter_dropped_records_come_first(directory: Path) -> None:
    dropped = [number for number in range(200) if number % 8 in (2, 4, 6)]
    kept = [number for number in range(200) if number % 8 not in (2, 4, 6)]
    assert _numbers(find(directory, None, None, None, 5)) == dropped[:5]
    assert _numbers(find(directory, None, None, None, 90)) == dropped + kept[:15]
    assert find(directory, None, None, None, 0) == []


def test_rows_are_whole_audit_rows(directory: Path) -> None:
    (row,) = find(directory, "dir/file.jsonl#4", None, None, 1)
    assert row == _row(4)
    assert [orjson.loads(line) for line in json_lines([row]).splitlines()] == [row]


def test_reading_stops_when_enough_is_found(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = audit.open_shard
    monkeypatch.setattr(audit, "open_shard", lambda path, schema: opened.append(path.name) or real(path, schema))
    find(directory, None, None, "words", 3)
    assert {name[:11] for name in opened} == {"audit-00000"}


def test_unfinished_directory(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no manifest\.json here"):
        find(tmp_path, None, None, None, 1)


def test_explain_names_what_decided() -> None:
    assert explain(_row(2)) == (
        "dir/file.jsonl#2 (source web) was filtered: rule words decided, its score 2 is below the limit 50. "
        "Language en (0.75). 1,200 characters came in, 1,100 of clean text were left. Repairs: mojibake, controls."
    )
    assert "removed as a near-duplicate of dir/file.jsonl#0 (doc_id 0000abab" in explain(_row(4))
    assert "with an exact Jaccard of 0.875." in explain(_row(4))
    assert "removed as an exact copy of" in explain(_row(4) | {"rule": "exact", "kind": "exact", "jaccard": 1.0})
    assert "removed as a part of dir/file.jsonl#0 (doc_id 0000abab" in explain(_row(4) | {"kind": "contained"})
    protected = {"kind": "protected", "rule": "protected", "scores": []}
    assert "removed as one that shares text with a protected item." in explain(_row(2) | protected)
    assert "was quarantined: bad_json. Found: line 3 is not JSON." in explain(_row(6))
    assert "was kept: no rule in use decided against it (1 rule scored it)" in explain(_row(1))
    assert "Nothing had to be repaired." in explain(_row(1))
    assert "(it has no score)" in explain(_row(2) | {"scores": []})


def test_a_terminal_shows_hostile_text_inert(directory: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=False)
    rows = find(directory, "dir/file.jsonl#2", None, None, 1)
    rows.append(rows[0] | {"record": "[bold]x[/bold]\x07\u202e", "rule": None})
    render(rows, console)
    shown = out.getvalue()
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "The whale⟨U+001B⟩[2J swam." in shown
    assert "[bold]x[/bold]⟨U+0007⟩⟨U+202E⟩" in shown
    assert "its score 2 is below the limit 50" in shown
    render(rows * inspection.EXPLAINED, console)
    assert out.getvalue().count("its score 2") == 1  # many rows: the table alone
    render([], console)
    assert "No record of the audit meets these filters." in out.getvalue()
