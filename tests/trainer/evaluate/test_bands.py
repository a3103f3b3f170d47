"""Bands: which words fall where, and scores that add up to those of the whole."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import schemas.arrow
from trainer.data.held_out import held_out
from trainer.data.masking import Masking
from trainer.data.shards import Corpus, CorpusError
from trainer.evaluate.bands import (
    BANDS,
    NO_WORD,
    RARE,
    band_numbers,
    occurrences,
    score_targets,
    score_words,
    target_words,
)
from trainer.evaluate.held_out import held_out_loss
from trainer.evaluate.scoring import masked_copies, score
from trainer.evaluate.words import Unit, WordCounts, WordFinder
from trainer.model.config import ModelConfig
from trainer.tasks.masked_lm import MaskedLM

VOCABULARY = 40
CONFIG = ModelConfig(
    vocabulary_size=VOCABULARY, layers=2, width=16, heads=2, feed_forward=32, max_length=16, init_std=0.2
)


class Letters:
    """Pieces 6 to 31 begin words 'a' to 'z'; 32 on are 'A' to 'F' inside words, the last two punctuation."""

    def piece(self, token: int) -> str:
        if token >= VOCABULARY - 2:
            return ".!"[token - VOCABULARY + 2]
        return "▁" + chr(ord("a") + token - 6) if token < 32 else chr(ord("A") + token - 32)


@pytest.fixture(scope="module")
def corpus(make_corpus: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    rng = np.random.default_rng(0)
    documents = [rng.integers(6, VOCABULARY, rng.integers(3, 40)).tolist() for _ in range(60)]
    rare = [[(0, 1, 0)] if document[0] < 32 and document[1] < 32 else [] for document in documents]
    directory = make_corpus(tmp_path_factory.mktemp("corpus"), documents, VOCABULARY, valid=documents, rare=rare)
    words = [chr(ord("a") + k) for k in range(20)]
    counts = [5, 50, 500, 5_000, 50_000] * 4
    columns = [words, counts, counts]
    schema = schemas.arrow.WORD_FREQUENCY
    arrays = [pa.array(c, type=field.type) for c, field in zip(columns, schema, strict=True)]
    (directory / "frequency").mkdir()
    with pa.OSFile(str(directory / "frequency/words.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    return Corpus(directory, "train")


@pytest.fixture(scope="module")
def model() -> MaskedLM:
    torch.manual_seed(0)
    return MaskedLM(CONFIG).eval()


def test_band_edges() -> None:
    counts = np.array([0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 10**9])
    assert [BANDS[k] for k in band_numbers(counts)] == [
        "unlisted", "1-9", "1-9", "10-99", "10-99", "100-999", "100-999", "1,000-9,999", "1,000-9,999", "10,000+",
        "10,000+",
    ]  # fmt: skip


def test_words_are_chosen_by_band_with_their_context(corpus: Corpus) -> None:
    counts, finder = WordCounts.read(corpus.directory), WordFinder(Letters())
    chosen = occurrences(corpus, finder, counts, limit=12, longest=10)
    assert list(chosen) == [*BANDS, RARE]
    for name, words in chosen.items():
        assert 1 <= len(words) <= 12
        for word in words:
            assert len(word.ids) <= 8
            (unit,) = [unit for unit in finder.units(word.ids) if unit.start == word.start]
            assert unit.end == word.end
            if name != RARE:
                assert BANDS[band_numbers(counts.of([unit.word]))[0]] == name
    assert occurrences(corpus, WordFinder(Letters()), counts, limit=12, longest=10) == chosen


def test_scores_of_words_are_means_over_them(corpus: Corpus, model: MaskedLM) -> None:
    counts = WordCounts.read(corpus.directory)
    chosen = occurrences(corpus, WordFinder(Letters()), counts, limit=5, longest=16)
    for found, words in zip(score_words(model, chosen), chosen.values(), strict=True):
        losses, ranks = [], []
        for word in words:
            one = score(model, masked_copies(word.ids, [Unit(word.start, word.end, "")]), batch_tokens=1)
            losses.append(-one.log_probability.sum())
            ranks.append(one.rank[0])
        assert found.words == len(words)
        assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
        assert found.perplexity == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)
        assert found.median_rank == np.median(ranks)


def test_target_losses_add_up_to_the_held_out_loss(corpus: Corpus, model: MaskedLM) -> None:
    batches = list(held_out(corpus, 16, 8, Masking(rate=0.4)))
    found = score_targets(model, batches, WordFinder(Letters()), WordCounts.read(corpus.directory))
    loss, targets, _ = held_out_loss(model, batches, torch.device("cpu"), "fp32")
    assert sum(score.targets for score in found) == targets
    assert sum(score.targets * score.loss for score in found) / targets == pytest.approx(loss, rel=1e-5)
    assert {score.band for score in found} == {*BANDS, NO_WORD}


def test_targets_know_their_word(corpus: Corpus) -> None:
    (batch,) = held_out(corpus, 16, 8, Masking(rate=0.5), 8)
    for at, target, word in zip(
        batch.target_index_M.tolist(), batch.target_M.tolist(), target_words(batch, WordFinder(Letters())), strict=True
    ):
        spelt = Letters().piece(target).removeprefix("▁").lower()
        assert spelt in word if target < VOCABULARY - 2 else word == ""
        assert batch.segments_BT.flatten()[at] > 0


def test_a_missing_table_is_told(make_corpus: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"words\.arrow"):
        WordCounts.read(make_corpus(tmp_path, [[7, 8]], VOCABULARY))
