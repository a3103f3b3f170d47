"""Boilerplate through a whole run: cut from what is kept, told in audit and report, and nothing is lost on the way."""

import html

import pyarrow as pa
import pytest
from sentencepiece import SentencePieceProcessor

from pipeline.cli import run
from pipeline.config import make_config
from pipeline.inspect.boilerplate import cut_lines
from pipeline.report.page import write_report
from pipeline.run import Request, prepare
from schemas.manifest import read_manifest

MENU = "Contents of this manual | Index"
NOTICE = "This page is part of <b>the manual</b> & free for all."
PAGES = 40


def paragraph(number: int) -> str:
    """English of its own for every number: passages of no two are near-duplicates."""
    names = ["harbour", "orchard", "railway", "theatre", "quarry", "library", "garrison", "vineyard"]
    first, second, third = (names[(number // 8**k) % 8] for k in range(3))
    return (
        f"The {first} of the town number {number} was built by the people who lived near the {second} of the valley, "
        f"and it is said that the old {third} which stood there before had been taken down with great care in that "
        f"year. Visitors have to go round the {second} and over the bridge to see what is left of it."
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    (raw / "manual").mkdir()
    (raw / "tales").mkdir()
    for number in range(PAGES):
        page = f"{MENU}\n\n{paragraph(number)}\n\n{paragraph(number + 100)}\n\n{NOTICE}\n"
        (raw / "manual" / f"page{number:02d}.txt").write_text(page)
        (raw / "tales" / f"tale{number:02d}.txt").write_text(
            f"{paragraph(number + 200)}\n\n{paragraph(number + 300)}\n"
        )
    # Two stubs, of which nothing will be left, in one of them only a ruler beside the menu.
    (raw / "manual" / "stub.txt").write_text(f"{MENU}\n{NOTICE}\n")
    (raw / "manual" / "stub2.txt").write_text(f"{NOTICE}\n=====\n{MENU}\n")
    (raw / "tales" / "again.txt").write_text((raw / "tales" / "tale00.txt").read_text().upper())
    config = make_config(
        {
            "input": {"unit_bytes": 10_000},
            "rules": {"sets": []},
            "vocabulary": {"size": 400, "sample_bytes": 100_000},
            "shards": {"valid_share": 0.1},
        }
    )
    target = tmp_path_factory.mktemp("run") / "out"
    prepare(Request((str(raw),), str(target), config))
    return target


@pytest.fixture(scope="module")
def audit(output):
    paths = sorted((output / "audit").glob("*.arrow"))
    rows = pa.concat_tables([pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in paths])
    return {row["record"].rpartition("#")[0]: row for row in rows.to_pylist()}


def test_records_are_conserved_and_what_was_left_empty_says_so(output, audit):
    manifest = read_manifest(output)
    assert manifest.counts.balanced()
    assert manifest.counts.input == len(audit) == 2 * PAGES + 3
    assert (manifest.counts.kept, manifest.counts.filtered, manifest.counts.duplicate) == (2 * PAGES, 2, 1)
    assert manifest.rules["boilerplate.empty"] == 2
    for name in ("manual/stub.txt", "manual/stub2.txt"):
        row = audit[name]
        assert (row["verdict"], row["rule"], row["chars_out"]) == ("filtered", "boilerplate.empty", 0)
        assert row["duplicate_of"] is None
        assert row["detail"].startswith("2 lines, ")


def test_the_audit_tells_what_was_cut(audit):
    for name, row in audit.items():
        touched = name.startswith("manual/")
        assert ("boilerplate" in row["repairs"]) == touched
        assert (row["detail"] is not None) == touched
        if touched and row["verdict"] == "kept":
            assert row["detail"] == f"2 lines, {len(MENU) + len(NOTICE) + 4} characters of boilerplate cut"
            assert row["chars_out"] < row["chars_in"] - len(MENU) - len(NOTICE)


def test_kept_documents_have_no_boilerplate(output, audit):
    model = SentencePieceProcessor(model_file=str(output / "vocabulary" / "siliang.model"))
    examples = pa.concat_tables(
        [
            pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            for split in ("train", "valid")
            for path in sorted((output / split).glob("*.arrow"))
        ]
    )
    texts = dict(zip(examples["doc_id"].to_pylist(), map(model.decode, examples["tokens"].to_pylist()), strict=True))
    assert len(texts) == 2 * PAGES
    assert set(texts) == {row["doc_id"] for row in audit.values() if row["verdict"] == "kept"}
    for text in texts.values():
        assert "manual" not in text
        assert text.lower().startswith("the ")
        assert text.lower().endswith("what is left of it.")


def test_the_report_shows_the_lines_escaped(output):
    write_report(output)
    page = (output / "report" / "index.html").read_text()
    assert "This page is part of &lt;b&gt;the manual&lt;/b&gt; &amp; free for all." in page
    assert "<b>the manual" not in page
    assert MENU in page


def test_what_was_cut_can_be_looked_at(output, capsys):
    rows = cut_lines(output, "manual")
    assert {row["line"] for row in rows} == {MENU, html.unescape(NOTICE)}
    assert all(row["documents"] >= PAGES for row in rows)
    assert cut_lines(output, "tales") == []
    assert run(["inspect", str(output), "--boilerplate", "--text"]) == 0
    assert MENU in capsys.readouterr().out
    assert run(["inspect", str(output), "--source", "manual"]) == 2
    assert "--duplicates or --boilerplate" in capsys.readouterr().err
