"""One row in a process of its own: reads orders from stdin, one JSON object a line, and answers each with one.

    python benchmarks/lights/child.py KIND ARGUMENTS-JSON THREADS

    {"texts": [...], "batch": 32}                              -> {"labels": [...]}
    {"logits": [...]}                                          -> {"logits": [[...], ...]}, of kinds that have them
    {"batches": [[...], ...], "length": 128, "passes": 1}      -> {"seconds": [a batch's, mean of each pass]}

Nothing is imported here that a peer's environment may lack.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def answer(model: Any, order: dict[str, Any]) -> dict[str, Any]:
    if "logits" in order:
        return {"logits": model.logits(order["logits"])}
    if "texts" in order:
        texts, size = order["texts"], order["batch"]
        labels: list[str] = []
        for first in range(0, len(texts), size):
            labels += model.label(texts[first : first + size], None)
        return {"labels": labels}
    seconds = []
    for _ in range(order["passes"]):
        start = time.perf_counter()
        for batch in order["batches"]:
            model.label(batch, order["length"])
        seconds.append((time.perf_counter() - start) / len(order["batches"]))
    return {"seconds": seconds}


def main(kind: str, arguments: str, threads: str) -> None:
    sys.path.insert(0, str(Path(__file__).parents[2]))
    # Whatever a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = importlib.import_module(kind if "." in kind else f"benchmarks.lights.kinds.{kind}")
    model = module.load(json.loads(arguments), int(threads))
    print(json.dumps({"size": model.size}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(model, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
