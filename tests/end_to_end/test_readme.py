"""Every command that README.md shows is run here, in its order, as a user would type it."""

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line.split("    #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A directory that looks like the project's to the commands, so that nothing is written into the project."""
    directory = tmp_path_factory.mktemp("readme")
    for name in ("samples", "docs", "Makefile", "pyproject.toml", "README.md"):
        (directory / name).symlink_to(ROOT / name)
    return directory


def run(command: str, place: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    binaries = str(Path(sys.executable).parent)
    env = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(shlex.split(command), cwd=place, env=env, capture_output=True, text=True, timeout=timeout)


def test_readme_commands(place):
    programs = [c for c in commands() if c.startswith("siliang-")]
    assert len(programs) >= 7
    for command in programs:
        done = run(command, place, 200)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    page = place / "runs/readme/data/report/index.html"
    assert page.stat().st_size > 10_000


def test_every_other_command_is_a_make_target():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    others = [shlex.split(c) for c in commands() if not c.startswith("siliang-")]
    assert others
    for words in others:
        assert words[0] == "make"
        assert words[1] in targets


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_make_demo():
    done = subprocess.run(["make", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (ROOT / "runs/demo/data/manifest.json").exists()
    assert (ROOT / "runs/demo/model/model.safetensors").exists()
    assert (ROOT / "runs/demo/early-exit/model.safetensors").exists()
    # Accuracy and latency of the test file, by the whole model and at the speed that was chosen.
    assert re.search(r"test, whole +0\.\d+ .*\n *test, chosen +0\.\d+ ", done.stdout)


def test_the_demos_task_keeps_its_sides_apart(tmp_path):
    command = [sys.executable, ROOT / "docs/demo/passages.py", tmp_path]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    sides = {}
    for name, rows in (("train", 750), ("valid", 125), ("test", 125)):
        header, *lines = (tmp_path / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        assert header == "text\tauthor"
        found = [line.split("\t") for line in lines]
        assert Counter(author for _, author in found) == dict.fromkeys(
            ("Melville", "Milton", "President", "Shakespeare"), rows
        )
        assert all(len(text.split()) == 12 for text, _ in found)
        sides[name] = {text for text, _ in found}
    assert len(sides["train"] | sides["valid"] | sides["test"]) >= 3_990
    assert not sides["test"] & (sides["train"] | sides["valid"])


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "ARCHITECTURE.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"
