"""Rare words: vectors against plain sums, contexts from notes and text, bad files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import schemas.arrow
from schemas.vocabulary import CLS, SEP
from trainer.data.shards import Corpus
from trainer.evaluate.bands import Occurrence
from trainer.evaluate.rare_words import (
    CONTEXTS,
    RareWordsError,
    averaged_vectors,
    contexts,
    contextual_vectors,
    read_word_pairs,
    score_rare_words,
)
from trainer.evaluate.words import WordFinder
from trainer.metrics import spearman
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder

VOCABULARY = 40
CONFIG = ModelConfig(
    vocabulary_size=VOCABULARY, layers=1, width=16, heads=2, feed_forward=32, max_length=12, init_std=0.2
)


class Letters:
    """Piece 6 + k begins a word of one letter; a word of several letters has a piece for each (32 + k inside)."""

    def piece(self, token: int) -> str:
        return "▁" + chr(ord("a") + token - 6) if token < 32 else chr(ord("a") + token - 32)

    def encode(self, text: str) -> list[int]:
        return [6 + ord(text[0]) - ord("a"), *(32 + ord(c) - ord("a") for c in text[1:])] if text else []


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(CONFIG).eval()


def write(path: Path, schema: pa.Schema, columns: list[list]) -> None:
    path.parent.mkdir(exist_ok=True)
    arrays = [pa.array(c, type=field.type) for c, field in zip(columns, schema, strict=True)]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))


@pytest.fixture(scope="module")
def corpus(make_corpus: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    documents = [[6, 7, 32, 8, 9] * 6 for _ in range(5)]  # a, ba, c, d
    directory = make_corpus(tmp_path_factory.mktemp("corpus"), documents, VOCABULARY)
    write(directory / "frequency/words.arrow", schemas.arrow.WORD_FREQUENCY, [["a", "ba", "e"], [9, 8, 1], [1, 1, 1]])
    context = {"doc_id": "0" * 32, "tokens": [6, 10, 7], "start": 1, "end": 2}
    columns = [[0], ["e"], [2], [1], [[context]], [None]]
    write(directory / "notes/notes-00000-of-00001.arrow", schemas.arrow.note(VOCABULARY), columns)
    return Corpus(directory, "train")


def test_contexts_come_from_notes_and_else_from_text(corpus: Corpus) -> None:
    found = contexts(["e", "ba", "zz", "A"], corpus, WordFinder(Letters()), longest=8)
    assert found["e"] == [Occurrence([6, 10, 7], 1, 2)]
    assert set(found) == {"e", "ba", "a"}
    assert len(found["ba"]) == CONTEXTS
    for window in found["ba"]:
        assert window.ids[window.start : window.end] == [7, 32]
        assert len(window.ids) <= 6


def test_vectors_are_means(encoder: Encoder) -> None:
    table = encoder.token_embedding.weight.detach().double().numpy()
    found = averaged_vectors(encoder, Letters(), ["ba", "c"])
    assert found == pytest.approx(np.stack([(table[7] + table[32]) / 2, table[8]]))
    windows = {"ba": [Occurrence([6, 7, 32], 1, 3), Occurrence([7, 32, 9, 9], 0, 2)]}
    found = contextual_vectors(encoder, Letters(), ["ba", "c"], windows)

    def states(ids: list[int]) -> np.ndarray:
        row = torch.tensor([[CLS, *ids, SEP]])
        with torch.no_grad():
            return encoder(row, torch.ones_like(row), torch.arange(row.shape[1])[None])[0].numpy()

    ba = (states([6, 7, 32])[2:4].mean(0) + states([7, 32, 9, 9])[1:3].mean(0)) / 2
    assert found == pytest.approx(np.stack([ba, states([8])[1]]), abs=1e-5)


def test_scores(corpus: Corpus, encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(",word1,word2,similarity\n0,a,ba,1\n1,a,e,3\n2,ba,e,2.5\n3,c,z,0.5\n")
    pairs = read_word_pairs(path)
    found = score_rare_words(encoder, Letters(), corpus, pairs)
    assert (found.pairs, found.pairs_in_corpus, found.words, found.words_with_context) == (4, 3, 5, 4)
    vectors = averaged_vectors(encoder, Letters(), ["a", "ba", "e"])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    guess = [unit[0] @ unit[1], unit[0] @ unit[2], unit[1] @ unit[2]]
    assert found.averaged_in_corpus == pytest.approx(spearman(guess, [1, 3, 2.5]))
    assert -1 <= found.contextual <= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("word1,word2,similarity\na,b,1\na,b,x\n", "line 3: not word1"),
        ("word1,word2,similarity\na,b\n", "line 2: not word1"),
        ("word1,word2,similarity\na,,3\n", "line 2: not word1"),
        ("word1,word2,similarity\na,b,nan\n", "line 2: not word1"),
        ("left,right,similarity\na,b,3\n", "line 2: not word1"),
        ("word1,word2,similarity\na,b,3\n", "1 pairs; a correlation needs three"),
    ],
)
def test_bad_files_are_told_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(RareWordsError, match=message):
        read_word_pairs(tmp_path / "pairs.csv")
