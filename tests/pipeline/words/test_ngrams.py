from collections import Counter

import numpy as np
import pytest

from pipeline.words.frequency import WORD_COUNTS, merge_words, normalise_word
from pipeline.words.ngrams import count_ngrams, ngram_table
from pipeline.words.spans import word_spans
from schemas.arrow import NGRAM_FREQUENCY


def brute_force(corpus, tokenizer, longest):
    """Words in Python lists, by runs without a gap."""
    count, documents, last = Counter(), Counter(), {}
    runs: list[tuple[int, list[str]]] = []
    end = -1
    for start, stop, document in zip(corpus.spans.start, corpus.spans.end, corpus.spans.document, strict=True):
        if start != end or runs[-1][0] != document:
            runs.append((document, []))
        runs[-1][1].append(normalise_word(tokenizer.decode(corpus.encoded.ids[start:stop])))
        end = stop
    for document, words in runs:
        for n in range(2, longest + 1):
            for i in range(len(words) - n + 1):
                key = " ".join(words[i : i + n])
                if all(word and " " not in word for word in words[i : i + n]):
                    count[key] += 1
                    if last.get(key) != document:
                        last[key] = document
                        documents[key] += 1
    return [
        {"word": key, "count": count[key], "documents": documents[key], "step": 0}
        for key in sorted(count, key=str.encode)
    ]


@pytest.mark.parametrize("longest", [2, 3])
def test_ngrams_equal_brute_force(corpus, tokenizer, longest):
    found = count_ngrams(tokenizer, corpus.encoded, corpus.spans, longest)
    assert found.schema.equals(WORD_COUNTS)
    assert found.to_pylist() == brute_force(corpus, tokenizer, longest)


def test_what_stands_between_words_ends_an_ngram(tokenizer):
    encoded = tokenizer.encode(["the white whale, the white 7 whale", "The white", "", "one"])
    spans = word_spans(encoded, tokenizer.piece_kinds)
    assert count_ngrams(tokenizer, encoded, spans, 3).to_pylist() == [
        {"word": "the white", "count": 3, "documents": 2, "step": 0},
        {"word": "the white whale", "count": 1, "documents": 1, "step": 0},
        {"word": "white whale", "count": 1, "documents": 1, "step": 0},
    ]


@pytest.mark.parametrize("few", [[], [""], ["one"], ["one two"]])
def test_short_texts(tokenizer, few):
    encoded = tokenizer.encode(few)
    found = count_ngrams(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds), 3)
    assert found["word"].to_pylist() == (["one two"] if few == ["one two"] else [])


def test_batches_give_the_counts_of_the_whole(corpus, tokenizer):
    tables = []
    for batch in np.array_split(np.random.default_rng(0).permutation(len(corpus.texts)), 3):
        encoded = tokenizer.encode([corpus.texts[i] for i in batch])
        tables.append(count_ngrams(tokenizer, encoded, word_spans(encoded, tokenizer.piece_kinds), 2))
    assert merge_words(tables).equals(count_ngrams(tokenizer, corpus.encoded, corpus.spans, 2))


def test_table(corpus, tokenizer):
    table = ngram_table(count_ngrams(tokenizer, corpus.encoded, corpus.spans, 3))
    assert table.schema.equals(NGRAM_FREQUENCY, check_metadata=True)
    rows = [(row["n"], -row["count"], row["ngram"].encode()) for row in table.to_pylist()]
    assert rows == sorted(rows)
    assert all(len(row["ngram"].split(" ")) == row["n"] for row in table.slice(0, 500).to_pylist())
