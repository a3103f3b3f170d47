"""Times datatrove on the steps of `prepare`; run by prepare.py in an interpreter with datatrove 0.10 and spaCy.

    python prepare_peer.py TEXTS.jsonl DIRECTORY

TEXTS: one {"id", "text"} per line. Prints one JSON object, seconds of CPU of each step, by its own readers and writers:
- clean: the ftfy formatter, then the Gopher repetition, Gopher quality, C4 and FineWeb filters, a dropped text going
  no further
- deduplicate: MinHash in its four stages, 14 buckets of 8 over five-word shingles
- tokenize: a BPE tokenizer of 8,192 pieces, learnt before anything is timed, in the Rust of `tokenizers`
"""

import json
import resource
import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.formatters import FTFYFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter


def seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def learn(path, target):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    with open(path, encoding="utf-8") as rows:
        texts = [json.loads(row)["text"] for row in rows]
    trainer = trainers.BpeTrainer(vocab_size=8192, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(target))


def main(path, directory):
    work = Path(directory)
    work.mkdir()
    learn(path, work / "tokenizer.json")
    filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]
    formatter = FTFYFormatter()
    for one in filters:  # load spaCy
        one.filter(Document(text="The words of a warm-up, with stops.\n" * 20, id="0"))
    formatter.format("warm")
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    source, name = str(Path(path).parent), Path(path).name
    clean, signatures, buckets, remove, kept, tokens = (
        str(work / step) for step in ("clean", "signatures", "buckets", "remove", "kept", "tokens")
    )
    steps = {
        "clean": [(1, [JsonlReader(source, glob_pattern=name), formatter, *filters, JsonlWriter(clean)])],
        "deduplicate": [
            (1, [JsonlReader(clean), MinhashDedupSignature(signatures, config=config)]),
            (14, [MinhashDedupBuckets(signatures, buckets, config=config, lines_to_buffer=1000)]),
            (1, [MinhashDedupCluster(buckets, remove, config=config, lines_to_buffer=1000)]),
            (1, [JsonlReader(clean), MinhashDedupFilter(remove), JsonlWriter(kept)]),
        ],
        "tokenize": [
            (1, [JsonlReader(kept), DocumentTokenizer(tokens, tokenizer_name_or_path=str(work / "tokenizer.json"))])
        ],
    }
    cost = {}
    for step, stages in steps.items():
        started = seconds()
        for number, (tasks, pipeline) in enumerate(stages):
            logs = str(work / f"logs-{step}-{number}")
            LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=1, logging_dir=logs).run()
        cost[step] = round(seconds() - started, 2)
    print(json.dumps(cost))


if __name__ == "__main__":
    main(*sys.argv[1:])
