"""Rows of pieces, batches, and a classifier that does not see its padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from schemas.vocabulary import CLS, PAD, SEP
from trainer.finetune.classifier import Classifier, loss_of, predict, scores_of
from trainer.finetune.examples import Encoding, Example, collate, scoring_batches, training_batches
from trainer.finetune.labels import Labels
from trainer.finetune.table import Row, TableError
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder


class Characters:
    """A piece a character."""

    def encode(self, text: str) -> list[int]:
        return [6 + ord(character) % 50 for character in text if character != " "]


def encoding(kind="classification", longest: int = 10, pair: bool = False, refuse: bool = False) -> Encoding:
    return Encoding(Characters(), kind, longest, pair, refuse)


def test_single_texts_and_pairs() -> None:
    e = Characters().encode
    assert encoding().encode(Row("", "abc")).ids == [CLS, *e("abc"), SEP]
    assert encoding(pair=True).encode(Row("", "ab", "c")).ids == [CLS, *e("ab"), SEP, *e("c"), SEP]
    cut = encoding().encode(Row("", "a" * 9))
    assert (len(cut.ids), cut.ids[-1], cut.cut) == (10, SEP, True)
    assert not encoding().encode(Row("", "a" * 8)).cut


def test_the_longer_text_of_a_pair_is_cut() -> None:
    e = Characters().encode
    assert encoding(pair=True).encode(Row("", "ab", "c" * 20)).ids == [CLS, *e("ab"), SEP, *e("c" * 5), SEP]
    assert encoding(pair=True).encode(Row("", "a" * 20, "b" * 20)).ids == [CLS, *e("aaa"), SEP, *e("bbbb"), SEP]


def test_long_texts_may_be_refused() -> None:
    with pytest.raises(TableError, match="f: line 3: 11 pieces; this model reads 10"):
        encoding(refuse=True).encode(Row("f: line 3", "a" * 9))


def test_words_are_predicted_at_their_first_piece() -> None:
    labels = Labels("tokens", ("X", "Y"))
    found = encoding("tokens").encode(Row("", "abc d ef", None, "X Y X"), labels)
    assert (found.at, found.labels, found.words, found.cut) == ([1, 4, 5], [0, 1, 0], 3, False)
    found = encoding("tokens").encode(Row("", "abcdefg h ij", None, "X Y X"), labels)
    assert (found.at, found.labels, found.words, found.cut) == ([1, 8], [0, 1], 3, True)
    assert len(found.ids) == 10


@settings(deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 5))
def test_every_example_comes_once(lengths: list[int], rows: int, epoch: int) -> None:
    examples = [Example([CLS] * n, [0], [0.0]) for n in lengths]
    for batches in (training_batches(examples, rows, 10_000, 40, 3, epoch), list(scoring_batches(examples, 100))):
        assert sorted(k for batch in batches for k in batch) == list(range(len(examples)))
    assert max(map(len, training_batches(examples, rows, 10_000, 40, 3, epoch))) <= rows
    assert training_batches(examples, rows, 10_000, 40, 3, epoch) == training_batches(
        examples, rows, 10_000, 40, 3, epoch
    )


def test_batches_are_padded_to_the_right() -> None:
    examples = [Example([CLS, 9, SEP], [0], [1.0]), Example([CLS, *[8] * 9, SEP], [0, 2], [0.0, 1.0])]
    batch = collate(examples, [1, 0], 64)
    assert batch.tokens_BT.shape == (2, 16)
    assert batch.tokens_BT[1].tolist() == [CLS, 9, SEP] + [PAD] * 13
    assert batch.segments_BT.sum(1).tolist() == [11, 3]
    assert batch.positions_BT[1].tolist() == [0, 1, 2] + [0] * 13
    assert batch.index_M.tolist() == [0, 2, 16]
    assert batch.labels_M.tolist() == [0.0, 1.0, 1.0]
    assert collate(examples, [1], 11).tokens_BT.shape == (1, 11)


@pytest.mark.parametrize("positions", ["absolute", "tupe-a"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_neighbours_and_padding_do_not_matter(positions, norm) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        vocabulary_size=60, layers=2, width=16, heads=2, feed_forward=32, max_length=24, positions=positions, norm=norm,
        init_std=0.3,
    )  # fmt: skip
    model = Classifier(Encoder(config), Labels("classification", ("a", "b", "c"))).eval()
    rng = np.random.default_rng(0)
    examples = [Example([CLS, *rng.integers(6, 60, n).tolist(), SEP], [0], []) for n in (1, 5, 22, 9, 5)]
    together = predict(model, examples, 10_000, torch.device("cpu"))
    for example, logits in zip(examples, together, strict=True):
        row = torch.tensor([example.ids])
        with torch.no_grad():
            h_BTD = model.encoder(row, torch.ones_like(row), torch.arange(row.shape[1])[None])
            alone = model.out(torch.tanh(model.dense[0](h_BTD[:, 0])))
        assert logits == pytest.approx(alone.numpy(), abs=1e-5)
    assert model.training is False


def test_losses_and_scores() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    labels = torch.tensor([0.0, 1.0, 1.0])
    weights = torch.tensor([1.0, 3.0])
    logs = -logits.log_softmax(1)
    expected = (logs[0, 0] + 3 * logs[1, 1] + 3 * logs[2, 1]) / 7
    assert loss_of(logits, labels, "classification", weights) == pytest.approx(float(expected))
    assert loss_of(logits[:, :1], labels, "regression") == pytest.approx(float(F.mse_loss(logits[:, 0], labels)))
    examples = [Example([], [0], [label]) for label in labels.tolist()]
    found = scores_of([row[None].numpy() for row in logits], examples, Labels("classification", ("a", "b")))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert set(found) == {"loss", "accuracy", "f1", "matthews"}


def test_words_that_were_cut_off_count_as_wrong() -> None:
    examples = [Example([], [1], [0.0], words=4, cut=True)]
    assert scores_of([np.array([[1.0, 0.0]], dtype=np.float32)], examples, Labels("tokens", ("X", "Y")))[
        "accuracy"
    ] == pytest.approx(1 / 4)
