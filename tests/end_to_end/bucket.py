"""`prepare` from and to a bucket, beside what it makes on a local disk."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(root: Path, environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=root, env=os.environ | environment, capture_output=True, text=True, timeout=800)


def prepare(
    root: Path, environment: dict[str, str], files: Any, store: str, config: Path, local: Path
) -> subprocess.CompletedProcess[str]:
    """STORE://siliang/raw to STORE://siliang/out: the manifest of `local`, and nothing temporary is left."""
    done = run(
        root, environment, "pipeline", "prepare", f"{store}://siliang/raw", "--output", f"{store}://siliang/out",
        "--config", config, "--workers", 2, "--progress", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files.invalidate_cache()
    ours, theirs = (
        json.loads(data) for data in (files.cat("siliang/out/manifest.json"), (local / "manifest.json").read_bytes())
    )
    assert ours == theirs, "the same bytes as from and to a local disk"
    assert not [path for path in files.find("siliang/out") if path.endswith(".tmp")]
    return done
