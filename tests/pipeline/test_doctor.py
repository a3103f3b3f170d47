"""What the doctor says of this machine, and of what is missing: real checks on real and on broken places."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.doctor import machine, runners
from pipeline.runner import Execution
from schemas.finding import looked

ROOT = Path(__file__).parents[2]


def doctor(*arguments: str, **environment: str) -> tuple[int, dict[str, dict]]:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "doctor", "--json", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, {one["subject"]: one for one in map(json.loads, done.stdout.splitlines())}


def test_this_machine_is_sound(tmp_path):
    code, found = doctor("--workers", "2", "--output", str(tmp_path), OMP_NUM_THREADS="1")
    assert code == 0, found
    assert {"python", "packages", "cores", "memory", "disk", "write access", "numba kernel", "Beam"} <= found.keys()
    assert found["two-element job"]["state"] == "ok"
    assert "2 worker(s)" in found["two-element job"]["found"]
    assert "apache-beam 2." in found["packages"]["found"]
    assert all(one["remedy"] for one in found.values() if one["state"] != "ok")
    assert list(tmp_path.iterdir()) == []


def test_what_dataflow_lacks_is_named_with_the_line_that_mends_it(tmp_path):
    code, found = doctor("--runner", "dataflow", "--output", "/proc/nowhere", NUMBA_CACHE_DIR="/proc/none/at/all")
    assert code == 1
    for option in ("--project", "--region", "--temp_location", "--staging_location"):
        assert found[option]["state"] == "fail"
        assert found[option]["remedy"].startswith(f"-- {option}=")
    assert "docker build -f docker/pipeline.Dockerfile" in found["--sdk_container_image"]["remedy"]
    assert found["write access"]["state"] == "fail"
    assert found["kernel cache"]["state"] == "warn"
    assert found["kernel cache"]["remedy"].startswith("export NUMBA_CACHE_DIR=")
    assert found["translation"]["state"] == "ok"
    given = ["--project=p", "--region=r", "--temp_location=gs://bucket/tmp", "--sdk_container_image=image"]
    told = {one.subject: one for one in runners.dataflow(Execution("DataflowRunner", 1, tuple(given)))}
    assert all(told[option].state == "ok" for option in ("--project", "--region", "--temp_location"))
    assert told["--sdk_container_image"].found == "image"


@pytest.mark.parametrize(("kind", "runner"), [("flink", "FlinkRunner"), ("spark", "SparkRunner")])
def test_what_a_java_runner_lacks(kind, runner, tmp_path):
    jar = tmp_path / "none.jar"
    options = (f"--{kind}_job_server_jar={jar}", "--job_server_java_launcher=no-java-here", "--environment_type=DOCKER")
    if kind == "flink":
        options += ("--flink_master=cluster:8081", "--flink_version=1.20")
    else:
        options += ("--spark_master_url=spark://cluster:7077",)
    found = {one.subject: one for one in runners.cluster(kind, Execution(runner, 1, options))}
    assert (found["java"].state, found["java"].remedy) == ("fail", "apt-get install openjdk-17-jre-headless")
    assert found["job server"].state == "fail"
    assert str(jar) in found["job server"].found
    assert f"beam-runners-{kind}-" in found["job server"].remedy
    assert found["workers' Python"].state == "warn"
    assert "--environment_type=EXTERNAL" in found["workers' Python"].remedy
    assert "two-element job" not in found, "without a job server nothing is started"


def test_a_package_too_old_or_missing_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "siliang-9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: siliang\nVersion: 9\nRequires-Dist: numpy>=99\n"
        'Requires-Dist: no-such-package; extra == "pipeline"\nRequires-Dist: torch>=99; extra == "trainer"\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {one.subject: one for one in machine.versions("pipeline")}["packages"]
    assert found.state == "fail"
    assert "numpy" in found.found
    assert "is not >=99" in found.found
    assert "no-such-package is missing" in found.found
    assert "torch" not in found.found
    assert found.remedy == "pip install -c constraints.txt 'siliang[pipeline]'"


def test_a_check_that_breaks_is_a_finding():
    def broken():
        yield from ()
        raise ImportError("libcud.so: cannot open shared object file")

    (found,) = looked("packages", broken)
    assert (found.subject, found.state) == ("packages", "fail")
    assert "cannot open shared object file" in found.found


def test_more_workers_than_cores_or_memory():
    found = {one.subject: one for one in machine.size(10_000)}
    assert found["cores"].state == "warn"
    assert found["cores"].remedy == f"--workers {machine.cores()}"
    assert found["memory"].state in ("warn", "fail")
