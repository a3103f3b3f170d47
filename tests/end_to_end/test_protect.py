"""`prepare --protect`: from the command line to audit and manifest."""

import hashlib
import json

import pyarrow as pa
import pytest

from pipeline.cli import run
from pipeline.stages.clean import CleanUnit
from schemas.manifest import read_manifest

ITEM = "the ferryman counted his silver twice before he let the strangers step aboard the narrow boat"


def page(number: int) -> str:
    names = ["harbour", "orchard", "railway", "theatre", "quarry", "library", "garrison", "vineyard"]
    first, second, third = (names[(number // 8**k) % 8] for k in range(3))
    return (
        f"The {first} of the town number {number} was built by people who lived near the {second} of the valley, and "
        f"it is said that the old {third} which stood there before had been taken down with great care in that year."
    )


def rows_of(output):
    paths = sorted((output / "audit").glob("*.arrow"))
    rows = pa.concat_tables([pa.ipc.open_file(str(path)).read_all() for path in paths]).to_pylist()
    return {row["record"]: row for row in rows}


@pytest.fixture
def corpus(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    texts = [page(number) for number in range(30)]
    texts[3] = f"{texts[3]}\n({ITEM.upper()}, he wrote.)\n{page(50)}"
    for part in range(2):
        lines = [json.dumps({"text": text}) for text in texts[15 * part : 15 * part + 15]]
        (raw / f"{part}.jsonl").write_text("\n".join(lines))
    sets = tmp_path / "sets"
    sets.mkdir()
    (sets / "dev.tsv").write_text(f"1\tof no matter at all, but long enough to be protected here\n0\t{ITEM}\n")
    (tmp_path / "config.toml").write_text(
        '[input]\nunit_bytes = 100\n[rules]\nsets = []\n[vocabulary]\nsize = 300\n[protect]\naction = "ACTION"\n'
    )
    return tmp_path


def prepare(corpus, output: str, action: str) -> int:
    config = corpus / f"{action}.toml"
    config.write_text((corpus / "config.toml").read_text().replace("ACTION", action))
    return run(
        ["prepare", str(corpus / "raw"), "--output", str(corpus / output), "--config", str(config),
         "--protect", str(corpus / "sets")]
    )  # fmt: skip


def test_dropped_named_and_recorded(corpus, capsys):
    assert prepare(corpus, "out", "drop") == 0
    assert "2 texts of 2 items; 0 items are too short" in capsys.readouterr().err
    rows = rows_of(corpus / "out")
    gone = [name for name, row in rows.items() if row["verdict"] != "kept"]
    assert gone == ["0.jsonl#4"]
    row = rows["0.jsonl#4"]
    assert (row["verdict"], row["rule"], row["kind"]) == ("filtered", "protected", "protected")
    assert row["detail"] == "shares 'the ferryman counted his silver twice before he ...' (16 words) with dev.tsv#2"
    manifest = read_manifest(corpus / "out")
    digest = hashlib.sha256((corpus / "sets" / "dev.tsv").read_bytes()).hexdigest()
    assert manifest.config["protect"]["files"] == {"dev.tsv": digest}
    assert str(corpus) not in manifest.model_dump_json()
    assert manifest.rules["protected"] == 1
    # Another set is another corpus.
    (corpus / "sets" / "dev.tsv").write_text(ITEM)
    assert prepare(corpus, "out", "drop") == 2
    assert "protect.files.dev.tsv" in capsys.readouterr().err


@pytest.mark.slow
def test_cut_is_the_same_after_a_failure(corpus, monkeypatch):
    whole = CleanUnit.__call__

    def failing(self, spec, part):
        if part.index == 1:
            raise OSError("no space left")
        return whole(self, spec, part)

    with monkeypatch.context() as patch:
        patch.setattr(CleanUnit, "__call__", failing)
        assert prepare(corpus, "out", "cut") == 1
    assert prepare(corpus, "out", "cut") == 0
    assert prepare(corpus, "two", "cut") == 0
    rows = rows_of(corpus / "out")
    assert {row["verdict"] for row in rows.values()} == {"kept"}
    row = rows["0.jsonl#4"]
    assert row["repairs"] == ["protected"]
    assert row["detail"].startswith("1 sentence cut: shares 'the ferryman")
    assert row["chars_out"] == len(f"{page(3)}\n{page(50)}")
    assert read_manifest(corpus / "out") == read_manifest(corpus / "two")
