"""The whole of `siliang-pipeline prepare`: MB/s per core, peak memory, and how both grow with the corpus.

    python benchmarks/prepare.py [--data DIR] [--workers N] [--split CHARACTERS] [--quick]

Without --data it takes samples/. --quick runs once over the data; otherwise 1/16, 1/4 and all of its files are prepared
(chosen by a hash of the path) and the exponents of time and memory over size are fitted: 1 is linear, 0 is constant.
The last line is one JSON object.
"""

import argparse
import hashlib
import json
import math
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def some_files(data: Path, share: float) -> list[Path]:
    """Files whose path's hash falls below the share, sorted."""
    chosen = []
    for path in sorted(p for p in data.rglob("*") if p.is_file() and not p.name.startswith((".", "_"))):
        digest = hashlib.sha256(str(path.relative_to(data)).encode()).digest()
        if int.from_bytes(digest[:8], "big") < share * 2**64:
            chosen.append(path)
    return chosen


def prepare(data: Path, files: list[Path] | None, workers: int, split: int, work: Path) -> dict:
    """One run in a directory of its own; returns its figures."""
    source = data
    if files is not None:
        source = work / "input"
        for path in files:
            link = source / path.relative_to(data)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
    config = work / "config.toml"
    config.write_text(
        '[input]\ntext_fields = ["text", "paragraphs", "content", "original"]\nexclude = ["SOURCES.md"]\n'
        f"split_characters = {split}\n[vocabulary]\nsize = 8192\n"
    )
    output = work / "output"
    command = [sys.executable, "-m", "pipeline", "prepare", str(source), "--output", str(output)]
    started = time.perf_counter()
    subprocess.run([*command, "--config", str(config), "--workers", str(workers)], cwd=ROOT, check=True)
    seconds = time.perf_counter() - started
    cost = json.loads((output / "report" / "run.json").read_text())
    manifest = json.loads((output / "manifest.json").read_text())
    return {
        "mb": cost["stages"][0]["input_bytes"] / 1e6,
        "seconds": seconds,
        "peak_mb": max(stage["peak_mb"] for stage in cost["stages"]),
        "stages": {stage["name"]: (stage["seconds"], stage["peak_mb"]) for stage in cost["stages"]},
        "counts": manifest["counts"],
        "tokens": manifest["tokens"],
        "fingerprint": manifest["fingerprints"]["clean"],
    }


def slope(points: list[tuple[float, float]]) -> float:
    """Least-squares exponent b of y = a x^b."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum((x - mean_x) ** 2 for x in xs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "samples")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--split", type=int, default=6000)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    runs = []
    for share in (1.0,) if arguments.quick else (1 / 16, 1 / 4, 1.0):
        files = None if share == 1.0 else some_files(arguments.data, share)
        with tempfile.TemporaryDirectory() as work:
            run = prepare(arguments.data, files, arguments.workers, arguments.split, Path(work))
        runs.append(run)
        print(f"\n{run['mb']:,.1f} MB, {run['seconds']:.1f} s, peak {run['peak_mb']:,.0f} MB; {run['counts']}")
        for name, (seconds, peak) in run["stages"].items():
            print(f"  {name:<12} {seconds:8.1f} s {run['mb'] / max(seconds, 1e-9):8.2f} MB/s  peak {peak:7,.0f} MB")
    last = runs[-1]
    metrics = {
        "prepare_mb_s": round(last["mb"] / last["seconds"] / arguments.workers, 3),
        "peak_mb": last["peak_mb"],
        "mb": round(last["mb"], 1),
        "workers": arguments.workers,
        "python": platform.python_version(),
        "fingerprint": last["fingerprint"],
    }
    if len(runs) > 1:
        metrics["growth_time"] = round(slope([(r["mb"], r["seconds"]) for r in runs]), 3)
        metrics["growth_memory"] = round(slope([(r["mb"], r["peak_mb"]) for r in runs]), 3)
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
