"""Outputs with odd names or in odd places, and inputs of very many small files."""

import os
from pathlib import Path

import pytest

from pipeline.config import PipelineConfig
from pipeline.io.inputs import list_inputs
from pipeline.io.read import read_files
from schemas.manifest import read_manifest

SPEECHES = Path(__file__).parent.parent.parent / "samples/sotu"


def passages() -> list[str]:
    found = []
    for path in sorted(SPEECHES.glob("*.txt")):
        words = path.read_text(encoding="utf-8").split()
        found += [" ".join(words[at : at + 150]) + "." for at in range(0, len(words) - 150, 150)]
    return found


def good_directory(path: Path, count: int = 6) -> Path:
    path.mkdir(parents=True)
    for number, text in enumerate(passages()[:count]):
        (path / f"{number}.txt").write_text(text)
    return path


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text("[vocabulary]\nsize = 500\n")
    return path


def test_an_output_inside_of_the_input_is_no_input(tmp_path, config, siliang_pipeline):
    source = good_directory(tmp_path / "in")
    (tmp_path / "link").symlink_to(source)
    for place in (source, tmp_path / "link"):
        done = siliang_pipeline("prepare", place, "--output", source / "out", "--config", config)
        assert done.returncode == 0, done.stderr
        assert read_manifest(source / "out").counts.input == 6
    done = siliang_pipeline("prepare", source / "out", "--output", source / "out", "--config", config)
    assert done.returncode == 2
    assert "lies in --output" in done.stderr


def test_an_output_that_holds_anything_else_is_refused(tmp_path, config, siliang_pipeline):
    source = good_directory(tmp_path / "in")
    mine = tmp_path / "mine/train/precious.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    done = siliang_pipeline("prepare", source, "--output", tmp_path / "mine", "--config", config)
    assert done.returncode == 2
    assert "not this program's" in done.stderr
    assert mine.read_text() == "precious"


@pytest.mark.parametrize("output", ["", b"bad\xff"])
def test_an_output_that_cannot_be(tmp_path, siliang_pipeline, output):
    source = good_directory(tmp_path / "in")
    name = os.fsdecode(output)
    done = siliang_pipeline("prepare", source, "--output", str(tmp_path / name) if name else "")
    assert done.returncode == 2, done.stderr
    assert "--output" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", [pytest.param("o[/b]", marks=pytest.mark.slow), " a::b :smile: [1]* "])
def test_odd_output_names(tmp_path, config, siliang_pipeline, name):
    source = good_directory(tmp_path / "in")
    for _ in range(2):
        done = siliang_pipeline("prepare", source, "--output", tmp_path / name, "--config", config)
        assert done.returncode == 0, done.stderr
        assert f"{name}/report/index.html" in done.stdout
    assert siliang_pipeline("verify", tmp_path / name).returncode == 0


def test_small_files_share_batches(tmp_path):
    """A batch costs milliseconds: 5,000 files of 300 bytes took 41 s when each had its own."""
    texts = passages()
    for number in range(1500):
        (tmp_path / f"{number}.txt").write_text(texts[number % len(texts)][:300])
    batches = list(read_files(list_inputs([str(tmp_path)]), PipelineConfig().input))
    assert [len(batch) for batch in batches] == [1024, 476]
