"""The whole of `siliang-pipeline prepare`: MB/s per core, peak memory, how both grow with the corpus, and a peer.

    python benchmarks/prepare.py [--data DIR] [--workers N] [--split CHARACTERS] [--quick] [--peers PYTHON] [--mb N]

DIR is a raw-dev corpus (folders deb, npm, pypi), of which tier S is taken, or any folder of text files; without it,
samples/. --quick runs once over the data; otherwise 1/16, 1/4 and all of its files are prepared (by a hash of the
path) and the exponents of time and memory over size are fitted: 1 is linear, 0 is constant. PYTHON has
`datatrove[io,processing]==0.10.*` and spacy; without it the one that SILIANG_PEERS_DATATROVE names. The peer gets the
records of --mb megabytes of the same files, as they are read, HTML as its main text. The last line is one JSON object:

- prepare_mb_s: MB of input files / seconds of the whole command / workers
- prepare_mb_cpu: MB of input files / seconds of CPU of the command and all its processes
- vs_datatrove: text per second of CPU here over all of the data, reading and report included, / the peer's, whose
  start, warm-up and tokenizer are not counted: repair, rules, MinHash and tokens only. The peer reads text that is
  ready, so this is less than the ratio of the same work
- load: the machine's load when the last run began; other work makes the clock's figures worse, and CPU's a little
"""

import argparse
import hashlib
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if Path(sys.path[0]).resolve() == ROOT / "benchmarks":
    sys.path[0] = str(ROOT)

from pipeline.config import PipelineConfig, load_config  # noqa: E402
from pipeline.io.inputs import list_inputs  # noqa: E402
from pipeline.io.read import read_files  # noqa: E402
from pipeline.text.html import main_text  # noqa: E402

PEER = Path(__file__).with_name("prepare_peer.py")
INSTALL = "set SILIANG_PEERS_DATATROVE to a Python with `pip install 'datatrove[io,processing]==0.10.*' spacy`"
TIER_S = {
    "spam-assassin": "npm/*spam-assassin*/data/*/*.txt",
    "help-en-us": "deb/libreoffice-help-en-us/**/*.html",
    "help-en-gb": "deb/libreoffice-help-en-gb/**/*.html",
    "bbc": "pypi/*/**/bbcnews/data/*/*.txt",
    "sotu": "npm/*sotu*/data/*.txt",
    "fortunes": "deb/fortunes/**/games/fortunes/*",
    "fortunes-zh": "deb/fortunes-zh/**/games/fortunes/*",
}
"""Source -> its files below a raw-dev corpus."""
Files = list[tuple[Path, Path]]
"""(file, its path below the input directory)."""


def files_of(data: Path) -> Files:
    """Sorted by path. Of fortunes the texts only, which have no extension: they are called .txt, and not cut at "%"."""
    if not (data / "deb").is_dir() or not (data / "npm").is_dir():
        found = (p for p in data.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
        return sorted((path, path.relative_to(data)) for path in found)
    chosen: Files = []
    for source, pattern in TIER_S.items():
        for path in data.glob(pattern):
            if path.is_file() and not path.is_symlink() and path.suffix in ("", ".txt", ".html"):
                inside = path.relative_to(data)
                chosen.append((path, Path(source) / (inside if path.suffix else inside.with_suffix(".txt"))))
    return sorted(chosen, key=lambda file: file[1])


def share_of(files: Files, share: float) -> Files:
    """Files whose path's hash falls below the share."""

    def place(inside: Path) -> int:
        return int.from_bytes(hashlib.sha256(str(inside).encode()).digest()[:8], "big")

    return [file for file in files if place(file[1]) < share * 2**64]


def lay_out(files: Files, split: int, work: Path) -> tuple[Path, Path]:
    """The input directory, of links, and the config."""
    for path, inside in files:
        link = work / "input" / inside
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    config = work / "config.toml"
    config.write_text(
        '[input]\ntext_fields = ["text", "paragraphs", "content", "original"]\nexclude = ["SOURCES.md"]\n'
        f'split_characters = {split}\nformats = {{ "spam-assassin/*" = "mail" }}\n[vocabulary]\nsize = 8192\n'
    )
    return work / "input", config


def children_seconds() -> float:
    """CPU of all processes that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def prepare(files: Files, workers: int, split: int, work: Path) -> dict[str, Any]:
    """One run in a directory of its own; returns its figures."""
    source, config = lay_out(files, split, work)
    output = work / "output"
    command = [sys.executable, "-m", "pipeline", "prepare", str(source), "--output", str(output)]
    load, started, before = os.getloadavg()[0], time.perf_counter(), children_seconds()
    subprocess.run([*command, "--config", str(config), "--workers", str(workers)], cwd=ROOT, check=True)
    seconds, cpu = time.perf_counter() - started, children_seconds() - before
    cost = json.loads((output / "report" / "run.json").read_text())
    manifest = json.loads((output / "manifest.json").read_text())
    parts = (output / "stages" / "clean" / "parts").glob("*.json")
    return {
        "mb": cost["stages"][0]["input_bytes"] / 1e6,
        "text_mb": sum(json.loads(part.read_text())["facts"]["text_bytes"] for part in parts) / 1e6,
        "seconds": seconds,
        "cpu": cpu,
        "load": round(load, 1),
        "peak_mb": max(stage["peak_mb"] for stage in cost["stages"]),
        "stages": {stage["name"]: (stage["seconds"], stage["peak_mb"]) for stage in cost["stages"]},
        "counts": manifest["counts"],
        "fingerprint": manifest["fingerprints"]["clean"],
    }


def texts_of(source: Path, config: PipelineConfig) -> Iterator[str]:
    """The records as they are read, HTML as its main text: what the peer would be given."""
    for batch in read_files(list_inputs([str(source)], config.input.formats), config.input):
        batch = main_text(batch, config.html)
        yield from (
            text
            for text, bad in zip(batch["text"].to_pylist(), batch["quarantine"].to_pylist(), strict=True)
            if not bad
        )


def datatrove_rate(files: Files, split: int, megabytes: float, peers: Path, work: Path) -> float:
    """MB of text per second of CPU: a share of the files that is about so large, by a hash of the path."""
    size = sum(path.stat().st_size for path, _ in files) / 1e6
    source, config = lay_out(share_of(files, megabytes / size), split, work)
    path = work / "texts.jsonl"
    size = 0.0
    with path.open("w", encoding="utf-8") as rows:
        for number, text in enumerate(texts_of(source, load_config(config))):
            rows.write(json.dumps({"id": str(number), "text": text}) + "\n")
            size += len(text.encode()) / 1e6
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [str(peers), "-W", "ignore", str(PEER), str(path), str(work / "peer")]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    seconds = json.loads(told.splitlines()[-1])
    whole = sum(seconds.values())
    print(f"\ndatatrove, {size:.1f} MB of text: {whole:.1f} s of CPU; {seconds}")
    return float(size / whole)


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
    parser.add_argument("--peers", type=Path, default=os.environ.get("SILIANG_PEERS_DATATROVE"))
    parser.add_argument("--mb", type=float, default=4.0, help="megabytes of files for the peer")
    arguments = parser.parse_args()
    files = files_of(arguments.data)
    if not files:
        raise SystemExit(f"{arguments.data}: no files")
    runs = []
    for share in (1.0,) if arguments.quick else (1 / 16, 1 / 4, 1.0):
        with tempfile.TemporaryDirectory() as work:
            run = prepare(share_of(files, share), arguments.workers, arguments.split, Path(work))
        runs.append(run)
        print(
            f"\n{run['mb']:,.1f} MB, {run['seconds']:.1f} s, {run['cpu']:.1f} s of CPU, peak {run['peak_mb']:,.0f} MB"
        )
        print(f"  load {run['load']} when it began; {run['counts']}")
        for name, (seconds, peak) in run["stages"].items():
            print(f"  {name:<12} {seconds:8.1f} s {run['mb'] / max(seconds, 1e-9):8.2f} MB/s  peak {peak:7,.0f} MB")
    last = runs[-1]
    ratio = None
    if arguments.peers is None:
        print(f"\ndatatrove: not measured: {INSTALL}")
    else:
        with tempfile.TemporaryDirectory() as work:
            peer = datatrove_rate(files, arguments.split, arguments.mb, arguments.peers, Path(work))
        ratio = round(last["text_mb"] / last["cpu"] / peer, 1)
    metrics = {
        "prepare_mb_s": round(last["mb"] / last["seconds"] / arguments.workers, 3),
        "prepare_mb_cpu": round(last["mb"] / last["cpu"], 3),
        "vs_datatrove": ratio,
        "peak_mb": last["peak_mb"],
        "mb": round(last["mb"], 1),
        "text_mb": round(last["text_mb"], 1),
        "workers": arguments.workers,
        "load": last["load"],
        "python": platform.python_version(),
        "fingerprint": last["fingerprint"],
    }
    if len(runs) > 1:
        metrics["growth_time"] = round(slope([(r["mb"], r["seconds"]) for r in runs]), 3)
        metrics["growth_memory"] = round(slope([(r["mb"], r["peak_mb"]) for r in runs]), 3)
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
