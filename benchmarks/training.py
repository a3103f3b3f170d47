"""Training speed: Siliang's trainer beside Hugging Face's BertForMaskedLM on the same shape, and what data cost.

    python benchmarks/training.py [--data SHARDS] [--quick] [--threads N] [--peers PYTHON]

6 layers x 256, T = 128, vocabulary 8,192 (preset small), full rows, 15 % predicted. Both in the precision whose matmul
is faster here, both eager and compiled, in turns and in processes of their own; the fastest form of each counts.
Wall times are medians of a step. `*_cpu` rest on the CPU seconds of a step, which other programs disturb less.
`--methods` measures what TUPE, notes, multiple choice and the others cost a step instead (training_methods.py).
The peer needs `pip install torch transformers` in an interpreter named by --peers or $SILIANG_PEERS_HF.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
SHAPE = {"rows": 32, "length": 128, "vocabulary": 8192, "width": 256, "layers": 6, "heads": 4, "feed_forward": 1024}


def own_steps(asked: dict[str, Any]) -> dict[str, Any]:
    """Steps of the trainer as the loop takes them; run in a process of its own."""
    import torch

    from trainer.bench import made_up_batch
    from trainer.compiling import compile_or_eager
    from trainer.config import build_config
    from trainer.loop import Trainer
    from trainer.precision import be_deterministic
    from trainer.tasks.masked_lm import MaskedLM

    torch.set_num_threads(asked["threads"])
    device = torch.device("cpu")
    be_deterministic(device, False)
    torch.manual_seed(0)
    config = build_config(preset="small", overrides=["system.device=cpu", f"model.positions={asked['positions']}"])
    model = MaskedLM(config.encoder(asked["vocabulary"]))
    trainer = Trainer(model, config, device, asked["precision"])
    batch = made_up_batch(asked["rows"], asked["length"], asked["vocabulary"], asked["mask_rate"])
    notes: list[str] = []
    if asked["compile"]:
        trainer.forward = compile_or_eager(model, batch, device, asked["precision"], notes.append)
    for _ in range(2):
        trainer.take_step([batch])
    taken, end = [], time.perf_counter() + asked["seconds"]
    while not taken or time.perf_counter() < end:
        wall, cpu = time.perf_counter(), time.process_time()
        trainer.take_step([batch])
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        "wall": median(wall for wall, _ in taken),
        "cpu": median(cpu for _, cpu in taken),
        "steps": len(taken),
        "notes": notes,
        "versions": {"torch": torch.__version__},
    }


def in_process(command: list[str], asked: dict[str, Any]) -> dict[str, Any] | None:
    environment = {**os.environ, "OMP_NUM_THREADS": str(asked["threads"]), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, json.dumps(asked)], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        print(f"  failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def measure_wait(data: Path | None, step_seconds: float, steps: int) -> tuple[float, str]:
    """(share of a step of the given length that its batch takes inline, corpus digest)."""
    from schemas.manifest import read_manifest
    from trainer.config import build_config
    from trainer.data.shards import Corpus
    from trainer.data.stream import Stream

    config = build_config(preset="small").data
    with tempfile.TemporaryDirectory() as directory:
        if data is None:
            data = made_up_shards(Path(directory))
        read_manifest(data)
        corpus = Corpus(data, "train")
        stream = Stream(corpus, SHAPE["length"], SHAPE["rows"], 0, config.masking(), config.window_documents)
        batches = stream.batches()
        next(batches)
        start = time.perf_counter()
        for _ in range(steps):
            next(batches)
        seconds = (time.perf_counter() - start) / steps
        return seconds / (seconds + step_seconds), corpus.digest


def made_up_shards(directory: Path, documents: int = 4000) -> Path:
    """Documents of 20 to 400 uniform tokens in one Arrow shard with its manifest."""
    import hashlib

    import numpy as np
    import pyarrow as pa

    import schemas.arrow
    from schemas.manifest import Counts, FileEntry, Manifest, file_digest, write_manifest

    draw = np.random.default_rng(0)
    tokens = [draw.integers(6, SHAPE["vocabulary"], draw.integers(20, 400)).tolist() for _ in range(documents)]
    schema = schemas.arrow.example(SHAPE["vocabulary"])
    path = directory / "train" / "shard-00000-of-00001.arrow"
    path.parent.mkdir()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for first in range(0, documents, schemas.arrow.BATCH_ROWS):
            rows = tokens[first : first + schemas.arrow.BATCH_ROWS]
            names = [hashlib.md5(str(first + i).encode()).hexdigest() for i in range(len(rows))]
            columns = [names, rows, [[] for _ in rows]]
            arrays = [pa.array(c, type=field.type) for c, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    entry = FileEntry(
        path=path.relative_to(directory).as_posix(),
        sha256=file_digest(path),
        bytes=path.stat().st_size,
        rows=documents,
        tokens=sum(map(len, tokens)),
    )
    counts = Counts(input=documents, kept=documents)
    manifest = Manifest(
        config={}, versions={}, fingerprints={}, counts=counts, sources={"made-up": counts}, rules={}, files=[entry],
        vocabulary_size=SHAPE["vocabulary"], tokens=entry.tokens,
    )  # fmt: skip
    write_manifest(directory, manifest)
    return directory


def methods(costs: dict[str, Any] | None, precision: str, threads: int) -> None:
    """Prints the table of --methods and its JSON."""
    from training_methods import told

    if costs is None:
        raise SystemExit("error: the methods took no step")
    print(f"{threads} threads, {precision}; preset small, T = {SHAPE['length']}, {SHAPE['rows']} rows, steps in turn")
    print(told(costs))
    ratios = {name: round(cost["ratio"], 3) for name, cost in costs.items()}
    cpu = {name: round(cost["cpu_ratio"], 3) for name, cost in costs.items()}
    print(json.dumps({"step_ratio": ratios, "step_cpu_ratio": cpu, "precision": precision, "threads": threads}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="prepared shards; made up without")
    parser.add_argument("--quick", action="store_true", help="eager forms only, short; under a minute")
    parser.add_argument("--threads", type=int, default=0, help="torch's threads for both; 0: all cores")
    parser.add_argument("--seconds", type=float, default=15.0, help="measured time of each form")
    parser.add_argument("--peers", default=os.environ.get("SILIANG_PEERS_HF"), help="interpreter with transformers")
    parser.add_argument("--methods", action="store_true", help="the cost of each method's step, and nothing else")
    parser.add_argument("--own", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.own:
        asked = json.loads(arguments.own)
        if asked.get("methods"):
            from training_methods import step_costs

            print(json.dumps(step_costs(asked)))
        else:
            print(json.dumps(own_steps(asked)))
        return

    import torch

    from trainer.config import build_config
    from trainer.model.flops import flops_per_token
    from trainer.precision import choose, measure

    threads = arguments.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    rates = measure(torch.device("cpu"), budget=0.1 if arguments.quick else 0.5)
    precision = choose("auto", rates)
    asked = {
        **SHAPE, "threads": threads, "mask_rate": 0.15, "precision": precision, "positions": "tupe-a",
        "seconds": 3.0 if arguments.quick else arguments.seconds,
    }  # fmt: skip
    own = [sys.executable, __file__, "--own"]
    if arguments.methods:
        methods(in_process(own, {**asked, "methods": True}), precision, threads)
        return
    peer = [arguments.peers, str(Path(__file__).with_name("training_peer.py"))] if arguments.peers else None
    forms: dict[str, dict[str, Any] | None] = {}
    for compiled in (False,) if arguments.quick else (False, True):
        kind = "compiled" if compiled else "eager"
        variants = [("siliang, TUPE", own, "tupe-a"), ("siliang, absolute", own, "absolute")]
        variants += [("BertForMaskedLM", peer, "absolute")] if peer else []
        for name, command, positions in variants:
            forms[f"{name}, {kind}"] = in_process(command, {**asked, "compile": compiled, "positions": positions})
    if peer is None:
        print("no peer: pip install torch transformers into an interpreter and name it by --peers or $SILIANG_PEERS_HF")

    tokens = SHAPE["rows"] * SHAPE["length"]
    print(f"{threads} threads, {precision}; matmul GFLOP/s: {', '.join(f'{k} {v:,.0f}' for k, v in rates.items())}")
    print(f"{'form':32} {'tokens/s':>10} {'per CPU second':>15} {'steps':>6}")
    for name, form in forms.items():
        if form:
            print(f"{name:32} {tokens / form['wall']:10,.0f} {tokens / form['cpu']:15,.0f} {form['steps']:6}")
    fastest = {
        side: min((f for name, f in forms.items() if f and side in name), key=lambda f: f["wall"], default=None)
        for side in ("siliang, TUPE", "siliang, absolute", "Bert")
    }
    ours, same, theirs = fastest["siliang, TUPE"], fastest["siliang, absolute"], fastest["Bert"]
    if ours is None:
        raise SystemExit("error: the trainer took no step")
    each = flops_per_token(build_config(preset="small").encoder(SHAPE["vocabulary"]), SHAPE["length"], 0.15)
    wait, digest = measure_wait(arguments.data, ours["wall"], 50 if arguments.quick else 500)
    print(
        json.dumps(
            {
                "tokens_s": round(tokens / ours["wall"]),
                "vs_hf": round(theirs["wall"] / ours["wall"], 3) if theirs else None,
                "vs_hf_cpu": round(theirs["cpu"] / ours["cpu"], 3) if theirs else None,
                "vs_hf_absolute": round(theirs["wall"] / same["wall"], 3) if theirs and same else None,
                "mfu": round(tokens / ours["wall"] * each / (rates[precision] * 1e9), 4),
                "data_wait": round(wait, 5),
                "precision": precision,
                "threads": threads,
                "matmul_gflops": {name: round(rate) for name, rate in rates.items()},
                "corpus": digest,
                "versions": (theirs or ours)["versions"],
            }
        )
    )


if __name__ == "__main__":
    main()
