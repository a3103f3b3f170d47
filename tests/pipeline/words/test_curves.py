import hashlib

import numpy as np
import pyarrow as pa
import pytest

from pipeline.words.curves import heaps, heaps_law, running_words, zipf
from pipeline.words.frequency import STEPS, count_words, distinct_words, document_steps, merge_words
from pipeline.words.spans import word_spans
from pipeline.words.split import doc_id_hash

DOC_IDS = pa.array([hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(50_000)])


def test_steps_are_the_first_documents_in_hash_order():
    steps, hashes = document_steps(DOC_IDS), doc_id_hash(DOC_IDS, "heaps").tolist()
    for step, value in list(zip(steps.tolist(), hashes, strict=True))[:2000]:
        # step i holds hashes below 2^(64 - i/2)
        assert step == STEPS - 1 or value**2 >= 1 << (128 - step - 1)
        assert value**2 < 1 << (128 - step)
    for step in range(12):
        share = 2 ** (-step / 2)
        assert abs((steps >= step).mean() - share) < 5 * (share * (1 - share) / len(steps)) ** 0.5 + 1e-9


def test_heaps_equals_counting_document_by_document(corpus, tokenizer):
    steps = document_steps(corpus.doc_ids)
    tables, running = [], np.zeros(STEPS, np.int64)
    for batch in np.array_split(np.random.default_rng(0).permutation(len(corpus.texts)), 4):
        encoded = tokenizer.encode([corpus.texts[i] for i in batch])
        spans = word_spans(encoded, tokenizer.piece_kinds)
        tables.append(count_words(tokenizer, encoded, spans, steps[batch]))
        running += running_words(steps[batch], np.bincount(spans.document, minlength=len(batch)))
    curve = heaps(merge_words(tables), running.tolist())

    names, word = distinct_words(tokenizer, corpus.encoded, corpus.spans)
    expected = []
    for step in range(STEPS - 1, -1, -1):
        inside = word[steps[corpus.spans.document] >= step]
        point = (len(inside), len({names[i] for i in inside.tolist()} - {""}))
        if point[0] and (not expected or point[0] > expected[-1][0]):
            expected.append(point)
    assert curve == expected
    assert len(curve) > 8
    assert curve[-1][0] == len(word)


def test_heaps_law():
    curve = [(n, round(7 * n**0.6)) for n in (10**3, 10**4, 10**5, 10**6)]
    k, beta = heaps_law(curve)
    assert k == pytest.approx(7, rel=0.01)
    assert beta == pytest.approx(0.6, rel=0.01)
    assert heaps_law(curve[:1]) == heaps_law([]) == (0.0, 0.0)


def test_zipf():
    counts = np.arange(100_000, 0, -1, dtype=np.uint64)
    points = zipf(counts)
    assert points[0] == (1, 100_000)
    assert points[-1] == (100_000, 1)
    assert all(count == 100_001 - rank for rank, count in points)
    assert points == sorted(points)
    assert zipf(counts[:0]) == []
    assert zipf(counts[:1]) == [(1, 100_000)]
