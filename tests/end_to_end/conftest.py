"""One small real corpus, prepared once, for the tests that look at a finished output."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import PipelineConfig, load_config
from pipeline.run import Request, prepare

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "samples"

# Small units and shards, so that there are several parts of everything.
TOML = """
[input]
text_fields = ["text", "paragraphs"]
split_characters = 1500
unit_bytes = 60_000
max_quarantined = 0.2
[rules]
sets = ["siliang", "gopher-quality"]
[vocabulary]
size = 2000
sample_bytes = 400_000
[shards]
valid_share = 0.1
shard_tokens = 20_000
[words]
rare_low = 2
rare_high = 8
contexts = 3
"""


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    """A few files of every kind from samples/, two of them copies, and one truncated stream."""
    root = tmp_path_factory.mktemp("raw")
    for pattern in (
        "sotu/18*.txt",
        "moby-dick/chapter_1*.txt",
        "milton/areopagitica*.txt",
        "udhr-html/[cfsae]*.html",
        "python-tutorial-html/[ai]*.html",
        "zh-classics/lunyu.json",
        "rfc/rfc2549.txt",
    ):
        for path in sorted(SAMPLES.glob(pattern)):
            target = root / path.relative_to(SAMPLES)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
    (root / "broken").mkdir()
    (root / "broken" / "cut.txt.gz").write_bytes(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03cut off")
    (root / "broken" / "rows.jsonl").write_text('{"text": "too short"}\n{"text": 7}\n{oops\n{"text": "too short"}\n')
    return root


@pytest.fixture(scope="session")
def config(config_file) -> PipelineConfig:
    return load_config(config_file)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's directory: where commands run."""
    return ROOT


@pytest.fixture(scope="session")
def prepared(raw, config, tmp_path_factory) -> Path:
    """The corpus prepared by one worker in this process."""
    output = tmp_path_factory.mktemp("prepared") / "data"
    prepare(Request((str(raw),), str(output), config))
    return output


@pytest.fixture(scope="session")
def config_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(TOML)
    return path


@pytest.fixture(scope="session")
def siliang_pipeline():
    """Runs the command line as a user does; returns the finished process."""

    def run(*arguments: object, **options):
        command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, **options)

    return run
