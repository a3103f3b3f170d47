"""`fill` and `evaluate` on a trained run."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from schemas.vocabulary import CLS, FIRST_ORDINARY, MASK, SEP
from trainer.cli import app
from trainer.evaluate.held_out import evaluate_run
from trainer.fill import FillError, fill
from trainer.run import load_model
from trainer.tokenizer import Tokenizer

TEXT = "the [MASK] is in the [MASK]."


def test_fill_gives_the_models_own_probabilities(finished_run: Path) -> None:
    gaps = fill(finished_run, TEXT, top=7)
    assert [len(gap) for gap in gaps] == [7, 7]
    tokenizer = Tokenizer(finished_run / "vocabulary" / "siliang.model")
    ids = [CLS, *tokenizer.encode_masked(TEXT), SEP]
    places = [i for i, token in enumerate(ids) if token == MASK]
    row = torch.tensor([ids])
    with torch.no_grad():
        model = load_model(finished_run)
        logits = model.logits(row, torch.ones_like(row), torch.arange(len(ids))[None], torch.tensor(places))
    probabilities = logits.softmax(-1)
    for place, gap in enumerate(gaps):
        assert [c.probability for c in gap] == sorted((c.probability for c in gap), reverse=True)
        assert gap[0].probability == pytest.approx(float(probabilities[place, FIRST_ORDINARY:].max()))
        for candidate in gap:
            assert candidate.probability == pytest.approx(float(probabilities[place, candidate.token_id]))
            assert candidate.piece == tokenizer.piece(candidate.token_id)
            assert candidate.token_id >= FIRST_ORDINARY


def test_fill_command(finished_run: Path, tools) -> None:
    code, _, output = tools.invoke_output("fill", finished_run, TEXT, "--top", 3, "--json")
    assert code == 0
    found = json.loads(output)
    assert found["text"] == TEXT
    assert [[c["token_id"] for c in gap] for gap in found["masks"]] == [
        [c.token_id for c in gap] for gap in fill(finished_run, TEXT, 3)
    ]
    code, _, output = tools.invoke_output("fill", finished_run, TEXT, "--top", 3)
    assert code == 0
    assert len(output.splitlines()) == 2 * (1 + 3)


def test_fill_errors(finished_run: Path, tmp_path: Path, tools) -> None:
    with pytest.raises(FillError, match=r"no \[MASK\]"):
        fill(finished_run, "the whale")
    with pytest.raises(FillError, match=r"tokens; this model reads 32"):
        fill(finished_run, "the whale and the sea " * 20 + "[MASK]")
    code, errors = tools.invoke("fill", tmp_path, TEXT)
    assert code == 1
    assert "no trained model here" in errors


def test_evaluate_is_the_loss_of_training(finished_run: Path, tools) -> None:
    result = json.loads((finished_run / "result.json").read_bytes())
    code, _, output = tools.invoke_output("evaluate", finished_run, "--json")
    assert code == 0
    found = json.loads(output)
    assert found["held_out_loss"] == pytest.approx(result["held_out_loss_end"], abs=1e-6)
    assert found["unigram_entropy"] == result["unigram_entropy"]
    assert found["unigram_cross_entropy"] == result["unigram_cross_entropy"]
    assert found["rows"] == 16
    code, _, output = tools.invoke_output("evaluate", finished_run)
    assert code == 0
    assert f"{result['unigram_entropy']:.4f} nats" in output


def test_evaluate_on_other_shards(finished_run: Path, prepared: Path, tmp_path: Path, make_corpus, tools) -> None:
    tools.copy_tree(prepared, tmp_path / "same")
    make_corpus(tmp_path / "same", [[7] * 30], vocabulary_size=600, valid=[[9, 11] * 50] * 4)
    found = evaluate_run(finished_run, tmp_path / "same")
    assert found.unigram_entropy == pytest.approx(0.6931, abs=1e-4)
    vocabulary = tmp_path / "same" / "vocabulary" / "siliang.model"
    vocabulary.write_bytes(vocabulary.read_bytes() + b"\n")
    code, errors = tools.invoke("evaluate", finished_run, "--shards", tmp_path / "same")
    assert code == 1
    assert "another vocabulary" in errors
    code, errors = tools.invoke("evaluate", finished_run, "--shards", tmp_path / "none")
    assert code == 1
    assert "no manifest.json" in errors


def test_a_file_says_what_single_texts_say(finished_run: Path, tmp_path: Path, tools) -> None:
    texts = [f"{'the ' * (k % 7)}[MASK] of the [MASK] number {k}" for k in range(300)]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"n": k, "t": text}) for k, text in enumerate(texts)))
    code, errors, output = tools.invoke_output("fill", finished_run, "--file", tmp_path / "texts.txt", "--json")
    assert (code, errors) == (0, "")
    found = [json.loads(line) for line in output.splitlines()]
    assert [one["text"] for one in found] == texts
    for k in (0, 5, 256, 299):
        alone = fill(finished_run, texts[k])
        for gap, expected in zip(found[k]["masks"], alone, strict=True):
            assert [c["token_id"] for c in gap] == [c.token_id for c in expected]
            assert [c["probability"] for c in gap] == pytest.approx([c.probability for c in expected], rel=1e-4)
    table = tools.invoke_output("fill", finished_run, "--file", tmp_path / "texts.jsonl", "--text", "t", "--json")
    assert table == (0, "", output)
    _, _, printed = tools.invoke_output("fill", finished_run, "--file", tmp_path / "texts.txt", "--top", 1)
    assert printed.splitlines()[:5:5] == [texts[0]]
    done = CliRunner().invoke(app, ["fill", str(finished_run), "--file", "-", "--json"], input="a [MASK]\nb [MASK]\n")
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["a [MASK]", "b [MASK]"]


def test_a_file_that_cannot_be_filled(finished_run: Path, tmp_path: Path, tools) -> None:
    (tmp_path / "texts.txt").write_text("a [MASK]\nnone here\n")
    code, errors = tools.invoke("fill", finished_run, "--file", tmp_path / "texts.txt")
    assert (code, "texts.txt: line 2: the text has no [MASK]" in errors) == (2, True)
    for arguments in ([], ["a [MASK]", "--file", tmp_path / "texts.txt"], ["a [MASK]", "--text", "t"]):
        assert tools.invoke("fill", finished_run, *arguments)[0] == 2
    assert tools.invoke("fill", finished_run, "--file", tmp_path / "none.txt")[0] == 1
