"""Deduplication beside its peers: signatures, the whole job, what it finds, what it drops, memory, growth.

    python benchmarks/dedup.py [--data DIR ...] [--quick] [--peers PYTHON] [--model FILE]
    python benchmarks/dedup.py --jobs --peer-documents 1000000 --without datatrove [--data DIR ...] --peers PYTHON
    python benchmarks/dedup.py --scale 10000000 [--model FILE]

--data: directories with plain text for the test corpus (benchmarks/dedup_corpus.py); where one holds LibreOffice's help
in en-US and en-GB, its page pairs are measured too. Without it samples/. --peers: an interpreter that has
text-dedup 0.4, rensa 0.5, datasketch 2 and datatrove 0.10 (or $SILIANG_PEERS_DEDUP); what is missing gives null.
--model: where the largest run writes its model of buckets, and where --scale reads it. Last line, one JSON object:

- signatures_mb_s: text to signature, 112 permutations, word 5-grams, one core, MB of UTF-8 over seconds of CPU
- signatures_vs_rensa, signatures_vs_datasketch: theirs / ours, seconds of CPU on the same texts
- cpu_vs_text_dedup, cpu_vs_datatrove: CPU seconds of the whole process, ours (with exact verification) / theirs
- recall: page pairs with Jaccard >= 0.8 that were resolved; recall_planted: the same of the corpus' planted pairs
- unverified_drops, wrong_drops: over the audit of the largest run (and of the help pages)
- peak_mb: all processes together, `prepare` of the largest corpus, two workers (one with --quick)
- growth_time: exponent of the job's CPU seconds over documents, start-up left out (it would flatter); growth_stages: of
  the seconds of `clean` and `deduplicate` in `prepare`
"""

import argparse
import contextlib
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
sys.path.insert(0, os.environ["PYTHONPATH"])

import dedup_corpus
import dedup_scale
import dedup_truth
import psutil
import pyarrow as pa

from pipeline.config import make_config
from pipeline.dedup.minhash import signatures
from pipeline.dedup.normalize import normalise_batch
from pipeline.dedup.shingles import shingle_sets

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent
MODEL = HERE / "dedup_model.json"
PERMUTATIONS = 112
CONFIG = "[rules]\nsets = []\n[privacy]\nkinds = []\n[boilerplate]\nenabled = false\n[vocabulary]\nsize = 4096\n"
"""Nothing but duplicates goes, and no text changes after repair."""
INSTALL = "pip install 'text-dedup==0.4.*' 'rensa==0.5.*' 'datasketch==2.0.*' 'datatrove[processing]==0.10.*' spacy"


def process(command: list[str], cwd: Path | None = None) -> tuple[float, str] | None:
    """(CPU seconds of the process and its children, standard output), or None where it failed.

    Children are watched while they live: what wait4 says leaves out those that a pool ends by a signal. The last look
    comes up to 0.1 s too early, in the favour of peers that start processes.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = psutil.Popen(command, cwd=cwd, stdout=out, stderr=errors)
        spent: dict[int, float] = {}
        while child.poll() is None:
            for one in [child, *_children(child)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = one.cpu_times()
                    spent[one.pid] = times.user + times.system
            time.sleep(0.1)
        out.seek(0)
        errors.seek(0)
        if child.returncode:
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            print(f"  failed: {' '.join(command[1:4])}: {' '.join(last)}")
            return None
        return sum(spent.values()), out.read().decode()


def _children(process: psutil.Popen) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def prepare(source: Path, output: Path, workers: int) -> dict[str, dict]:
    """Runs `prepare`; returns the stages of report/run.json by name."""
    output.parent.mkdir(parents=True, exist_ok=True)
    config = output.parent / f"{output.name}.toml"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "pipeline", "prepare", str(source), "--output", str(output)]
    subprocess.run(
        [*command, "--config", str(config), "--workers", str(workers)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return {stage["name"]: stage for stage in json.loads((output / "report/run.json").read_text())["stages"]}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least-squares exponent b of y = a x^b."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum((x - mean_x) ** 2 for x in xs)


def measure_signatures(texts: Path, peers: str | None, repeats: int) -> dict[str, float | None]:
    rows = [json.loads(line)["text"] for line in texts.read_text(encoding="utf-8").splitlines()]
    megabytes = sum(len(text.encode()) for text in rows) / 1e6
    batches = [pa.array(rows[start : start + 1024]) for start in range(0, len(rows), 1024)]
    config = make_config({}).deduplicate
    steps = {"normalise": 0.0, "shingle": 0.0, "sign": 0.0}
    best: float = math.inf
    for turn in range(repeats + 1):
        spent = dict.fromkeys(steps, 0.0)
        for batch in batches:
            marks = [time.process_time()]
            normalised = normalise_batch(batch)
            marks.append(time.process_time())
            sets = shingle_sets(batch, config, normalised)
            marks.append(time.process_time())
            signatures(sets, PERMUTATIONS)
            marks.append(time.process_time())
            for name, before, after in zip(steps, marks, marks[1:], strict=False):
                spent[name] += after - before
        if turn and sum(spent.values()) < best:
            best, steps = sum(spent.values()), spent
    print(f"\nsignatures: {len(rows):,} documents, {megabytes:.1f} MB, {PERMUTATIONS} permutations, one core")
    for name, seconds in (*steps.items(), ("text to signature", best)):
        print(f"  {name:<20} {seconds:8.3f} s {megabytes / max(seconds, 1e-9):9.1f} MB/s")
    found: dict[str, float | None] = {"signatures_mb_s": round(megabytes / best, 1)}
    for peer in ("rensa", "datasketch"):
        ran = process([peers, str(HERE / "dedup_peers.py"), peer, str(texts)]) if peers else None
        found[f"signatures_vs_{peer}"] = None
        if ran:
            theirs = json.loads(ran[1].splitlines()[-1])["seconds"]
            found[f"signatures_vs_{peer}"] = round(theirs / best, 2)
            print(f"  {peer:<20} {theirs:8.3f} s {megabytes / theirs:9.1f} MB/s")
    return found


def own_job(shards: Path, output: Path) -> dict:
    """What dedup_ours.py says, and the CPU seconds of its whole process."""
    ours = process([sys.executable, str(HERE / "dedup_ours.py"), str(shards), str(output)])
    if ours is None:
        raise SystemExit("the job of this project failed; see above")
    return json.loads(ours[1].splitlines()[-1]) | {"cpu": ours[0]}


def measure_jobs(shards: Path, peers: str | None, work: Path, without: Sequence[str] = ()) -> dict[str, float | None]:
    """CPU seconds of the whole process, start-up included, one worker each."""
    work.mkdir()
    ours = own_job(shards, work / "ours")
    print(f"\nthe whole job: {ours['documents']:,} documents, one worker, CPU seconds of the whole process")
    print(
        f"  {'ours, verified':<20} {ours['cpu']:8.1f} s   (start {ours['start']:.1f}, signing {ours['sign']:.1f}, "
        f"deduplicate {ours['deduplicate']:.1f}), {ours['drops']:,} drops"
    )
    bands = ["--num_perm", str(PERMUTATIONS), "--b", "14", "--r", "8", "--hash_func", "xxh3"]
    options = ["--split", "train", "--column", "text", "--ngram", "5", "--num_proc", "1", *bands]
    files = ["--path", "json", "--data_files", str(shards / "*.jsonl"), "--cache_dir", str(work / "cache")]
    commands = {
        "text_dedup": ["-m", "text_dedup.minhash", *files, "--output", str(work / "text_dedup"), *options],
        "datatrove": [str(HERE / "dedup_peers.py"), "datatrove", str(shards), str(work / "datatrove")],
    }
    found: dict[str, float | None] = {}
    for peer, command in commands.items():
        ran = process([peers, *command], cwd=work) if peers and peer not in without else None
        found[f"cpu_vs_{peer}"] = round(ours["cpu"] / ran[0], 4) if ran else None
        if ran:
            print(f"  {peer + ', estimated':<20} {ran[0]:8.1f} s   14 bands of 8 rows, no verification")
    return found


def measure_growth(
    roots: list[Path], sizes: list[int], work: Path, checked: int, model: Path | None, quick: bool
) -> dict:
    """The job and `prepare` of ever larger corpora; the drops of the largest are checked.

    A quick run prepares the largest alone, with one worker: to start workers takes longer than its work.
    """
    points: list[tuple[int, float, float]] = []
    threshold = make_config({}).deduplicate.threshold
    found: dict[str, float | None] = {}
    columns = "documents", "MB", "job CPU s", "clean s", "deduplicate s", "peak MB"
    workers = 1 if quick else 2
    print(
        f"\nthe job alone: one worker, CPU seconds without start-up; prepare: {workers} workers, seconds, memory of all"
    )
    print("  " + " ".join(f"{column:>13}" for column in columns))
    for size in sizes:
        corpus, output = work / f"corpus-{size}", work / f"output-{size}"
        written = dedup_corpus.write(corpus, roots, size)
        alone = own_job(corpus / "shards", work / f"alone-{size}")
        shutil.rmtree(work / f"alone-{size}")
        job = alone["sign"] + alone["deduplicate"]
        figures = [f"{size:,}", f"{written['bytes'] / 1e6:.1f}", f"{job:.1f}"]
        seconds = 0.0
        if not quick or size == sizes[-1]:
            stages = prepare(corpus / "shards", output, workers)
            clean, deduplicate = stages["clean"]["seconds"], stages["deduplicate"]["seconds"]
            seconds = clean + deduplicate
            peak = max(stage["peak_mb"] for stage in stages.values())
            near = max(stages[name]["peak_mb"] for name in ("clean", "deduplicate"))
            figures += [f"{clean:.1f}", f"{deduplicate:.1f}", f"{peak:,.0f}"]
        points.append((size, job, seconds))
        print("  " + " ".join(f"{figure:>13}" for figure in figures))
        if size == sizes[-1]:
            run = dedup_truth.outcome(output)
            drops = dedup_truth.check_drops(run, threshold, checked)
            pairs = dedup_truth.planted(corpus / "truth.jsonl", checked)
            resolved, like = dedup_truth.recall(run, pairs, threshold)
            kinds: dict[str, int] = {}
            for row in run.drops:
                kinds[row["kind"]] = kinds.get(row["kind"], 0) + 1
            print(f"  {written}; drops {kinds}; checked {drops}")
            print(f"  planted pairs: {like:,} of {len(pairs):,} reach {threshold:g}, {resolved:,} resolved")
            found = {
                "documents": size,
                "unverified_drops": drops["unverified"],
                "wrong_drops": drops["wrong"],
                "differing_jaccards": drops["differing"],
                "checked_drops": drops["checked"],
                "recall_planted": round(resolved / max(like, 1), 5),
                "peak_mb": peak,
                "peak_workers": workers,
                "peak_mb_clean_deduplicate": near,
            }
            if model is not None:
                measured = dedup_scale.measure(output, make_config({}).deduplicate)
                model.write_text(json.dumps(measured) + "\n")
                print(f"  model of its buckets: {model.name}")
    found["growth_time"] = round(slope([(size, seconds) for size, seconds, _ in points]), 3)
    stages_grow = [(size, seconds) for size, _, seconds in points]
    found["growth_stages"] = None if quick else round(slope(stages_grow), 3)
    return found


def measure_pages(roots: list[Path], work: Path, quick: bool) -> dict:
    """LibreOffice's help pages in two spellings of English: the same path is the same page."""
    folders = [path for root in roots for path in sorted(root.rglob("libreoffice-help-en-*")) if path.is_dir()]
    folders = [path for path in folders if next(path.rglob("*.html"), None)]
    if not folders:
        print("\nLibreOffice help: not below --data, so `recall` is null")
        return {"recall": None}
    pages = work / "pages" / "input"
    for folder in folders:
        for path in sorted(folder.rglob("*.html")):
            # Of a quick run the pages whose name ends so in both spellings: the same share of both.
            if not path.is_symlink() and (not quick or path.stem[-1:] in "05"):
                link = pages / folder.name / path.relative_to(folder)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.resolve())
    prepare(pages, work / "pages" / "output", 2)
    threshold = make_config({}).deduplicate.threshold
    run = dedup_truth.outcome(work / "pages" / "output")
    pairs = dedup_truth.paired_pages(run)
    resolved, like = dedup_truth.recall(run, pairs, threshold)
    drops = dedup_truth.check_drops(run, threshold, 10**6)
    print(f"\nLibreOffice help: {len(pairs):,} pairs of pages, {like:,} reach {threshold:g}, {resolved:,} resolved")
    print(f"  drops checked: {drops}")
    return {
        "recall": round(resolved / max(like, 1), 5),
        "recall_pairs": like,
        "recall_unverified_drops": drops["unverified"],
        "recall_wrong_drops": drops["wrong"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append")
    parser.add_argument("--quick", action="store_true", help="1,000, 4,000 and 16,000 documents")
    parser.add_argument("--documents", type=int, default=1_000_000, help="of the largest corpus; then 1/10 and 1/100")
    parser.add_argument("--peers", default=os.environ.get("SILIANG_PEERS_DEDUP"))
    parser.add_argument("--peer-documents", type=int, help="of the whole jobs; 50,000, or 4,000 with --quick")
    parser.add_argument("--jobs", action="store_true", help="the whole jobs alone, of --peer-documents")
    parser.add_argument("--without", nargs="+", default=[], choices=["text_dedup", "datatrove"], help="peers left out")
    parser.add_argument("--checked", type=int, default=400_000, help="drops and planted pairs checked at most")
    parser.add_argument("--work", type=Path, help="where to work, to keep what is made; a temporary directory")
    parser.add_argument("--scale", type=int, nargs="?", const=10_000_000, help="simulate so many documents, no more")
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    metrics: dict = {}
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        work = Path(folder)
        if arguments.scale:
            model = json.loads((arguments.model or MODEL).read_text())
            metrics = dedup_scale.simulate(model, arguments.scale, work / "scale")
        else:
            roots = arguments.data or [ROOT / "samples"]
            quick = arguments.quick
            largest = arguments.documents
            sizes = [1000, 4000, 16_000] if quick else [largest // 100, largest // 10, largest]
            number = arguments.peer_documents or (4000 if quick else 50_000)
            if not arguments.peers:
                print(f"no peers: give --peers PYTHON or $SILIANG_PEERS_DEDUP, an interpreter after\n  {INSTALL}")
            dedup_corpus.write(work / "jobs", roots, number)
            shards = work / "jobs" / "shards"
            if arguments.jobs:
                print(json.dumps(measure_jobs(shards, arguments.peers, work / "work", arguments.without)))
                return
            texts = work / "texts.jsonl"
            with (shards / "corpus-00000.jsonl").open(encoding="utf-8") as rows:
                texts.write_text("".join(row for row, _ in zip(rows, range(10_000), strict=False)), encoding="utf-8")
            metrics |= measure_signatures(texts, arguments.peers, 3 if quick else 5)
            metrics |= measure_jobs(shards, arguments.peers, work / "work", arguments.without)
            metrics |= measure_pages(roots, work, quick)
            metrics |= measure_growth(roots, sizes, work, arguments.checked, arguments.model, quick)
        metrics |= {"python": platform.python_version(), "quick": arguments.quick}
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
