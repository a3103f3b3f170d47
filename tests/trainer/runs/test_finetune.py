"""`finetune` and `predict` on a tiny run: every kind of label, resume bit for bit, what is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import trainer.finetune.trial
from trainer.finetune.data import Files
from trainer.finetune.directory import load_classifier
from trainer.finetune.finetuning import finetune
from trainer.finetune.settings import build_settings
from trainer.finetune.table import Columns
from trainer.metrics import accuracy
from trainer.progress import ProgressLine
from trainer.run import load_encoder

QUIET = ProgressLine(quiet=True)
BEASTS = ["the whale", "a shark", "the whales", "this whale of ours"]
SHIPS = ["the ship", "a boat", "her mast", "the captain and his ship"]


def write(path: Path, rows: list[list[str]]) -> Path:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sentences(count: int) -> list[list[str]]:
    """Animals are 1, ships 0; told by one word."""
    rows = [["sentence", "label"]]
    for k in range(count):
        rows.append([f"{(BEASTS if k % 2 else SHIPS)[k // 2 % 4]} number {k}", str(k % 2)])
    return rows


@pytest.fixture
def files(tmp_path: Path) -> Files:
    train, valid = write(tmp_path / "train.tsv", sentences(48)), write(tmp_path / "valid.tsv", sentences(17))
    return Files(train, valid, Columns("sentence", None, "label"))


def settings(**changes: object):
    values = {
        "learning_rates": [0.01],
        "seeds": 2,
        "epochs": 24,
        "patience": 24,
        "batch_rows": 8,
        "threads": 1,
        "device": "cpu",
    }
    return build_settings(chosen=values | changes)


def options(files: Files, output: Path, *more: object) -> list[object]:
    found: list[object] = ["--train", files.train, "--valid", files.valid, "--text", "sentence", "--label", "label"]
    for setting in (
        "learning_rates=[0.01]", "seeds=2", "epochs=24", "patience=24", "batch_rows=8", "threads=1", "device='cpu'",
    ):  # fmt: skip
        found += ["--set", setting]
    return [*found, "--output", output, *more]


def test_it_learns_and_predict_says_the_same(finished_run: Path, files: Files, tmp_path: Path, tools) -> None:
    output = tmp_path / "classifier"
    code, errors, printed = tools.invoke_output(
        "finetune", finished_run, *options(files, output, "--test", files.valid, "--json")
    )
    assert code == 0, errors
    result = json.loads(printed)
    assert result == json.loads((output / "result.json").read_text())
    assert result["valid"]["accuracy"]["median"] > 0.9
    assert len(result["valid"]["accuracy"]["values"]) == len(result["trials"]) == 2
    # The test file is the validation file here, so the best epochs score the same.
    for name, found in result["valid"].items():
        assert result["test"][name]["values"] == pytest.approx(found["values"], abs=1e-6)
    assert {p.name for p in output.iterdir()} == {
        "finetune.json", "model.safetensors", "model.json", "result.json", "vocabulary",
    }  # fmt: skip
    described = json.loads((output / "model.json").read_text())
    assert (described["task"], described["classification"]["labels"]) == ("classification", ["0", "1"])

    code, _, printed = tools.invoke_output("predict", output, files.valid, "--text", "sentence", "--json")
    guesses = [json.loads(line) for line in printed.splitlines()]
    truth = [row[1] for row in sentences(17)[1:]]
    assert accuracy(truth, [guess["label"] for guess in guesses]) == result["chosen"]["scores"]["accuracy"]
    assert all(sum(guess["probabilities"].values()) == pytest.approx(1) for guess in guesses)
    plain = tmp_path / "plain.txt"
    plain.write_text("\n".join(row[0] for row in sentences(17)[1:]))
    _, _, printed = tools.invoke_output("predict", output, plain)
    assert [line.split("\t")[0] for line in printed.splitlines()] == [guess["label"] for guess in guesses]


def test_standard_input(finished_run: Path, files: Files, tmp_path: Path, tools, monkeypatch) -> None:
    finetune(finished_run, files, tmp_path / "out", settings(epochs=1, seeds=1), QUIET)
    from typer.testing import CliRunner

    from trainer.cli import app

    done = CliRunner().invoke(app, ["predict", str(tmp_path / "out"), "-"], input="the whale\nthe ship\n")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 2
    table = '{"t": "the whale"}\n{"t": "' + "the ship " * 60 + '"}\n'
    arguments = ["predict", str(tmp_path / "out"), "-", "--text", "t", "--format", "jsonl"]
    done = CliRunner().invoke(app, arguments, input=table)
    assert len(done.stdout.splitlines()) == 2
    assert "1 texts were longer than the model and were cut" in done.stderr
    done = CliRunner().invoke(app, [*arguments, "--refuse-long"], input=table)
    assert (done.exit_code, "line 2" in done.stderr) == (1, True)


@pytest.mark.parametrize("class_weights", ["balanced"])
def test_killed_anywhere_it_ends_with_the_same_bytes(
    finished_run: Path, files: Files, tmp_path: Path, monkeypatch, class_weights: str
) -> None:
    config = settings(learning_rates=[0.003, 0.01], epochs=3, dropout=0.2, class_weights=class_weights)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    expected = finetune(finished_run, files, straight, config, QUIET)
    original = trainer.finetune.trial.collate
    left = 0

    def dies(*arguments, **named):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    starts, found = 0, None
    while found is None:
        left, starts = 9, starts + 1  # batches until the next death: an epoch has six
        monkeypatch.setattr(trainer.finetune.trial, "collate", dies)
        try:
            found = finetune(finished_run, files, broken, config, QUIET, resume=True)
        except KeyboardInterrupt:
            assert not (broken / "model.safetensors").exists()
            torch.manual_seed(starts)  # what other code draws must not matter
    assert starts > 5
    assert (broken / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()
    assert found == expected
    monkeypatch.setattr(trainer.finetune.trial, "collate", None)
    assert finetune(finished_run, files, broken, config, QUIET, resume=True) == expected  # nothing is trained again


def test_a_signal_ends_it_and_resume_goes_on(finished_run: Path, files: Files, tmp_path: Path, monkeypatch) -> None:
    import trainer.finetune.finetuning as finetuning

    class Signalled(finetuning.StopRequest):
        def __init__(self) -> None:
            super().__init__()
            self.requested = True

    with monkeypatch.context() as patched:
        patched.setattr(finetuning, "StopRequest", Signalled)
        patched.setattr(finetuning, "measure", lambda device: {"fp32": 1.0, "bf16": 2.0})
        assert finetune(finished_run, files, tmp_path / "out", settings(seeds=1), QUIET) is None
    # What 'auto' came to at the start stays, though a measurement would now say otherwise.
    monkeypatch.setattr(finetuning, "measure", lambda device: {"fp32": 2.0, "bf16": 1.0})
    found = finetune(finished_run, files, tmp_path / "out", settings(seeds=1), QUIET, resume=True)
    assert found is not None
    assert found["precision"] == "bf16"
    afresh = finetune(finished_run, files, tmp_path / "afresh", settings(seeds=1), QUIET)
    assert afresh is not None
    assert afresh["precision"] == "fp32"


def test_early_stop_and_the_best_epoch(finished_run: Path, files: Files, tmp_path: Path) -> None:
    result = finetune(finished_run, files, tmp_path / "out", settings(epochs=12, patience=2, seeds=1), QUIET)
    (trial,) = result["trials"]
    assert trial["epochs"] < 12
    assert trial["epochs"] - trial["best_epoch"] == 2
    assert trial["score"] == max(trial["curve"]) == trial["curve"][trial["best_epoch"] - 1]


def test_rates_are_searched_and_the_middle_seed_may_be_kept(finished_run: Path, files: Files, tmp_path: Path) -> None:
    config = settings(learning_rates=[1e-7, 0.01], seeds=3, keep="median", metric="matthews")
    result = finetune(finished_run, files, tmp_path / "out", config, QUIET)
    assert result["learning_rate"] == 0.01
    assert [trial["learning_rate"] for trial in result["search"]] == [1e-7, 0.01]
    assert result["chosen"]["score"] == result["valid"]["matthews"]["median"]
    assert [trial["seed"] for trial in result["trials"]] == [0, 1, 2]
    assert len({tuple(trial["losses"]) for trial in result["trials"]}) == 3


def test_pairs(finished_run: Path, tmp_path: Path, tools) -> None:
    rows = [
        [f"{BEASTS[k % 4]}", f"{(BEASTS if k % 2 else SHIPS)[k // 2 % 4]}", "same" if k % 2 else "other"]
        for k in range(40)
    ]
    train = write(tmp_path / "pairs.tsv", rows)
    files = Files(train, train, Columns("1", "2", "3"))
    result = finetune(finished_run, files, tmp_path / "out", settings(epochs=8, seeds=1), QUIET)
    assert result["valid"]["accuracy"]["median"] > 0.9
    code, _, printed = tools.invoke_output("predict", tmp_path / "out", train, "--text", 1, "--text-b", 2)
    assert [line.split("\t")[0] for line in printed.splitlines()][:2] == ["other", "same"]
    code, errors = tools.invoke("predict", tmp_path / "out", train, "--text", 1)
    assert (code, "this classifier reads pairs" in errors) == (2, True)
    code, errors = tools.invoke("predict", tmp_path / "out", write(tmp_path / "one.txt", [["alone"]]))
    assert (code, "line 1: a pair is two texts" in errors) == (1, True)


def test_regression_gives_values_of_the_labels_scale(finished_run: Path, tmp_path: Path, tools) -> None:
    rows = [["text", "value"]] + [
        [f"{(BEASTS if k % 2 else SHIPS)[k // 2 % 4]}", str(100 + 10 * (k % 2))] for k in range(40)
    ]
    train = write(tmp_path / "values.tsv", rows)
    files = Files(train, train, Columns("text", None, "value"))
    result = finetune(finished_run, files, tmp_path / "out", settings(kind="regression", epochs=10, seeds=1), QUIET)
    assert result["valid"]["pearson"]["median"] > 0.9
    assert set(result["valid"]) == {"loss", "pearson", "spearman"}
    _, _, printed = tools.invoke_output("predict", tmp_path / "out", train, "--text", "text")
    values = [float(line) for line in printed.splitlines()]
    assert values[:2] == pytest.approx([100, 110], abs=4)


def test_words_of_a_text(finished_run: Path, tmp_path: Path, tools) -> None:
    words = {"whale": "B", "ship": "S", "sea": "O", "the": "O"}
    rows = [[list(words)[(k + i * (1 + k // 4)) % 4] for i in range(2 + k % 3)] for k in range(48)]
    rows += [["the", "whale"], ["the", "ship"]] * 4
    path = tmp_path / "words.jsonl"
    path.write_text("\n".join(json.dumps({"words": row, "tags": [words[w] for w in row]}) for row in rows))
    files = Files(path, path, Columns("words", None, "tags"))
    result = finetune(finished_run, files, tmp_path / "out", settings(kind="tokens", epochs=10, seeds=1), QUIET)
    assert result["labels"] == ["B", "O", "S"]
    assert result["valid"]["accuracy"]["median"] > 0.9
    plain = tmp_path / "plain.txt"
    plain.write_text("the ship\nthe whale\n" + "sea " * 60)
    _, _, printed = tools.invoke_output("predict", tmp_path / "out", plain)
    lines = printed.splitlines()
    assert lines[:2] == ["O S", "O B"]
    assert len(lines[2].split()) == 60
    assert set(lines[2].split()) == {"O", "_"}


def test_the_encoder_is_the_runs(finished_run: Path, files: Files, tmp_path: Path) -> None:
    """A rate that moves nothing leaves the pre-trained weights where they were."""
    finetune(finished_run, files, tmp_path / "out", settings(learning_rates=[1e-12], seeds=1, epochs=1), QUIET)
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    for name, tensor in load_encoder(finished_run).state_dict().items():
        assert torch.allclose(tensors[f"encoder.{name}"], tensor, atol=1e-8), name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence\tlabel\na\t1\nb\t0\textra\n", "valid.tsv: line 3 has 3 fields"),
        ("sentence\tlabel\na\t1\nb\t2\n", "valid.tsv: line 3: label '2' was never seen in training"),
        ("sentence\tlabel\n", "valid.tsv: holds no example"),
        ("label\na\n", "no column 'sentence'"),
    ],
)
def test_bad_data_leaves_nothing_behind(
    finished_run: Path, files: Files, tmp_path: Path, tools, content: str, message: str
) -> None:
    files.valid.write_text(content)
    code, errors = tools.invoke("finetune", finished_run, *options(files, tmp_path / "out"))
    assert (code, message in errors) == (1, True), errors
    assert not (tmp_path / "out").exists()


def test_more_bad_use(finished_run: Path, files: Files, tmp_path: Path, tools) -> None:
    output = tmp_path / "out"
    for more, code, message in (
        (["--set", "labels=['0','1','2']"], 1, "class '2' has no training example"),
        (["--set", "epoch=3"], 2, "key 'epoch': unknown key; allowed: kind, labels"),
        (["--metric", "pearson"], 2, "metric 'pearson' is none of classification"),
        (["--kind", "ranking"], 2, "key 'kind'"),
        (["--set", "long='refuse'", "--set", "max_length=4"], 1, "this model reads 4"),
        (["--kind", "regression", "--train", tmp_path / "none.tsv"], 1, "cannot be read"),
    ):
        found, errors = tools.invoke("finetune", finished_run, *options(files, output, *more))
        assert (found, message in errors) == (code, True), errors
        assert not output.exists()
    code, errors = tools.invoke("finetune", tmp_path / "no-run", *options(files, output))
    assert (code, "no trained model here" in errors) == (1, True)


def test_an_output_that_holds_something_is_left_alone(finished_run: Path, files: Files, tmp_path: Path, tools) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    for more in ([], ["--resume"]):
        code, errors = tools.invoke("finetune", finished_run, *options(files, output, *more))
        assert (code, "is not empty" in errors) == (2, True)
        assert [p.name for p in output.iterdir()] == ["thesis.txt"]
    finetune(finished_run, files, tmp_path / "two", settings(seeds=1, epochs=1), QUIET)
    before = (tmp_path / "two" / "model.safetensors").read_bytes()
    code, errors = tools.invoke("finetune", finished_run, *options(files, tmp_path / "two"))
    assert (code, "holds a fine-tuning; add --resume" in errors) == (2, True)
    code, errors = tools.invoke("finetune", finished_run, *options(files, tmp_path / "two", "--resume"))
    assert (code, "seeds (1 -> 2)" in errors) == (2, True), errors
    assert (tmp_path / "two" / "model.safetensors").read_bytes() == before


def test_a_classifier_is_no_run_and_a_run_no_classifier(
    finished_run: Path, files: Files, tmp_path: Path, tools
) -> None:
    finetune(finished_run, files, tmp_path / "out", settings(seeds=1, epochs=1), QUIET)
    code, errors = tools.invoke("finetune", tmp_path / "out", *options(files, tmp_path / "again"))
    assert (code, "holds a fine-tuned classifier" in errors) == (1, True)
    code, errors = tools.invoke("predict", finished_run, files.valid)
    assert (code, "not a classifier" in errors) == (1, True)
    assert load_classifier(tmp_path / "out").head.kind == "classification"
