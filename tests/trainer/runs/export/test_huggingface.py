"""Exports as the real transformers load them, offline: the same numbers and the same ids."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertForMaskedLM,
    BertForSequenceClassification,
    pipeline,
)

from schemas.vocabulary import CLS, SEP
from trainer.export.exporting import export
from trainer.export.source import sample_rows
from trainer.finetune.directory import load_classifier
from trainer.finetune.examples import Encoding, collate
from trainer.finetune.prediction import predict_rows
from trainer.finetune.table import Row
from trainer.run import load_model
from trainer.tokenizer import Tokenizer

POSITIONS = ["absolute", "sinusoidal", "tupe-a", "tupe-r", "bert-r", "rope", "alibi"]
NORMS = ["pre", "post", "pre-extra"]
TEXTS = ["the whale", "Call me Ishmael. Some years ago, having little money", "sea", ""]
CLOSE = {"atol": 1e-5, "rtol": 0}


def load(kind: type, directory: Path):
    model, told = kind.from_pretrained(directory, trust_remote_code=True, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["mismatched_keys"]
    return model.eval()


def ours(model, tokens_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """(states of tokens, logits of tokens) of our own model."""
    positions_BT = torch.arange(tokens_BT.shape[1]) * mask_BT
    index_M = mask_BT.flatten().nonzero().flatten()
    h_BTD = model.encoder(tokens_BT, mask_BT, positions_BT)
    return h_BTD.flatten(0, 1)[index_M], model.logits(tokens_BT, mask_BT, positions_BT, index_M)


@torch.no_grad()
@pytest.mark.parametrize(("positions", "norm"), [*itertools.product(POSITIONS, NORMS)])
def test_all_kinds_of_models(make_run, tmp_path: Path, positions: str, norm: str) -> None:
    # Three heads: not a power of two for ALiBi. One kind of norm with what it alone may have.
    changes = {"heads": 3, "width": 48} if positions == "alibi" else {}
    run = make_run(positions=positions, norm=norm, head_scale=norm == "pre-extra", **changes)
    source = export(run, "huggingface", tmp_path / "out")
    tokens_BT, mask_BT = sample_rows(source)
    states, logits = ours(load_model(run), tokens_BT, mask_BT)
    inside = mask_BT.flatten() > 0
    found = load(AutoModelForMaskedLM, tmp_path / "out")(tokens_BT, mask_BT)
    torch.testing.assert_close(found.logits.flatten(0, 1)[inside], logits, **CLOSE)
    encoded = AutoModel.from_pretrained(tmp_path / "out", trust_remote_code=True)(tokens_BT, mask_BT)
    torch.testing.assert_close(encoded.last_hidden_state.flatten(0, 1)[inside], states, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize(("positions", "norm"), [("tupe-a", "pre-extra"), ("bert-r", "post"), ("rope", "pre")])
def test_pruned_models(make_run, tmp_path: Path, positions: str, norm: str) -> None:
    """Layers with other heads and inner widths: each head keeps the scores of its own positions."""
    shapes = [{"heads": [1, 3], "feed_forward": 16}, {"heads": [2], "feed_forward": 40}]
    run = make_run(positions=positions, norm=norm, head_scale=norm == "pre-extra", shapes=shapes)
    source = export(run, "huggingface", tmp_path / "out")
    tokens_BT, mask_BT = sample_rows(source)
    _, logits = ours(load_model(run), tokens_BT, mask_BT)
    found = load(AutoModelForMaskedLM, tmp_path / "out")(tokens_BT, mask_BT).logits
    torch.testing.assert_close(found.flatten(0, 1)[mask_BT.flatten() > 0], logits, **CLOSE)


@torch.no_grad()
def test_long_distances_and_a_norm_on_the_embeddings(make_run, tmp_path: Path) -> None:
    """Buckets up to T5's last one, and no padding at all."""
    for k, positions in enumerate(("tupe-r", "bert-r", "rope")):
        run = make_run(positions=positions, max_length=160, embedding_norm=True)
        export(run, "huggingface", tmp_path / str(k))
        tokens_BT = torch.randint(6, 600, (2, 160), generator=torch.Generator().manual_seed(k))
        _, logits = ours(load_model(run), tokens_BT, torch.ones_like(tokens_BT))
        found = load(AutoModelForMaskedLM, tmp_path / str(k))(tokens_BT).logits
        torch.testing.assert_close(found.flatten(0, 1), logits, **CLOSE)


def probabilities(classifier: Path, texts: list[str]) -> list[list[float]]:
    rows = (Row(str(k), text) for k, text in enumerate(texts))
    return [list(found["probabilities"].values()) for found in predict_rows(load_classifier(classifier), rows)]


@torch.no_grad()
@pytest.mark.parametrize("form", ["huggingface", "bert"])
def test_a_classifier_from_raw_text_on(make_classifier, tmp_path: Path, form: str) -> None:
    classifier = make_classifier(**({"norm": "post", "positions": "absolute"} if form == "bert" else {}))
    export(classifier, form, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)
    model = load(AutoModelForSequenceClassification, tmp_path / "out")
    logits = model(**tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")).logits
    torch.testing.assert_close(logits.softmax(-1), torch.tensor(probabilities(classifier, TEXTS)), **CLOSE)
    answer = pipeline("text-classification", model=model, tokenizer=tokenizer)(TEXTS[0])[0]
    assert answer["label"] == model.config.id2label[int(logits[0].argmax())]


@torch.no_grad()
@pytest.mark.parametrize("form", ["huggingface", "bert"])
def test_values_and_pairs(make_classifier, tmp_path: Path, form: str) -> None:
    """A regression's output is the value itself."""
    classifier = make_classifier("regression", pair=True, norm="post", positions="sinusoidal")
    export(classifier, form, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)
    batch = tokenizer(TEXTS, TEXTS[::-1], padding=True, return_tensors="pt")
    values = load(AutoModelForSequenceClassification, tmp_path / "out")(**batch).logits[:, 0]
    rows = (Row("", a, b) for a, b in zip(TEXTS, TEXTS[::-1], strict=True))
    expected = [found["value"] for found in predict_rows(load_classifier(classifier), rows)]
    torch.testing.assert_close(values, torch.tensor(expected), **CLOSE)


@torch.no_grad()
def test_labels_of_words(make_classifier, tmp_path: Path) -> None:
    classifier = make_classifier("tokens")
    export(classifier, "huggingface", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)
    words = ["the", "unfathomable", "whale"]
    batch = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    loaded = load_classifier(classifier)
    example_ = Encoding(loaded.tokenizer, "tokens", 32, False, True).encode(Row("", words))
    assert batch.input_ids[0].tolist() == example_.ids
    logits = load(AutoModelForTokenClassification, tmp_path / "out")(**batch).logits[0, example_.at]
    torch.testing.assert_close(logits, loaded.model(collate([example_], [0], 32))[0], **CLOSE)


@torch.no_grad()
def test_a_plain_bert_needs_no_custom_code(make_run, make_classifier, tmp_path: Path) -> None:
    for k, positions in enumerate(("absolute", "sinusoidal")):
        run = make_run(positions=positions, norm="post")
        source = export(run, "bert", tmp_path / str(k))
        tokens_BT, mask_BT = sample_rows(source)
        _, logits = ours(load_model(run), tokens_BT, mask_BT)
        model = AutoModelForMaskedLM.from_pretrained(tmp_path / str(k))
        assert isinstance(model, BertForMaskedLM)
        # Kinds of tokens say nothing, whoever passes them.
        found = model(tokens_BT, mask_BT, token_type_ids=torch.ones_like(mask_BT)).logits
        torch.testing.assert_close(found.flatten(0, 1)[mask_BT.flatten() > 0], logits, **CLOSE)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "0")
    text = "Call me Ishmael, for the [MASK] is great."
    assert tokenizer.is_fast
    assert tokenizer(text).input_ids == [CLS, *Tokenizer(tmp_path / "0" / "siliang.model").encode_masked(text), SEP]
    assert tokenizer.decode(tokenizer("Call me Ishmael.").input_ids, skip_special_tokens=True) == "Call me Ishmael."
    classifier = make_classifier(norm="post", positions="absolute")
    export(classifier, "bert", tmp_path / "classifier")
    assert type(AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier")) is (
        BertForSequenceClassification
    )


def test_it_can_be_trained_on_and_saved(make_run, tmp_path: Path) -> None:
    """A fresh head on the export of a run, one step, saved and loaded by transformers alone."""
    export(make_run(positions="tupe-r"), "huggingface", tmp_path / "out")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", trust_remote_code=True, num_labels=2)
    tokens_BT = torch.tensor([[CLS, 9, 10, SEP], [CLS, 11, SEP, 0]])
    loss = model(tokens_BT, (tokens_BT > 0).long(), labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    torch.optim.SGD(model.parameters(), 0.1).step()
    model.eval().save_pretrained(tmp_path / "saved")
    again = load(AutoModelForSequenceClassification, tmp_path / "saved")
    assert torch.equal(again(tokens_BT).logits, model(tokens_BT).logits)


def test_masks_are_filled_by_its_pipeline(make_run, tmp_path: Path) -> None:
    from trainer.fill import fill

    run = make_run()
    export(run, "huggingface", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)
    model = load(AutoModelForMaskedLM, tmp_path / "out")
    text = "Call me [MASK]. Some years ago"
    found = pipeline("fill-mask", model=model, tokenizer=tokenizer, top_k=600)(text)
    scores = {candidate["token"]: candidate["score"] for candidate in found}
    for candidate in fill(run, text, 3)[0]:
        assert scores[candidate.token_id] == pytest.approx(candidate.probability, abs=1e-5)


@pytest.fixture(scope="module")
def tokenizers(make_run, tmp_path_factory: pytest.TempPathFactory):
    directory = tmp_path_factory.mktemp("tokenizer") / "out"
    run = make_run()
    export(run, "huggingface", directory)
    return AutoTokenizer.from_pretrained(directory, trust_remote_code=True), Tokenizer(
        run / "vocabulary" / "siliang.model"
    )


HOSTILE = st.lists(
    st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.sampled_from([
            "[MASK]", "[SEP]", "[CLS]", "[PAD]", "[UNK]", "<0x41>", "▁", " ", "  ", "\n", "\ue0f4", "［ＭＡＳＫ］",
            "\x00", "the whale", "un", "e\u0301", "\u200b", "🐋", "中文", "\ufeff", "[MASK", "MASK]", "<s>", "</s>",
        ]),
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(HOSTILE)
@example("un[MASK]able [MASK]")
@example("[MASK][MASK] [MASK]  [MASK]")
@example("")
def test_ids_are_ours(tokenizers, text: str) -> None:
    theirs, own = tokenizers
    ids = own.encode_masked(text) if "[MASK]" in text else own.encode(text)
    assert theirs(text).input_ids == [CLS, *ids, SEP]
    assert theirs(text, split_special_tokens=True).input_ids == [CLS, *own.encode(text), SEP]
    assert theirs(text, text).input_ids == [CLS, *ids, SEP, *ids, SEP]


@given(HOSTILE, HOSTILE, st.integers(3, 12))
@example("the whale of the sea", "the whale of the sea", 8)
def test_pairs_are_cut_as_in_training(tokenizers, first: str, second: str, longest: int) -> None:
    theirs, own = tokenizers
    encoding = Encoding(own, "classification", longest, True, False)
    cut = theirs(first, second, truncation=True, max_length=longest, split_special_tokens=True)
    assert cut.input_ids == encoding.encode(Row("", first, second)).ids
    alone = Encoding(own, "classification", longest, False, False).encode(Row("", first)).ids
    assert theirs(first, truncation=True, max_length=longest, split_special_tokens=True).input_ids == alone


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_text_comes_back(tokenizers, text: str) -> None:
    theirs, own = tokenizers
    if "[MASK]" not in text:
        ids = own.encode(text)
        assert theirs.decode([CLS, *ids, SEP], skip_special_tokens=True) == own.decode(ids)


def test_the_directory_is_complete(make_run, tmp_path: Path) -> None:
    export(make_run(), "huggingface", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "config.json", "model.safetensors", "modeling_siliang.py", "tokenization_siliang.py", "siliang.model",
        "tokenizer_config.json", "README.md",
    }  # fmt: skip
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == ["SiliangForMaskedLM"]
