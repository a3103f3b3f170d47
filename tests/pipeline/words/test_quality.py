import numpy as np
import pyarrow as pa
import pytest

from pipeline.words.frequency import count_tokens, count_words
from pipeline.words.quality import Tally, fertility, measure, ordinary_pieces, pieces, tally
from pipeline.words.sample import SAMPLE
from schemas.arrow import WORD_FREQUENCY


def sample(rows: list[tuple[str, str]]) -> pa.RecordBatch:
    return pa.record_batch([pa.array([row[i] for row in rows]) for i in range(2)], schema=SAMPLE)


def test_sums_by_language_are_those_of_each_text_alone(tokenizer, corpus):
    rows = [
        ("zh" if name.endswith(".json") else "en", text) for name, text in zip(corpus.names, corpus.texts, strict=True)
    ]
    batches = [sample(rows[start : start + 70]) for start in range(0, len(rows), 70)]
    measured = measure(tokenizer, batches)
    assert set(measured.languages) == {"en", "zh"}
    for language in ("en", "zh"):
        alone = Tally()
        for name, text in rows:
            if name == language:
                alone.add(tally(tokenizer, [text], tokenizer.encode([text])))
        assert measured.languages[language] == alone
        assert alone.documents == sum(name == language for name, _ in rows)
        assert alone.bytes == sum(len(text.encode()) for name, text in rows if name == language)
    assert (measured.counts == count_tokens(corpus.encoded, tokenizer.size)[0]).all()
    assert measured.total().tokens == len(corpus.encoded.ids)
    assert measured.total().words == len(corpus.spans)
    # a Chinese character is a piece or more, an English word some letters: bytes tell what characters do not
    english, chinese = measured.languages["en"].ratios(), measured.languages["zh"].ratios()
    assert english["characters_per_token"] > 2 > chinese["characters_per_token"]
    assert chinese["byte_share"] > english["byte_share"]
    assert measured.rows()[0]["language"] == "en"


def test_bytes_and_words_by_hand(tokenizer):
    text = "the the 龘龘"  # the character is in no sample: three byte pieces each
    found = tally(tokenizer, [text], tokenizer.encode([text]))
    assert (found.byte_tokens, found.words, found.unknown_tokens) == (6, 4, 0)
    assert found.word_tokens == 2 + 6
    assert (found.characters, found.bytes) == (10, 14)
    assert found.ratios()["tokens_per_word"] == 2.0
    assert Tally().ratios()["bytes_per_token"] is None


def test_unused_and_longest_pieces(tokenizer, corpus):
    counts = count_tokens(corpus.encoded, tokenizer.size)[0]
    found = pieces(tokenizer, counts)
    ordinary = ordinary_pieces(tokenizer)
    assert found["ordinary"] == tokenizer.size - 6 - 256
    assert not ordinary[: 6 + 256].any()
    by_hand = [token for token in range(262, tokenizer.size) if counts[token] == 0]
    assert found["unused"] == len(by_hand)
    assert found["unused_examples"] == [tokenizer.piece(token) for token in by_hand[:20]]
    lengths = [len(row["piece"]) for row in found["longest"]]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == max(len(tokenizer.piece(token)) for token in range(262, tokenizer.size))
    everything = pieces(tokenizer, np.zeros(tokenizer.size, np.int64))
    assert everything["unused"] == everything["ordinary"]


def test_rare_words_take_more_pieces(tokenizer, corpus):
    counted = count_words(tokenizer, corpus.encoded, corpus.spans).select(WORD_FREQUENCY.names)
    words = counted.sort_by([("count", "descending"), ("word", "ascending")])
    bands = fertility(tokenizer, lambda: words.to_batches(max_chunksize=1000))
    assert [band["low"] for band in bands[:3]] == [1, 2, 10]
    assert sum(band["words"] for band in bands) == words.num_rows
    assert sum(band["occurrences"] for band in bands) == sum(words["count"].to_pylist())
    assert bands[0]["tokens_per_word"] > 1.5 * bands[-1]["tokens_per_word"]
    assert bands[0]["whole"] < bands[-1]["whole"]


@pytest.mark.parametrize("counts", [[], [1], [1, 5], [10, 1], [999, 1000]])
def test_every_word_falls_into_one_band(tokenizer, counts):
    words = [f"word{chr(97 + i)}" for i in range(len(counts))]
    table = pa.table([pa.array(words, pa.string()), pa.array(counts, pa.uint64()), pa.array(counts, pa.uint64())],
                     schema=WORD_FREQUENCY)  # fmt: skip
    bands = fertility(tokenizer, lambda: table.to_batches(max_chunksize=1))
    assert sum(band["words"] for band in bands) == len(counts)
    for band in bands:
        assert band["words"] == sum(band["low"] <= count <= band["high"] for count in counts)
