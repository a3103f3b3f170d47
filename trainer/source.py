"""What decides a run's numbers besides its config: versions and the trainer's own source."""

import platform
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def versions() -> dict[str, str]:
    """Of what decides a run's numbers."""
    try:
        own = version("siliang")
    except PackageNotFoundError:
        own = "not installed"
    return {"siliang": own, "torch": torch.__version__, "python": platform.python_version()}


@cache
def source_digest() -> str:
    """sha256 over the names and bytes of the Python files of `trainer` and `schemas`, 16 hex digits."""
    digest = sha256()
    root = Path(__file__).parents[1]
    for path in sorted(path for room in ("schemas", "trainer") for path in (root / room).rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
