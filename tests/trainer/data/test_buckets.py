import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.vocabulary import CLS, SEP
from trainer.data.buckets import buckets, unpadded
from trainer.data.masking import Masking
from trainer.data.shards import Corpus


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=200), st.integers(1, 3000), st.integers(3, 400),
    st.integers(0, 9), st.integers(1, 100),
)  # fmt: skip
def test_every_example_once_in_batches_that_hold_it(lengths, batch_tokens, longest, epoch, window):
    lengths = np.array(lengths)
    found = buckets(lengths, batch_tokens, longest, 3, epoch, window)
    assert sorted(x for b in found for x in b.examples.tolist()) == list(range(len(lengths)))
    for bucket in found:
        need = np.minimum(lengths[bucket.examples] + 2, longest).max()
        assert need <= bucket.width <= min(need + 7, longest)
        assert len(bucket.examples) == 1 or len(bucket.examples) * bucket.width <= batch_tokens


def test_little_padding_and_mixed_lengths():
    lengths = np.random.default_rng(0).lognormal(4, 1, 10_000).astype(np.int64)
    found = buckets(lengths, 8192, 512, 0, 0)
    held = sum(np.minimum(lengths[b.examples] + 2, 512).sum() for b in found)
    assert held / sum(len(b.examples) * b.width for b in found) > 0.92
    widths = np.array([b.width for b in found])
    assert abs(np.corrcoef(widths, np.arange(len(widths)))[0, 1]) < 0.35
    assert [b.width for b in buckets(lengths, 8192, 512, 0, 1)] != widths.tolist()


def test_batches_hold_one_document_a_row(tmp_path, make_corpus):
    texts = [list(range(6, 6 + n)) for n in np.random.default_rng(0).integers(0, 90, 80)]
    corpus = Corpus(make_corpus(tmp_path, texts))
    batches = list(unpadded(corpus, 512, 64, 1, 0, Masking(rate=0.0)))
    rows = [row[row > 0].tolist() for batch in batches for row in batch.tokens_BT]
    assert sorted(rows) == sorted([CLS, *text[:62], SEP] for text in texts if text)
    assert len({batch.tokens_BT.shape[1] for batch in batches}) > 3
    again = list(unpadded(corpus, 512, 64, 1, 0, Masking(rate=0.0), first=2))
    for a, b in zip(batches[2:], again, strict=True):
        assert torch.equal(a.tokens_BT, b.tokens_BT)


def test_rows_too_short_are_refused():
    with pytest.raises(ValueError, match="longest 2"):
        buckets(np.ones(3, dtype=np.int64), 10, 2, 0, 0)
