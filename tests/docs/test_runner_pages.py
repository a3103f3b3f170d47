"""Pages and examples for clusters: what cannot be run here is parsed by the programs that it is for."""

import ast
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
import yaml
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.cli import app as pipeline_app
from pipeline.doctor.runners import two_elements
from pipeline.runner import Execution
from trainer.cli import app as trainer_app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
APPS = {"siliang-pipeline": pipeline_app, "siliang-trainer": trainer_app}


def check(command: str) -> None:
    """Raises where one of our programs would not understand the command line, or Beam an option after `--`."""
    program, name, *arguments = shlex.split(command)
    beam: list[str] = []
    if "--" in arguments:
        cut = arguments.index("--")
        arguments, beam = arguments[:cut], arguments[cut + 1 :]
    group = typer.main.get_command(APPS[program])
    group.commands[name].make_context(name, list(arguments))
    known = PipelineOptions([]).get_all_options()  # Beam itself swallows what it does not know
    unknown = [option for option in beam if option.removeprefix("--").partition("=")[0] not in known]
    assert unknown == [], f"{command}: Beam knows no {unknown}"


def commands_for_clusters() -> list[tuple[str, str]]:
    found = []
    for page in sorted(DOCS.glob("*.md")):
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            found += [(page.name, line) for line in block.splitlines() if line.startswith("siliang-")]
    return found


@pytest.mark.parametrize(("page", "command"), commands_for_clusters())
def test_commands_for_clusters_are_understood(page, command):
    check(command)


def test_there_are_commands_and_wrong_ones_are_seen():
    assert len(commands_for_clusters()) >= 8
    with pytest.raises(AssertionError):
        check("siliang-pipeline prepare a --output b -- --no_such_option=1")
    with pytest.raises(Exception, match="No such option"):
        check("siliang-pipeline prepare a --output b --nonsense")


def test_the_airflow_example():
    tree = ast.parse((EXAMPLES / "airflow_siliang.py").read_text())
    texts = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert texts.keys() == {"PREPARE", "TRAIN", "EVALUATE"}
    for command in texts.values():
        check(command)


def test_the_github_actions_example():
    # YAML 1.1 reads the key `on` as true.
    workflow = yaml.safe_load((EXAMPLES / "github-actions.yaml").read_text())
    assert workflow[True]["push"]["paths"]
    steps = workflow["jobs"]["prepare"]["steps"]
    ours = [step["run"] for step in steps if step.get("run", "").startswith("siliang-")]
    assert len(ours) == 3
    for command in ours:
        check(command)


def test_the_slurm_example():
    path = EXAMPLES / "train.sbatch"
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text().replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if line.startswith("srun torchrun")]
    from torch.distributed.run import get_args_parser

    parsed = get_args_parser().parse_args(shlex.split(line)[2:])
    assert (parsed.module, parsed.training_script, parsed.nproc_per_node) == (True, "trainer", "4")
    check(shlex.join(["siliang-trainer", *parsed.training_script_args]))


def test_the_flink_manifests():
    found = list(yaml.safe_load_all((EXAMPLES / "flink-cluster.yaml").read_text()))
    kinds = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(kinds) == len(found) == 6
    for (kind, name), one in kinds.items():
        if kind == "Deployment":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"] == labels, name
        if kind == "Service":
            matching = [d for (k, _), d in kinds.items() if k == "Deployment"]
            assert one["spec"]["selector"] in [d["spec"]["selector"]["matchLabels"] for d in matching]
    pool = kinds["Deployment", "flink-taskmanager"]["spec"]["template"]["spec"]["containers"][1]
    assert pool["args"] == ["--worker_pool"]
    assert "localhost:50000" in (DOCS / "flink.md").read_text()
    assert pool["ports"] == [{"containerPort": 50000}]
    import apache_beam

    server = kinds["Deployment", "flink-job-server"]["spec"]["template"]["spec"]["containers"][0]
    assert server["image"].endswith(f":{apache_beam.__version__}")


@pytest.mark.timeout(90)
def test_a_worker_pool_of_its_own_runs_a_job():
    """What boot --worker_pool starts, and what --environment_type=EXTERNAL asks for, for real."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    # The pool starts `python` as PATH has it: in the image the one with all packages.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    pool = subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert pool.poll() is None
            time.sleep(0.1)
        options = ("--job_endpoint=embed", "--environment_type=EXTERNAL", f"--environment_config=localhost:{port}")
        (found,) = two_elements(Execution("PortableRunner", options=options))
        assert found.state == "ok", found
    finally:
        os.killpg(pool.pid, signal.SIGKILL)  # its workers, too
        pool.wait()
