"""What the peers of benchmarks/dedup.py do, run by it in an interpreter that has them.

    python dedup_peers.py rensa|datasketch TEXTS.jsonl         signatures: seconds of CPU
    python dedup_peers.py datatrove SHARDS.. OUTPUT            MinHash in four stages

Prints one JSON object. Shingles are five lower-case words that spaces separate, joined: less work than any
normalisation. text-dedup has a command line of its own, which needs no script.
"""

import json
import sys
import time
from pathlib import Path

PERMUTATIONS = 112


def shingles(text):
    words = text.lower().split()
    return {" ".join(words[i : i + 5]) for i in range(len(words) - 4)}


def rensa(texts):
    from rensa import RMinHash

    for text in texts:
        minhash = RMinHash(PERMUTATIONS, 1)
        minhash.update(list(shingles(text)))
        minhash.digest()


def rensa_matrix(texts):
    """All sets in one call: the fastest that rensa has."""
    from rensa import RMinHash

    for start in range(0, len(texts), 1024):
        sets = [list(shingles(text)) for text in texts[start : start + 1024]]
        RMinHash.digest_matrix_from_token_sets(sets, PERMUTATIONS, 1)


def datasketch(texts):
    from datasketch import MinHash

    first = MinHash(PERMUTATIONS, scheme="affine32")
    for text in texts:
        minhash = first.copy()
        minhash.update_batch([shingle.encode() for shingle in shingles(text)])


def datatrove(shards, output):
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    folders = [str(Path(output) / name) for name in ("signatures", "buckets", "remove", "kept")]
    signatures, buckets, remove, kept = folders
    stages = [
        (1, [JsonlReader(shards), MinhashDedupSignature(signatures, config=config)]),
        (14, [MinhashDedupBuckets(signatures, buckets, config=config, lines_to_buffer=1000)]),
        (1, [MinhashDedupCluster(buckets, remove, config=config, lines_to_buffer=1000)]),
        (1, [JsonlReader(shards), MinhashDedupFilter(remove), JsonlWriter(kept)]),
    ]
    for number, (tasks, pipeline) in enumerate(stages):
        logs = str(Path(output) / f"logs{number}")
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=1, logging_dir=logs).run()


def main(work, first, *rest):
    if work == "datatrove":
        datatrove(first, *rest)
        print(json.dumps({}))
        return
    with open(first, encoding="utf-8") as rows:
        texts = [json.loads(row)["text"] for row in rows]
    best = float("inf")
    for run in {"rensa": [rensa, rensa_matrix], "datasketch": [datasketch]}[work]:
        run(texts[:50])
        for _ in range(2):
            started = time.process_time()
            run(texts)
            best = min(best, time.process_time() - started)
    print(json.dumps({"seconds": best}))


if __name__ == "__main__":
    main(*sys.argv[1:])
