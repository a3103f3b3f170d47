"""The documentation site: generated pages are those of the code, it builds strictly without a network, commands run."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_reference_pages_are_those_of_the_code():
    spec = importlib.util.spec_from_file_location("reference", ROOT / ".ci/reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.pages()
    assert "`--dry-run`" in made["pipeline-cli.md"]
    assert "| `size` | integer ≥ 300 ≤ 1.04858e+06 | `16384` | Pieces wanted." in made["pipeline-config.md"]
    assert "### [[rules.custom]]" in made["pipeline-config.md"]
    for name, text in made.items():
        there = DOCS / "reference" / name
        assert there.exists(), f"{name}: run python .ci/reference.py"
        assert there.read_text(encoding="utf-8") == text, f"docs/reference/{name}: run python .ci/reference.py"


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the extra docs")
def test_the_site_builds_strictly_and_asks_for_nothing_elsewhere(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    # A network that is not there: every connection would go through a proxy that refuses.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(command, cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 35
    index = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    for path in DOCS.rglob("*.md"):
        target = path.relative_to(DOCS).with_suffix(".html").as_posix()
        assert f'href="{target}"' in index or target == "index.html", f"{target} is not in the navigation"
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?(?://|https?:)[^>]*", text)
        loaded += re.findall(
            r"<link[^>]*rel=[\"']?(?:stylesheet|preconnect|icon)[^>]*href=[\"']?(?://|https?:)[^>]*", text
        )
        assert loaded == [], f"{page.name} loads {loaded[0]}"


def test_troubleshooting_quotes_what_the_programs_say():
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    theirs = {
        "No space left on device",
        "Unable to parse jar URL",
        'Cannot run program "docker"',
        "ModuleNotFoundError on a worker",
    }
    described = {
        "the vocabulary is smaller than wanted, or loses text",
        "skipped, roll-backs, lower optimizer.learning_rate",
    }
    ours = [line[4:] for line in page.splitlines() if line.startswith("### ")]
    files = [path for room in ("pipeline", "trainer") for path in sorted((ROOT / room).rglob("*.py"))]
    code = re.sub(r"\"\s*\n\s*f?\"", "", "\n".join(path.read_text(encoding="utf-8") for path in files))
    unknown = [one for one in ours if one not in theirs | described and one not in code]
    assert unknown == ["a worker process ended early: killed (out of memory?)"], "assembled of two texts"
    assert "a worker process ended early: " in code
    assert "killed (out of memory?)" in code


def commands(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines() if line]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param("release.md", marks=pytest.mark.slow),
        pytest.param("progress.md", marks=pytest.mark.slow),
        pytest.param("doctor.md", marks=pytest.mark.slow),
        pytest.param("quickstart.md", marks=pytest.mark.slow),
        pytest.param("own-rule.md", marks=pytest.mark.slow),
    ],
)
def test_commands_of_the_page_run(page, tmp_path):
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    (tmp_path / "docs").symlink_to(DOCS)
    for block in re.findall(r"```toml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
        (tmp_path / "mine.toml").write_text(block)
    found = commands(page)
    assert found
    for command in found:
        program, *arguments = shlex.split(command)
        module = {"siliang-pipeline": "pipeline", "siliang-trainer": "trainer"}[program]
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip(), command
