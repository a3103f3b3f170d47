"""What is released: version, completion, schemas, bill of materials; and, slow, the wheel in a clean environment."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import jsonschema
import pytest

from pipeline.schema_command import config_schema as pipeline_schema
from trainer.schema_command import KINDS
from trainer.schema_command import config_schema as trainer_schema

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def run(*command: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=1500, **options)


def python(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, *command, cwd=ROOT, env=os.environ | environment)


@pytest.mark.parametrize(
    "command", [("-c", "from schemas.version import main; main(['--version'])"), ("-m", "trainer", "--version")]
)
def test_the_version(command):
    assert python(*command).stdout == f"siliang {VERSION}\n"


@pytest.mark.parametrize(
    ("module", "program", "typed", "wanted"),
    [
        ("pipeline", "siliang-pipeline", "siliang-pipeline pre", "prepare"),
        ("trainer", "siliang-trainer", "siliang-trainer train --res", "--resume"),
    ],
)
def test_the_shell_completes(module, program, typed, wanted):
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = python("-c", f"import sys; from {module}.cli import main; main()", **{variable: "complete_bash"}, **words)
    assert wanted in done.stdout.split(), done.stderr
    shown = python("-m", module, "--show-completion", "bash")
    assert variable in shown.stdout, shown.stderr


def test_the_schemas_accept_the_documented_configs_and_refuse_others():
    schemas = {"pipeline": pipeline_schema()} | {kind: trainer_schema(kind) for kind in KINDS}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for kind, path in (("pipeline", "docs/demo/pipeline.toml"), ("train", "docs/demo/trainer.toml")):
        values = tomllib.loads((ROOT / path).read_text())
        jsonschema.validate(values, schemas[kind])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**values, "no_such_section": {}}, schemas[kind])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"deduplicate": {"threshold": "high"}}, schemas["pipeline"])
    described = schemas["pipeline"]["$defs"]["VocabularyConfig"]["properties"]["size"]["description"]
    assert described.startswith("Pieces wanted")


@pytest.mark.slow
def test_the_commands_print_them():
    assert json.loads(python("-m", "pipeline", "schema").stdout) == json.loads(json.dumps(pipeline_schema()))
    assert json.loads(python("-m", "trainer", "schema", "finetune").stdout) == trainer_schema("finetune")
    assert python("-m", "trainer", "schema", "nothing").returncode == 2


def test_the_bill_of_materials_names_every_locked_version():
    spec = importlib.util.spec_from_file_location("sbom", ROOT / ".ci/sbom.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "constraints.txt").read_text()
    bill = module.bill(text, VERSION)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
    names = {f"{one['name']}=={one['version']}" for one in bill["components"]}
    locked = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() + "==" + line.split("==")[1] for line in text.split()}
    assert names == locked
    refs = [one["bom-ref"] for one in bill["components"]]
    assert len(refs) == len(set(refs))
    assert bill["dependencies"][0]["dependsOn"] == refs
    assert next(one for one in bill["components"] if one["name"] == "numpy")["licenses"]
    assert module.bill(text, VERSION) == bill
    assert run(sys.executable, ROOT / ".ci/sbom.py").stdout == json.dumps(bill, indent=1) + "\n"


def test_what_is_pinned_is_what_is_asked_for():
    """Every requirement of every extra has a locked version, which it accepts."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    locked = {canonicalize_name(name): pin for name, pin in locked.items()}
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [
        line for name in ("pipeline", "trainer", "docs", "dev") for line in extras[name]
    ]
    for line in wanted:
        requirement = Requirement(line)
        pin = locked.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(pin), f"{line}, locked is {pin}"


WITHOUT = """
import sys
# What only the extra dev brings along: the users' environment has none of it.
GONE = {"datasets", "datasketch", "hypothesis", "pandas", "polars", "scipy", "tokenizers", "torch"}
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name in GONE:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Gone())
from pipeline.cli import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.slow
def test_prepare_needs_nothing_but_its_extra(tmp_path):
    for number in range(3):
        for path in sorted((ROOT / "samples/moby-dick").glob("chapter_1*.txt"))[:4]:
            (tmp_path / "in").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "in" / f"{number}-{path.name}")
    (tmp_path / "config.toml").write_text(
        "[deduplicate]\ncontainment = 0.9\n[substrings]\nmin_words = 50\n[words]\nrare_low = 2\nrare_high = 9\n"
    )
    done = python(
        "-c", WITHOUT, "prepare", tmp_path / "in", "--output", tmp_path / "out", "--config", tmp_path / "config.toml"
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """dist/ with the wheel and the source distribution of the files that git knows."""
    tree = tmp_path_factory.mktemp("tree")
    for name in run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    done = run(sys.executable, "-m", "build", "--outdir", tree / "dist", cwd=tree)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "dist"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_wheel_holds_all_that_the_packages_need(built):
    (wheel,) = built.glob("*.whl")
    (source,) = built.glob("*.tar.gz")
    assert wheel.name == f"siliang-{VERSION}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for room in ("schemas", "pipeline", "trainer")
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".nbi", ".nbc")
    }
    assert wanted - names == set()
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]
    assert source.stat().st_size > 100_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_from_the_wheel_in_a_clean_environment(built, tmp_path):
    assert run(sys.executable, "-m", "venv", tmp_path / "venv").returncode == 0
    binaries = tmp_path / "venv/bin"
    (wheel,) = built.glob("*.whl")
    done = run(binaries / "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[pipeline,trainer]")
    assert done.returncode == 0, done.stderr
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    shutil.copytree(ROOT / "docs/demo", tmp_path / "demo")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for command in (
        ["siliang", "--version"],
        ["siliang-pipeline", "doctor"],
        ["siliang-pipeline", "prepare", "samples", "--output", "data", "--config", "demo/pipeline.toml"],
        ["siliang-pipeline", "verify", "data"],
        ["siliang-trainer", "train", "data", "--output", "model", "--config", "demo/trainer.toml",
         "--set", "schedule.by=steps", "--set", "schedule.steps=5"],
        ["siliang-trainer", "fill", "model", "Call me [MASK]."],
    ):  # fmt: skip
        done = run(binaries / command[0], *command[1:], cwd=tmp_path, env=environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "data/report/index.html").stat().st_size > 10_000
