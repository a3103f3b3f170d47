"""Times datatrove's filters; run by benchmarks/rules.py in an interpreter that has datatrove 0.10 and spaCy.

    python peer_datatrove.py TEXTS.jsonl

TEXTS: one {"text"} per line. Prints one JSON object, seconds of CPU:
- chained: the filters one after another as a pipeline runs them, where a dropped document goes no further
- each: every filter on every document, so that all verdicts are known
"""

import json
import sys
import time

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)


def documents(texts):
    return (Document(text=text, id=str(number)) for number, text in enumerate(texts))


def main(path):
    with open(path, encoding="utf-8") as rows:
        texts = [json.loads(row)["text"] for row in rows]
    filters = [GopherQualityFilter(), GopherRepetitionFilter(), C4QualityFilter(), FineWebQualityFilter()]
    for one in filters:  # load spaCy
        one.filter(Document(text="The words of a warm-up, with stops.\n" * 20, id="0"))
    started = time.process_time()
    stream = documents(texts)
    for one in filters:
        stream = one.run(stream)
    kept = sum(1 for _ in stream)
    chained = time.process_time() - started
    # The words of one text are kept from filter to filter, as in a pipeline: datatrove caches the last five.
    started = time.process_time()
    for text in texts:
        for one in filters:
            one.filter(Document(text=text, id="0"))
    each = time.process_time() - started
    print(json.dumps({"chained": chained, "each": each, "kept": kept}))


if __name__ == "__main__":
    main(sys.argv[1])
