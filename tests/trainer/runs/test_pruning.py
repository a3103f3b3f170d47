"""`compress prune` on tiny models: smaller files that load, predict and go on; targets; what is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainer.finetune.data import Files
from trainer.finetune.directory import load_classifier
from trainer.finetune.finetuning import finetune
from trainer.finetune.settings import build_settings
from trainer.finetune.table import Columns
from trainer.progress import ProgressLine
from trainer.run import load_model

QUIET = ProgressLine(quiet=True)
BEASTS = ["the whale", "a shark", "the whales", "this whale of ours"]
SHIPS = ["the ship", "a boat", "her mast", "the captain and his ship"]
FAST = ["--set", "threads=1", "--set", "device='cpu'"]


def table(path: Path, count: int) -> Path:
    """Beasts are 1, ships 0; told by one word."""
    rows = [f"{(BEASTS if k % 2 else SHIPS)[k // 2 % 4]} number {k}\t{k % 2}\n" for k in range(count)]
    path.write_text("".join(rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def place(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of 2 layers with 2 heads and 32 inner features each, and its files."""
    directory = tmp_path_factory.mktemp("prune")
    for name, count in (("train", 48), ("valid", 24), ("test", 32)):
        table(directory / f"{name}.tsv", count)
    values = {"learning_rates": [0.01], "seeds": 1, "epochs": 24, "batch_rows": 8, "threads": 1, "device": "cpu"}
    files = Files(directory / "train.tsv", directory / "valid.tsv", Columns("1", None, "2"))
    finetune(finished_run, files, directory / "whole", build_settings(chosen=values), QUIET)
    return directory


def options(place: Path, output: Path, *more: object) -> list[object]:
    found: list[object] = ["--train", place / "train.tsv", "--valid", place / "valid.tsv", "--text", 1, "--label", 2]
    sets = ["learning_rate=0.01", "batch_rows=8", "rounds=2", "epochs=2", "final_epochs=3"]
    return [*found, *(part for one in sets for part in ("--set", one)), *FAST, "--output", output, *more]


def prune(tools, *arguments: object) -> dict:
    code, errors, printed = tools.invoke_output("compress", "prune", *arguments, "--json")
    assert code == 0, errors
    return json.loads(printed)


def test_heads_and_features(place: Path, tmp_path: Path, tools) -> None:
    """Half of both: the file is smaller, answers stay right, `predict` and early exit take it."""
    before = (place / "whole" / "model.safetensors").read_bytes()
    output = tmp_path / "small"
    result = prune(tools, place / "whole", *options(place, output, "--keep-heads", 0.5, "--keep-ffn", 0.5,
                                                    "--test", place / "test.tsv"))  # fmt: skip
    assert (place / "whole" / "model.safetensors").read_bytes() == before
    loaded = load_classifier(output)
    config = loaded.model.encoder.config
    # One head a layer is the least; features compete over the whole model.
    assert [len(shape.heads) for shape in config.shapes] == [1, 1]
    assert sum(shape.feed_forward for shape in config.shapes) == 32
    assert all(shape.feed_forward % 8 == 0 for shape in config.shapes)
    tensors = load_file(output / "model.safetensors")
    assert tensors["encoder.layers.0.attention.qkv.weight"].shape == (3 * 8, 16)
    assert tensors["encoder.layers.1.attention.out.weight"].shape == (16, 8)
    written = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    assert result["after"]["bytes"] == written < result["before"]["bytes"]
    assert len(result["rounds"]["shapes"]) == 2
    assert sum(shape["feed_forward"] for shape in result["rounds"]["shapes"][0]) == 48
    assert result["test"]["before"]["accuracy"] > 0.9
    assert result["test"]["after"]["accuracy"] > 0.9
    code, errors, printed = tools.invoke_output("predict", output, place / "test.tsv", "--text", 1)
    assert code == 0, errors
    labels = [line.split("\t")[0] for line in printed.splitlines()]
    right = sum(label == str(k % 2) for k, label in enumerate(labels)) / len(labels)
    assert right == result["test"]["after"]["accuracy"]
    code, errors = tools.invoke(
        "compress", "early-exit", output, "--unlabelled", place / "train.tsv", "--valid", place / "valid.tsv",
        "--text", 1, "--set", "latency_seconds=0", "--set", "epochs=1", *FAST, "--output", tmp_path / "fast",
    )  # fmt: skip
    assert code == 0, errors
    # Cut once more, what was cut is counted from.
    again = prune(tools, output, *options(place, tmp_path / "smaller", "--keep-layers", 1, "--set", "rounds=1"))
    assert again["after"]["layers"] == 1
    assert load_classifier(tmp_path / "smaller").model.encoder.config.layers == 1


def test_the_same_again(place: Path, tmp_path: Path, tools) -> None:
    for name in ("a", "b"):
        prune(tools, place / "whole", *options(place, tmp_path / name, "--keep-heads", 0.5, "--set", "rounds=1"))
    a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b


def test_a_size(place: Path, tmp_path: Path, tools) -> None:
    """Shares first, then a layer."""
    whole = prune(tools, place / "whole", *options(place, tmp_path / "all", "--keep-ffn", 1, "--set", "final_epochs=0",
                                                   "--set", "epochs=0"))  # fmt: skip
    kept, own = (load_file(path / "model.safetensors") for path in (place / "whole", tmp_path / "all"))
    assert all(torch.equal(tensor, own[name]) for name, tensor in kept.items())
    megabytes = whole["before"]["bytes"] / 1e6
    none = ["--set", "final_epochs=0", "--set", "epochs=0", "--set", "rounds=1"]
    result = prune(tools, place / "whole", *options(place, tmp_path / "a", "--size", 0.95 * megabytes, *none))
    assert result["after"]["bytes"] <= 0.95e6 * megabytes
    assert result["after"]["layers"] == 2
    result = prune(tools, place / "whole", *options(place, tmp_path / "b", "--size", 0.78 * megabytes, *none))
    assert result["after"]["bytes"] <= 0.78e6 * megabytes
    assert result["after"]["layers"] == 1
    code, errors = tools.invoke("compress", "prune", place / "whole", *options(place, tmp_path / "c", "--size", 0.001))
    assert (code, "no size is small enough for --size 0.001 MB" in errors) == (2, True), errors
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("share", [0.96, 0.93, 0.9, 0.87])
def test_a_size_holds_after_rounds(place: Path, tmp_path: Path, tools, share: float) -> None:
    """Though layers come out unlike, and importances of the last round differ from those of the first."""
    sets = ["--set", "final_epochs=0", "--set", "multiple=1", "--set", "rounds=3", "--set", "least_share=0.05"]
    tensors = load_file(place / "whole" / "model.safetensors").values()
    limit = share * sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    result = prune(tools, place / "whole", *options(place, tmp_path / "a", "--size", limit / 1e6, *sets))
    # 5 % of both layers' 32 inner features and 2 heads of width 8.
    step = 0.05 * 2 * (32 * (16 + 16 + 1) + 2 * 8 * 4 * 16) * 4
    assert limit - 2 * step < result["after"]["bytes"] <= limit
    heads = sum(len(one["heads"]) for one in result["rounds"]["shapes"][-1])
    assert heads == max(round(result["sizes"]["heads"] * 4), 2)


def test_a_run(finished_run: Path, prepared: Path, tmp_path: Path, tools) -> None:
    """What comes out is like a run: evaluated, fine-tuned, a teacher; trained on it is better than cut alone."""
    output = tmp_path / "small"
    sets = ["rounds=2", "steps=10", "final_steps=20", "learning_rate=0.01"]
    result = prune(tools, finished_run, "--keep-heads", 0.5, "--keep-ffn", 0.5, *tools.sets(sets), *FAST, "-o", output)
    losses = result["rounds"]
    assert losses["recovered"][-1]["loss"] < losses["cut"][-1]["loss"]
    model = load_model(output)
    assert [len(shape.heads) for shape in model.config.shapes] == [1, 1]
    code, errors, printed = tools.invoke_output("evaluate", output, "--json")
    assert code == 0, errors
    assert json.loads(printed)["held_out_loss"] == pytest.approx(losses["recovered"][-1]["loss"], abs=1e-5)
    table(tmp_path / "t.tsv", 16)
    values = {"learning_rates": [0.01], "seeds": 1, "epochs": 1, "threads": 1, "device": "cpu"}
    files = Files(tmp_path / "t.tsv", tmp_path / "t.tsv", Columns("1", None, "2"))
    finetune(output, files, tmp_path / "tuned", build_settings(chosen=values), QUIET)
    assert load_classifier(tmp_path / "tuned").model.encoder.config.shapes == model.config.shapes


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ((), 2, "nothing to prune: add --keep-heads"),
        (("--keep-heads", 0), 2, "--keep-heads 0: a share of what there is, above 0"),
        (("--keep-layers", 3), 2, "the model has 2; 1 to 2 are possible"),
        (("--keep-ffn", 0.5, "--speed", 2), 2, "one of them decides"),
        (("--speed", 0.5), 2, "--speed 0.5: must be above 1"),
        (("--keep-ffn", 0.5, "--set", "round=1"), 2, "key 'round': unknown key; allowed: rounds"),
        (("--keep-ffn", 0.5, "--text-b", 1), 2, "this classifier reads single texts"),
        (("--keep-ffn", 0.5, "--valid", "none.tsv"), 1, "none.tsv: cannot be read"),
    ],
)
def test_bad_use(place: Path, tmp_path: Path, tools, more: tuple, code: int, message: str) -> None:
    found, errors = tools.invoke("compress", "prune", place / "whole", *options(place, tmp_path / "out", *more))
    assert (found, message in errors) == (code, True), errors
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


def test_more_bad_use(place: Path, finished_run: Path, tmp_path: Path, tools) -> None:
    keep = ["--keep-ffn", 0.5, "--output", tmp_path / "out"]
    wrong = tmp_path / "wrong.tsv"
    wrong.write_text("the whale\t7\n")
    labelled = ["--text", 1, "--label", 2]
    for arguments, code, message in (
        ((place / "whole", *keep), 2, "is a classifier; name its task's files"),
        ((finished_run, *keep, "--train", wrong, "--valid", wrong, *labelled), 2, "is no classifier"),
        ((place / "whole", *keep, "--train", wrong, "--valid", wrong, *labelled), 1, "label '7' was never seen"),
        ((place / "whole", *keep, "--train", wrong), 2, "--train FILE, --valid FILE, --text COL and --label COL"),
        ((tmp_path, *keep), 1, "no trained model here"),
    ):
        found, errors = tools.invoke("compress", "prune", *arguments)
        assert (found, message in errors) == (code, True), errors
        assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    found, errors = tools.invoke("compress", "prune", place / "whole", *options(place, *keep[-1:], "--keep-ffn", 0.5))
    assert (found, "is not empty" in errors) == (2, True), errors
