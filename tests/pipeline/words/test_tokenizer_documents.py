"""Odd and large documents, and many real ones: what is encoded comes back."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipeline.words.frequency import count_words
from pipeline.words.spans import word_spans
from pipeline.words.tokenizer import Tokenizer


def comes_back(tokenizer: Tokenizer, texts: list[str]) -> None:
    encoded = tokenizer.encode(texts)
    assert encoded.ids.dtype == np.uint16
    for number, text in enumerate(texts):
        assert tokenizer.decode(encoded.document(number)) == tokenizer.normalise(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("abcdefghij" * (1 << 20), 0),  # one word of 10 MB
        (" \n\t\u3000\u00a0" * 10_000, 0),
        ("🙂🙃🚀👩‍👩‍👧" * 10_000, 0),
        ("Wal кит 鯨 วาฬ حوت 고래 ", 9),  # Han and Thai by pieces: 鯨 and three of วาฬ here
    ],
    ids=["one word", "space", "emoji", "scripts"],
)
def test_odd_documents_come_back_and_harm_no_neighbour(tokenizer, text, words):
    encoded = tokenizer.encode(["before", text, "after"])
    assert tokenizer.decode(encoded.document(1)) == tokenizer.normalise(text)
    spans = word_spans(encoded, tokenizer.piece_kinds)
    assert (spans.document[0], spans.document[-1]) == (0, 2)
    assert int((spans.document == 1).sum()) <= words
    assert (words > 0) == bool((spans.document == 1).any())
    counted = count_words(tokenizer, encoded, spans)["word"].to_pylist()
    assert {"before", "after"} <= set(counted)


def test_a_million_distinct_words_in_one_document(tokenizer):
    letters = np.array(list("abcdefghijklmnopqrst"))
    number = np.arange(1_000_000)
    digits = np.stack([number // 20**place % 20 for place in range(5)], axis=1)
    text = " ".join("".join(row) for row in letters[digits].tolist())
    encoded = tokenizer.encode([text])
    counted = count_words(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds))
    assert counted.num_rows == 1_000_000
    assert set(counted["count"].to_pylist()) == set(counted["documents"].to_pylist()) == {1}


def test_ten_thousand_documents_of_the_samples_come_back(tokenizer, texts):
    paragraphs = [part for text in texts.values() for part in text.splitlines() if part.strip()]
    assert len(paragraphs) > 10_000
    comes_back(tokenizer, paragraphs[:10_000])
    comes_back(tokenizer, ["\n".join(paragraphs[start : start + 40]) for start in range(0, len(paragraphs), 40)])


@pytest.mark.slow
@pytest.mark.skipif("SILIANG_RAW_DATA" not in os.environ, reason="SILIANG_RAW_DATA names no directory of raw text")
def test_ten_thousand_real_documents_come_back(tokenizer):
    files = (path for path in sorted(Path(os.environ["SILIANG_RAW_DATA"]).rglob("*")) if path.is_file())
    found = 0
    for path in islice(files, 20_000):
        text = path.read_bytes()[: 1 << 20].decode("utf-8", "ignore")
        documents = [text[start : start + 4000] for start in range(0, len(text), 4000)][: 10_000 - found]
        comes_back(tokenizer, documents)
        found += len(documents)
        if found == 10_000:
            return
    pytest.skip(f"only {found} documents in {os.environ['SILIANG_RAW_DATA']}")
