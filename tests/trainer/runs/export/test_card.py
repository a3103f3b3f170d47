"""The model card: what the run and fine-tuning recorded, and nothing that their names could do to Markdown."""

import json
import re
import shutil
from pathlib import Path

import pytest

from schemas.manifest import file_digest
from trainer.export.card import CardError, code, model_card
from trainer.export.exporting import export
from trainer.export.quantising import quantise
from trainer.export.source import open_source
from trainer.finetune.data import Files
from trainer.finetune.finetuning import finetune
from trainer.finetune.settings import build_settings
from trainer.finetune.table import Columns
from trainer.progress import ProgressLine


def rows(card: str) -> dict[str, str]:
    """First cell -> last cell of all tables."""
    lines = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| ")]
    return {cells[-2]: cells[-1] for cells in lines}


def test_a_run(finished_run: Path, prepared: Path, tools) -> None:
    code_, errors, card = tools.invoke_output("card", finished_run)
    assert (code_, errors) == (0, "")
    found, result = rows(card), json.loads((finished_run / "result.json").read_bytes())
    assert found["sha256 of manifest.json"] == f"`{file_digest(prepared / 'manifest.json')}`"
    assert found["held-out loss, nats per masked piece"] == f"{result['held_out_loss_end']:.4f}"
    assert found["steps"] == f"{result['steps']:,}"
    assert found["floating-point operations"] == f"{result['flops']:.3g}"
    assert found["`sequence_length`"] == "`32`"
    assert found["kept of source `test`"].isdigit()
    for part in ("## Data", "## Training", "## Scores", "## Config", "## Limits"):
        assert part in card
    assert str(prepared) not in card


def test_a_fine_tuned_classifier(finished_run: Path, prepared: Path, tmp_path: Path, tools) -> None:
    (tmp_path / "t.tsv").write_text("the whale\t1\nthe ship\t0\n" * 4)
    files = Files(tmp_path / "t.tsv", tmp_path / "t.tsv", Columns("1", None, "2"))
    chosen = {"learning_rates": [0.01], "seeds": 2, "epochs": 1, "threads": 1, "device": "cpu"}
    result = finetune(
        finished_run, files, tmp_path / "classifier", build_settings(chosen=chosen), ProgressLine(quiet=True)
    )
    output = tmp_path / "card.md"
    assert tools.invoke("card", tmp_path / "classifier", "--output", output)[0] == 0
    found = rows(output.read_text())
    median = result["valid"]["accuracy"]["median"]
    assert found["valid accuracy, median of 2 seeds (least to greatest)"].startswith(f"{median:.4f} (")
    assert found["sha256 of manifest.json"] == f"`{file_digest(prepared / 'manifest.json')}`"
    assert found["tokens seen"] == f"{json.loads((finished_run / 'result.json').read_bytes())['tokens']:,}"
    assert str(tmp_path) not in output.read_text()


def test_evaluations(make_run, tmp_path: Path, tools) -> None:
    told = {
        "run": "/somewhere/secret",
        "held_out_loss": 3.25,
        "minimal_pairs": {"mean": 0.625, "pairs": 2000, "paradigms": [{"name": "agree|ment`", "accuracy": 0.5}]},
    }
    (tmp_path / "e.json").write_text(json.dumps(told))
    run = make_run()
    code_, _, card = tools.invoke_output("card", run, "--evaluation", tmp_path / "e.json")
    assert code_ == 0
    assert rows(card)["minimal pairs, mean of 2,000 (chance 0.5)"] == "0.6250"
    assert rows(card)["`agree¦ment'`"] == "0.5000"
    assert "/somewhere" not in card
    for text in ("[", '{"minimal_pairs": 5}', '["a"]'):
        (tmp_path / "e.json").write_text(text)
        code_, errors = tools.invoke("export", run, "--evaluation", tmp_path / "e.json", "--output", tmp_path / "out")
        assert (code_, "not what `siliang-trainer evaluate --json` prints" in errors) == (1, True)
        assert [path.name for path in tmp_path.iterdir()] == ["e.json"]
    with pytest.raises(CardError):
        model_card(open_source(run), evaluations=[tmp_path / "none.json"])


def test_hostile_labels(make_classifier, tmp_path: Path) -> None:
    classifier = tmp_path / "classifier"
    shutil.copytree(make_classifier(), classifier)
    described = json.loads((classifier / "model.json").read_text())
    evil = ["`</code><script>alert(1)</script>", "a\n# heading\n| x | y |", "[link](http://evil)"]
    described["classification"]["labels"] = evil
    (classifier / "model.json").write_text(json.dumps(described))
    card = model_card(open_source(classifier))
    line = next(line for line in card.splitlines() if "script" in line)
    assert "# heading" not in card.splitlines()
    # All that is left outside of code spans is what the card itself says.
    assert re.sub(r"`[^`]*`", "", line).strip(", ") == ""
    assert code("x" * 500).endswith("…`")
    assert code("\n \t") == "` `"


@pytest.mark.parametrize("kind", ["masked-lm", "classification", "pair", "tokens"])
@pytest.mark.parametrize("form", ["huggingface", "bert"])
def test_the_shown_code_works(make_run, make_classifier, tmp_path: Path, monkeypatch, form: str, kind: str) -> None:
    shape = {"norm": "post", "positions": "absolute"}
    pair = kind == "pair"
    made = make_run(**shape) if kind == "masked-lm" else make_classifier("regression" if pair else kind, pair, **shape)
    export(made, form, tmp_path / "out")
    run_code(tmp_path / "out", monkeypatch)


@pytest.mark.slow
def test_the_shown_code_of_onnx_works(make_classifier, tmp_path: Path, monkeypatch) -> None:
    quantise(make_classifier("regression", pair=True, layers=1), tmp_path / "out")
    assert "int8" in (tmp_path / "out" / "README.md").read_text()
    run_code(tmp_path / "out", monkeypatch)


def run_code(directory: Path, monkeypatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (directory / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(directory)
    names: dict[str, object] = {}
    exec(block, names)
    assert names["logits"].shape[0] == 1
