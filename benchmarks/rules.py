"""The rules beside datatrove's filters, on the same documents: seconds of CPU on one core, and their ratio.

    python benchmarks/rules.py [--data DIR] [--mb N] [--quick] [--peers PYTHON]

PYTHON has `datatrove==0.10.*` and spacy; without it the one that SILIANG_PEERS_DATATROVE names. Without --data it takes
samples/, over and over until there are --mb megabytes. The last line is one JSON object:

- rules_vs_datatrove: datatrove's Gopher quality, Gopher repetition, C4 and FineWeb filters one after another, a dropped
  document going no further / all statistics and all rules of all default sets (`measure` and `judge`)
- rules_vs_datatrove_each: the same, where datatrove runs every filter on every document
- rules_vs_datatrove_variants: as rules_vs_datatrove, with the sets that repeat datatrove's verdicts scored too
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if Path(sys.path[0]).resolve() == ROOT / "benchmarks":
    sys.path[0] = str(ROOT)  # that folder would hide the standard library's html behind a file of its own
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyarrow as pa  # noqa: E402

from pipeline.config import RulesConfig, make_config  # noqa: E402
from pipeline.io.inputs import list_inputs  # noqa: E402
from pipeline.io.read import read_batches  # noqa: E402
from pipeline.text.html import main_text  # noqa: E402
from pipeline.text.judge import judge  # noqa: E402
from pipeline.text.language import identify  # noqa: E402
from pipeline.text.repair import repair  # noqa: E402
from pipeline.text.rules import RULES, scored  # noqa: E402
from pipeline.text.statistics import measure  # noqa: E402

PEER = Path(__file__).with_name("peer_datatrove.py")
INSTALL = "set SILIANG_PEERS_DATATROVE to a Python with `pip install 'datatrove==0.10.*' spacy`"
VARIANTS = make_config({"rules": {"sets": sorted({rule.set for rule in RULES.values() if rule.on_demand})}}).rules
"""With the sets that repeat datatrove's verdicts."""
BATCH = 1024


def least(work: Callable[[], object], repeats: int) -> float:
    """Seconds of CPU: what other processes do only adds."""
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def batches_of(texts: Sequence[str]) -> list[pa.RecordBatch]:
    """As the stage hands them to `measure`: with their language and script."""
    found = []
    for at in range(0, len(texts), BATCH):
        part = pa.array(texts[at : at + BATCH], pa.string())
        none = pa.nulls(len(part), pa.string())
        found.append(identify(pa.RecordBatch.from_pydict({"text": part, "quarantine": none, "detail": none})))
    return found


def datatrove_seconds(texts: Sequence[str], peers: Path) -> dict[str, Any]:
    """Runs peer_datatrove.py by this interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [str(peers), "-W", "ignore", str(PEER), str(path)]
        told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    result: dict[str, Any] = json.loads(told.splitlines()[-1])
    return result


def rules_vs_datatrove(texts: Sequence[str], peers: Path | None = None, repeats: int = 3) -> dict[str, Any]:
    """The metrics of this file, and the seconds behind them. `peers`: a Python with datatrove, by default that of
    SILIANG_PEERS_DATATROVE; without either its numbers are None.
    """
    named = peers or (Path(os.environ["SILIANG_PEERS_DATATROVE"]) if "SILIANG_PEERS_DATATROVE" in os.environ else None)
    batches = batches_of(texts)
    seconds = {}
    for name, config in (("default", RulesConfig()), ("variants", VARIANTS)):

        def score(config: RulesConfig = config) -> None:
            for batch in batches:
                judge(measure(batch), config)

        score()  # compiles
        seconds[name] = least(score, repeats)
    result: dict[str, Any] = {
        "rules_vs_datatrove": None,
        "rules_vs_datatrove_each": None,
        "rules_vs_datatrove_variants": None,
        "rules_seconds": round(seconds["default"], 4),
        "rules_variants_seconds": round(seconds["variants"], 4),
        "datatrove_seconds": None,
        "datatrove_each_seconds": None,
        "datatrove_kept": None,
    }
    if named is None:
        return result
    told = datatrove_seconds(texts, named)
    return result | {
        "rules_vs_datatrove": round(told["chained"] / seconds["default"], 1),
        "rules_vs_datatrove_each": round(told["each"] / seconds["default"], 1),
        "rules_vs_datatrove_variants": round(told["chained"] / seconds["variants"], 1),
        "datatrove_seconds": round(told["chained"], 3),
        "datatrove_each_seconds": round(told["each"], 3),
        "datatrove_kept": told["kept"],
    }


def texts_of(data: Path, megabytes: float) -> list[str]:
    """Clean texts of at most 6,000 characters or so, as they come, over and over until there are enough."""
    config = make_config(
        {
            "input": {
                "text_fields": ["text", "paragraphs", "content", "original"],
                "exclude": ["SOURCES.md"],
                "split_characters": 6000,
                "max_quarantined": 1.0,
            }
        }
    )
    texts: list[str] = []
    size = 0
    for file in list_inputs([str(data)]):
        for batch in read_batches(file, config.input):
            clean = repair(main_text(batch))
            texts += [text for text in clean["text"].to_pylist() if text]
        size = sum(len(text.encode()) for text in texts)
        if size >= megabytes * 1e6:
            break
    if not texts:
        raise SystemExit(f"{data}: no texts")
    held: list[str] = []
    size = 0
    for text in itertools.cycle(texts):
        if size >= megabytes * 1e6:
            return held
        held.append(text)
        size += len(text.encode())
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "samples")
    parser.add_argument("--mb", type=float, help="megabytes of text; 8, or 2 with --quick")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", type=Path, help="Python that has datatrove")
    arguments = parser.parse_args()
    texts = texts_of(arguments.data, arguments.mb or (2.0 if arguments.quick else 8.0))
    size = sum(len(text.encode()) for text in texts) / 1e6
    result = rules_vs_datatrove(texts, arguments.peers, 3 if arguments.quick else 5)
    rules = len(scored(RulesConfig())), len(scored(VARIANTS))
    print(f"{size:.1f} MB of text in {len(texts):,} documents; seconds of CPU, one core")
    for name, key in (
        (f"Siliang, {rules[0]} rules", "rules_seconds"),
        (f"Siliang, {rules[1]} rules, datatrove's own among them", "rules_variants_seconds"),
        ("datatrove, 4 filters one after another", "datatrove_seconds"),
        ("datatrove, 4 filters on every document", "datatrove_each_seconds"),
    ):
        seconds = result[key]
        told = f"missing: {INSTALL}" if seconds is None else f"{seconds:9.3f} s {size / seconds:10.2f} MB/s"
        print(f"  {name:<52} {told}")
    print(json.dumps(result | {"mb": round(size, 2), "documents": len(texts), "quick": arguments.quick}))


if __name__ == "__main__":
    main()
