"""The walls: schemas imports neither side, the pipeline never torch, the trainer never Beam."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FORBIDDEN = {
    "schemas": {"pipeline", "trainer", "torch", "apache_beam"},
    "pipeline": {"trainer", "torch"},
    "trainer": {"pipeline", "apache_beam"},
}

# Logic that must be testable without Beam. Everything else of the pipeline is wiring.
PURE = ("text", "dedup", "words", "report", "io/formats")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("side", FORBIDDEN)
def test_no_import_crosses_the_wall(side):
    files = sorted((ROOT / side).rglob("*.py"))
    assert files
    crossing = {str(f.relative_to(ROOT)): bad for f in files if (bad := imported(f) & FORBIDDEN[side])}
    assert crossing == {}


def test_pure_rooms_do_not_import_beam():
    files = [f for room in PURE for f in sorted((ROOT / "pipeline" / room).rglob("*.py"))]
    assert files
    assert [str(f.relative_to(ROOT)) for f in files if "apache_beam" in imported(f)] == []


def test_what_needs_no_beam_does_not_wait_for_it():
    """Beam takes two seconds to import: --help, inspect, show, verify and the reports are there without it."""
    files = [f for room in PURE for f in sorted((ROOT / "pipeline" / room).rglob("*.py"))]
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files if f.stem != "__init__"]
    code = f"import sys; [__import__(name) for name in {[*names, 'pipeline.cli']}]; print('apache_beam' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def modules(side: str) -> dict[str, set[str]]:
    """Module -> modules of this project that it imports at its top level."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / side).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        needs = set()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == side:
                needs.add(node.module)
                needs |= {f"{node.module}.{alias.name}" for alias in node.names}
        found[name] = needs
    return {name: needs & found.keys() for name, needs in found.items()}


@pytest.mark.parametrize("side", FORBIDDEN)
def test_no_circular_import(side):
    graph = modules(side)
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for need in sorted(graph[name] - {name}):
                visit(need, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_files_stay_small_and_named_by_a_noun():
    files = [f for side in FORBIDDEN for f in sorted((ROOT / side).rglob("*.py"))]
    assert {f.name: n for f in files if (n := len(f.read_text().splitlines())) > 400} == {}
    assert [str(f) for f in files if f.stem in {"utils", "util", "helpers", "common", "misc"}] == []
