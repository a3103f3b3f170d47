"""The shards that all arms share: what they are called by, and how they are made."""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.ablations.arms import DATA

ROOT = Path(__file__).parents[2]
CONFIG = DATA / "pipeline.toml"

HOW = f"""name the shards with --data SHARDS. They are made once, from the 754 books of classicbooks (or any text), by

    python benchmarks/ablation.py --prepare CORPUS --data SHARDS

which is `siliang-pipeline prepare CORPUS --output SHARDS --config {CONFIG.relative_to(ROOT)} --workers 2`"""


def data_digest(shards: Path) -> str:
    """Of what training reads: the files of both splits, the notes and the vocabulary, by content."""
    from schemas.manifest import read_manifest

    rooms = ("train/", "valid/", "notes/", "vocabulary/", "frequency/")
    files = [f"{entry.path} {entry.sha256}" for entry in read_manifest(shards).files if entry.path.startswith(rooms)]
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()


def prepare(corpus: Path, shards: Path, config: Path = CONFIG, workers: int = 2) -> int:
    """Exit code of siliang-pipeline."""
    command = [sys.executable, "-m", "pipeline", "prepare", str(corpus), "--output", str(shards)]
    done = subprocess.run([*command, "--config", str(config), "--workers", str(workers)], cwd=ROOT, check=False)
    return done.returncode
