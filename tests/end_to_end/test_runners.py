"""Every job on runners beside the local one: Beam's job service in this process; Flink and Spark where given.

SILIANG_FLINK_JAR, SILIANG_SPARK_JAR: files of Beam's job servers; Java must be there. `make test-flink` names them.
"""

import os
import shutil
from pathlib import Path

import pytest

from pipeline.config import make_config
from pipeline.run import Request, prepare
from pipeline.runner import Execution

ALL = {
    "input": {
        "text_fields": ["text", "paragraphs"],
        "split_characters": 1500,
        "unit_bytes": 60_000,
        "max_quarantined": 0.2,
    },
    "boilerplate": {"min_documents": 3},
    "deduplicate": {"partitions": 2, "resolution": "rounds", "containment": 0.9, "bucket_cap": 2},
    "substrings": {"min_words": 30},
    "vocabulary": {"size": 1000, "sample_bytes": 100_000},
    "words": {"rare_low": 2, "rare_high": 400, "contexts": 3, "max_distinct": 1024, "ngrams": 2, "families": True},
    "shards": {"valid_share": 0.1, "test_share": 0.1, "shard_tokens": 20_000},
}
"""Switches on every job that there is: rounds of resolution, overfull buckets, containment, heavy words, ..."""
STAGES = {
    "boilerplate/survey", "boilerplate/count", "deduplicate/contained-pairs", "deduplicate/further-001",
    "substrings/cut", "vocabulary/candidates", "count/words_heavy", "encode/windows", "encode/notes",
}  # fmt: skip


def texts(directory: Path, raw: Path) -> Path:
    for name in ("moby-dick", "milton", "broken"):
        shutil.copytree(raw / name, directory / name)
    copies = directory / "copies"
    copies.mkdir()
    whole = sorted((raw / "moby-dick").iterdir())[0].read_text()
    for number in range(5):
        (copies / f"{number}.txt").write_text(f"Printed for the reader number {number}, on paper.\n\n" + whole)
    return directory


@pytest.fixture(scope="module")
def expected(raw, tmp_path_factory) -> tuple[Path, bytes]:
    """(inputs, manifest as the local runner makes it)."""
    inputs = texts(tmp_path_factory.mktemp("inputs"), raw)
    output = tmp_path_factory.mktemp("local") / "data"
    prepare(Request((str(inputs),), str(output), make_config(ALL)))
    for stage in STAGES:
        assert (output / "stages" / stage / "tasks.jsonl").exists(), f"{stage} did not run: the test would not see it"
    return inputs, (output / "manifest.json").read_bytes()


def same(expected: tuple[Path, bytes], output: Path, execution: Execution) -> None:
    prepare(Request((str(expected[0]),), str(output), make_config(ALL), execution=execution))
    assert (output / "manifest.json").read_bytes() == expected[1]


@pytest.mark.slow
@pytest.mark.xdist_group("prepared")
def test_every_job_on_the_job_service(expected, tmp_path):
    options = ("--job_endpoint=embed", "--environment_type=LOOPBACK")
    same(expected, tmp_path / "out", Execution("PortableRunner", options=options))


@pytest.mark.cluster
@pytest.mark.xdist_group("prepared")
@pytest.mark.parametrize("kind", ["flink", "spark"])
def test_every_job_on_a_java_runner(expected, tmp_path, kind):
    jar = os.environ.get(f"SILIANG_{kind.upper()}_JAR")
    if not jar or not Path(jar).is_file() or shutil.which("java") is None:
        pytest.skip(f"needs Java and SILIANG_{kind.upper()}_JAR, the file of Beam's job server")
    options = (f"--{kind}_job_server_jar={jar}", "--environment_type=LOOPBACK")
    if kind == "flink":
        options += ("--flink_master=[local]", f"--flink_version={os.environ.get('SILIANG_FLINK_VERSION', '1.20')}")
        options += ("--parallelism=2",)
    same(expected, tmp_path / "out", Execution("FlinkRunner" if kind == "flink" else "SparkRunner", options=options))
