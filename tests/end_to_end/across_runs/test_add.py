"""`prepare --add`: new files on a finished output keep what one run over everything keeps."""

import gzip
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.addition import config_of, joins_others, read_addition, unread_files
from pipeline.io.filesystem import digest
from pipeline.io.inputs import InputError, list_inputs
from pipeline.run import Request, prepare
from pipeline.stages.parts import PartRecord
from pipeline.workspace import OutputError
from schemas.manifest import read_manifest, verify_files

pytestmark = pytest.mark.xdist_group("across")


def bytes_of(output: Path) -> bytes:
    return (output / "manifest.json").read_bytes()


@pytest.fixture(scope="module")
def added(halves, first, settings, tmp_path_factory) -> Path:
    """b added to the output of a, whose files are not read again."""
    output = Path(shutil.copytree(first, tmp_path_factory.mktemp("added") / "old-run"))
    prepare(Request((f"b={halves.b}",), str(output), config_of(str(output)), add=True))
    return output


def test_the_kept_set_of_one_run_over_everything(halves, first, added, settings, outputs, tmp_path):
    prepare(Request((f"a={halves.a}", f"b={halves.b}"), str(tmp_path / "joint"), settings))
    one, other = read_manifest(tmp_path / "joint"), read_manifest(added)
    assert other.counts == one.counts
    assert other.sources == one.sources
    assert other.rules == one.rules

    def told(output: Path) -> dict[tuple[str, str], tuple]:
        """A file of the first run lies one directory higher there than in a run with two INPUTs."""
        return {
            (row["source"], record.removeprefix(f"{row['source']}/")): (
                row["verdict"],
                row["rule"],
                row["duplicate_of"],
            )
            for record, row in outputs.audit(output).items()
        }

    assert told(added) == told(tmp_path / "joint")
    before = outputs.audit(first)
    lost = [r for r, row in outputs.audit(added).items() if r in before and row["verdict"] != before[r]["verdict"]]
    assert lost, "some new documents come before old ones that they resemble"


def test_old_parts_stay_and_the_vocabulary_does(first, added):
    for path in sorted((first / "stages/clean").rglob("*.arrow")):
        assert (added / path.relative_to(first)).stat().st_mtime_ns == path.stat().st_mtime_ns
    assert (added / "vocabulary/siliang.model").read_bytes() == (first / "vocabulary/siliang.model").read_bytes()
    manifest = read_manifest(added)
    parts = len(read_manifest(first).under("audit"))
    assert len(manifest.under("audit")) > parts > 1
    assert f"learnt from the first {parts} parts alone" in manifest.vocabulary_note
    assert [problem for _, problem in verify_files(added, manifest) if problem] == []
    # Tokens of parts that keep the same documents are not made again.
    tokens = sorted((first / "stages/count/train").iterdir())
    same = [(added / p.relative_to(first)).stat().st_mtime_ns == p.stat().st_mtime_ns for p in tokens]
    assert any(same)
    assert not all(same)


def test_the_same_files_again_change_nothing(halves, added):
    before = bytes_of(added)
    prepare(Request((f"b={halves.b}",), str(added), config_of(str(added)), add=True))
    prepare(Request((f"a={halves.a}",), str(added), config_of(str(added)), add=True))
    assert bytes_of(added) == before


@pytest.mark.parametrize(
    "when",
    [
        pytest.param("stages/addition.json", marks=pytest.mark.slow),
        pytest.param("stages/clean/parts/00002.json", marks=pytest.mark.slow),
        pytest.param("stages/deduplicate/copies/00003.arrow", marks=pytest.mark.slow),
        pytest.param("stages/count/parts/00003.json", marks=pytest.mark.slow),
    ],
)
def test_a_killed_addition_goes_on_to_the_same_bytes(halves, added, first_copy, root, when):
    parts = len(read_manifest(first_copy).under("audit"))
    when = when.replace("00002.json", f"{parts:05d}.json").replace("00003.json", f"{parts:05d}.json")
    if when.endswith(".arrow"):
        shutil.rmtree((first_copy / when).parent)
    command = [sys.executable, "-m", "pipeline", "prepare", f"b={halves.b}", "--output", str(first_copy), "--add"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (first_copy / when).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert f"adding 7 files to {parts} parts" in done.stdout + done.stderr
    assert bytes_of(first_copy) == bytes_of(added)


@pytest.mark.slow
def test_two_additions_and_earlier_runs(halves, first_copy, settings, outputs, tmp_path):
    """An output that was prepared against another one stays so."""
    output = tmp_path / "new-run"
    against = (str(first_copy),)
    prepare(Request((f"b={halves.b / 'moby-dick'}",), str(output), settings, against=against))
    with pytest.raises(OutputError, match="give the same outputs"):
        prepare(Request((f"c={halves.b / 'edited'}",), str(output), settings, add=True))
    prepare(Request((f"c={halves.b / 'edited'}",), str(output), settings, against=against, add=True))
    prepare(Request((f"d={halves.b / 'copied'}",), str(output), settings, against=against, add=True))
    manifest = read_manifest(output)
    assert sorted(manifest.sources) == ["b", "c", "d"]
    assert "learnt from the first 1 parts" in manifest.vocabulary_note
    inputs = tuple(f"{n}={halves.b / d}" for n, d in zip("bcd", ("moby-dick", "edited", "copied"), strict=True))
    prepare(Request(inputs, str(tmp_path / "joint"), settings, against=against))
    assert read_manifest(tmp_path / "joint").counts == manifest.counts


# ---- outputs and files that cannot be used


def test_an_output_that_is_not_finished(first_copy, tmp_path):
    with pytest.raises(OutputError, match="holds no finished output"):
        read_addition(str(tmp_path))
    (first_copy / "manifest.json").unlink()
    with pytest.raises(OutputError, match="no finished output"):
        config_of(str(first_copy))


@pytest.mark.parametrize("path", ["clean/parts/00001.json", "clean/documents/00000.arrow", "vocabulary/done.json"])
def test_a_part_that_is_gone_is_named(halves, first_copy, settings, path):
    (first_copy / "stages" / path).unlink()
    with pytest.raises(OutputError, match=path):
        prepare(Request((f"b={halves.b / 'copied'}",), str(first_copy), settings, add=True))


def test_another_config_is_an_error(halves, first_copy, settings):
    other = settings.model_copy(update={"input": settings.input.model_copy(update={"split_characters": 900})})
    with pytest.raises(OutputError, match="split_characters"):
        prepare(Request((f"b={halves.b}",), str(first_copy), other, add=True))


def records(digests: dict[str, str], quarantined: tuple[str, ...] = (), source: str = "in") -> list[PartRecord]:
    facts = {"input_digests": digests, "quarantined_files": dict.fromkeys(quarantined, 1), "sources": {source: {}}}
    return [PartRecord(0, "key", (), facts)]


def test_only_unread_files_are_taken(tmp_path):
    names = ("old.txt", "new.txt", "split.jsonl", "odd.bin", "old.txt.gz")
    for name in names:
        (tmp_path / name).write_bytes(b"\0\1\2" if name == "odd.bin" else f"text of {name}\n".encode())
    (tmp_path / "old.txt.gz").write_bytes(gzip.compress(b"another text", mtime=0))
    files = list_inputs([str(tmp_path)])
    split = str(tmp_path / "split.jsonl")
    size = os.path.getsize(split)
    read = {
        "old.txt": digest(str(tmp_path / "old.txt")),
        "split.jsonl//0-7": digest(split, 0, 7),
        f"split.jsonl//7-{size}": digest(split, 7, size),
    }
    found = unread_files(files, records(read, ("odd.bin",)))
    assert [file.relative for file in found] == ["new.txt", "old.txt.gz"]
    for name in ("old.txt", "split.jsonl"):
        (tmp_path / name).write_text((tmp_path / name).read_text().replace("text", "tent"))
        with pytest.raises(InputError, match=f"{name}.*another file"):
            unread_files(list_inputs([str(tmp_path / name)]), records(read))
        (tmp_path / name).write_text((tmp_path / name).read_text().replace("tent", "text"))
    (tmp_path / "split.jsonl").write_text("text of split.jsonl\nand one more line\n")
    with pytest.raises(InputError, match="another file"):
        unread_files(list_inputs([str(tmp_path)]), records(read))


@pytest.mark.parametrize(
    ("inputs", "digests", "source", "joins"),
    [
        (["new"], {"a.txt": ""}, "in", False),
        (["2025=new"], {"a.txt": ""}, "in", True),
        (["2025=new"], {"a.txt": ""}, "2025", False),
        (["2025=new"], {"2025/a.txt": "", "2024/a.txt": ""}, "2025", True),
        (["2025=new", "2026=newer"], {"a.txt": ""}, "in", False),
    ],
)
def test_names_are_those_of_a_run_over_everything(inputs, digests, source, joins):
    assert joins_others(inputs, records(digests, source=source)) == joins
