"""The Beam runner: a job of two elements where it can be run, and what a cluster's runner still needs."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PortableOptions,
    SparkRunnerOptions,
    WorkerOptions,
)
from apache_beam.utils.subprocess_server import JavaJarServer

from pipeline.jobs import JobError
from pipeline.runner import Execution, run_job
from pipeline.workers.harness import unsupported
from schemas.finding import Finding

JAVA = (11, 17, 21)
"""Versions that Beam's job servers are released for."""
JAR_PATIENCE = 10.0


def _write(number: int, directory: str) -> None:
    (Path(directory) / str(number)).write_text(str(number))


def two_elements(execution: Execution) -> Iterator[Finding]:
    """Runs a job whose two elements, each on some worker, write a file."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:

        def build(pipeline: beam.Pipeline) -> None:
            _ = pipeline | beam.Create([1, 2]) | beam.Reshuffle() | beam.Map(_write, directory)

        try:
            run_job("doctor", build, execution, 2)
        except JobError as error:
            yield Finding(
                "two-element job",
                "fail",
                f"{execution.runner}: {error}",
                "pip install -c constraints.txt 'siliang[pipeline]'",
            )
            return
        written = sorted(path.name for path in Path(directory).iterdir())
    took = time.perf_counter() - started
    if written == ["1", "2"]:
        told = f"{execution.runner} with {execution.workers} worker(s), {took:.1f} s"
        yield Finding("two-element job", "ok", told)
    else:
        yield Finding(
            "two-element job", "fail", f"{execution.runner}: wrote {written}, not 1 and 2", "run it with --workers 1"
        )


def beam_version() -> Iterator[Finding]:
    reason = unsupported()
    yield Finding(
        "Beam",
        "warn" if reason else "ok",
        f"{reason}: local workers start anew for every job" if reason else beam.__version__,
        "pip install -c constraints.txt apache-beam" if reason else "",
    )


def dataflow(execution: Execution) -> Iterator[Finding]:
    options = execution.beam_options()
    cloud = options.view_as(GoogleCloudOptions)
    for name, example in (
        ("project", "MY-PROJECT"),
        ("region", "europe-west1"),
        ("temp_location", "gs://MY-BUCKET/tmp"),
        ("staging_location", "gs://MY-BUCKET/staging"),
    ):
        value = getattr(cloud, name)
        derived = name == "staging_location" and cloud.temp_location
        good = bool(value or derived) and (not name.endswith("location") or str(value or derived).startswith("gs://"))
        yield Finding(
            f"--{name}",
            "ok" if good else "fail",
            str(value or derived or "not given"),
            "" if good else f"-- --{name}={example}",
        )
    image = options.view_as(WorkerOptions).sdk_container_image
    yield Finding(
        "--sdk_container_image",
        "ok" if image else "fail",
        image or "not given: workers would lack siliang",
        ""
        if image
        else "docker build -f docker/pipeline.Dockerfile -t REGION-docker.pkg.dev/PROJECT/siliang/pipeline . "
        "&& docker push REGION-docker.pkg.dev/PROJECT/siliang/pipeline, then "
        "-- --sdk_container_image=REGION-docker.pkg.dev/PROJECT/siliang/pipeline",
    )
    missing = [name for name in ("apitools", "google.cloud.storage", "gcsfs") if not _there(name)]
    yield Finding(
        "extra gcp",
        "fail" if missing else "ok",
        f"not installed: {', '.join(missing)}" if missing else "installed",
        "pip install -c constraints.txt 'siliang[pipeline,gcp]'" if missing else "",
    )
    key = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    place = Path(key) if key else Path.home() / ".config/gcloud/application_default_credentials.json"
    # On a machine of Google's the metadata server has them; only a call would tell.
    yield Finding(
        "credentials",
        "ok" if place.is_file() else "warn",
        f"{place}{'' if place.is_file() else ' is not there'}",
        "" if place.is_file() else "gcloud auth application-default login",
    )
    if "apitools" not in missing:
        yield from _translation(execution)


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent package
        return False


def _translation(execution: Execution) -> Iterator[Finding]:
    """Dataflow's own translation of a graph, offline."""
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

    given = [option for option in execution.options if option.split("=")[0] not in _OFFLINE]
    offline = [f"{name}={value}" if value else name for name, value in _OFFLINE.items()]
    runner = DataflowRunner()
    pipeline = beam.Pipeline(runner=runner, options=Execution("DataflowRunner", 1, (*given, *offline)).beam_options())
    _ = pipeline | beam.Create([b"1", b"2"]) | beam.Reshuffle() | beam.Map(len)
    pipeline.run()
    yield Finding("translation", "ok", f"{len(runner.proto_pipeline.components.transforms)} steps")


_OFFLINE = {
    "--dry_run": "True",
    "--no_auth": "",
    "--project": "doctor-project",
    "--region": "us-central1",
    "--temp_location": "gs://siliang-doctor/tmp",
    "--staging_location": "gs://siliang-doctor/staging",
    "--sdk_location": "container",
    "--sdk_container_image": "siliang/pipeline:doctor",
    "--job_name": "siliang-doctor",
}
"""What makes Dataflow translate a job and send nothing. Buckets of one or two letters would be looked for."""


def java(launcher: str) -> Iterator[Finding]:
    path = shutil.which(launcher)
    install = "apt-get install openjdk-17-jre-headless"
    if path is None:
        yield Finding("java", "fail", f"'{launcher}' is not there", install)
        return
    told = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=60).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    major = int(found[1]) if found else 0
    good = major in JAVA
    yield Finding("java", "ok" if good else "warn", f"{path}, {major}", "" if good else install)


def job_server_jar(kind: str, given: str | None, target: str, cache: str | None) -> Iterator[Finding]:
    """Of Flink or Spark: a file, or already in Beam's cache; without either Beam would fetch it at the start."""
    name = JavaJarServer.path_to_beam_jar(target).rsplit("/", 1)[-1]
    artifact = name.removesuffix(f"-{beam.__version__}.jar")
    place = Path(given) if given else Path(cache or Path.home() / ".apache_beam/cache/jars") / name
    if place.is_file():
        yield Finding("job server", "ok", str(place))
        return
    yield Finding(
        "job server",
        "fail" if given else "warn",
        f"{place} is not there" + ("" if given else "; Beam will fetch it at the start, which needs a network"),
        f"mvn dependency:copy -Dartifact=org.apache.beam:{artifact}:{beam.__version__} -DoutputDirectory=. "
        f"and -- --{kind}_job_server_jar={name}",
    )


def environment(kind: str, master: str, local: bool, given: str | None, config: str | None) -> Iterator[Finding]:
    """Where the Python of a cluster's workers comes from."""
    if local:
        yield Finding("workers' Python", "ok", f"{given or 'LOOPBACK'}: the submitting process, for {master}")
    elif given is None or given == "DOCKER":
        yield Finding(
            "workers' Python",
            "warn" if given else "fail",
            f"{given or 'environment_type not given, so DOCKER'}: every worker machine needs a Docker engine",
            "-- --environment_type=EXTERNAL --environment_config=localhost:50000 with the worker pool of docs/"
            f"{kind}.md beside every worker",
        )
    elif given in ("EXTERNAL", "PROCESS") and not config:
        yield Finding(
            "workers' Python",
            "fail",
            f"{given} without --environment_config",
            "-- --environment_config=localhost:50000",
        )
    else:
        yield Finding("workers' Python", "ok", f"{given} {config or ''}".strip())


def cluster(kind: str, execution: Execution) -> Iterator[Finding]:
    """What Flink or Spark needs and, where Java and the jar are there, a job on it."""
    findings = list(flink(execution) if kind == "flink" else spark(execution))
    yield from findings
    if {one.state for one in findings if not one.subject.startswith("--")} == {"ok"}:
        yield from two_elements(execution)


def flink(execution: Execution) -> Iterator[Finding]:
    options = execution.beam_options()
    own, portable = options.view_as(FlinkRunnerOptions), options.view_as(PortableOptions)
    told = any(option.startswith("--flink_version") for option in execution.options)
    yield Finding(
        "--flink_version",
        "ok" if told else "warn",
        f"{own.flink_version}{'' if told else ' by default'}; Beam knows {', '.join(own.PUBLISHED_FLINK_VERSIONS)}",
        "" if told else "-- --flink_version=1.20, the cluster's",
    )
    yield from java(options.get_all_options().get("job_server_java_launcher") or "java")
    target = f":runners:flink:{own.flink_version}:job-server:shadowJar"
    yield from job_server_jar("flink", own.flink_job_server_jar, target, options.get_all_options().get("jar_cache_dir"))
    local = own.flink_master in ("[local]", "[auto]")
    yield from environment("flink", own.flink_master, local, portable.environment_type, portable.environment_config)


def spark(execution: Execution) -> Iterator[Finding]:
    options = execution.beam_options()
    own, portable = options.view_as(SparkRunnerOptions), options.view_as(PortableOptions)
    yield from java(options.get_all_options().get("job_server_java_launcher") or "java")
    cache = options.get_all_options().get("jar_cache_dir")
    yield from job_server_jar("spark", own.spark_job_server_jar, ":runners:spark:3:job-server:shadowJar", cache)
    local = str(own.spark_master_url).startswith("local")
    yield from environment("spark", own.spark_master_url, local, portable.environment_type, portable.environment_config)
