"""`early-exit`, `calibrate` and `predict --speed` on a tiny fine-tuned run: files, wishes, refusals."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import trainer.light.early_exit.building as building
from schemas.manifest import file_digest
from trainer.finetune.data import Files
from trainer.finetune.directory import load_classifier
from trainer.finetune.finetuning import finetune
from trainer.finetune.settings import build_settings
from trainer.finetune.table import Columns
from trainer.light.early_exit.directory import load_early_exit
from trainer.progress import ProgressLine

QUIET = ProgressLine(quiet=True)
BEASTS = ["the whale", "a shark", "the whales swim and swim in the sea", "this whale of ours"]
SHIPS = ["the ship", "a boat", "her mast and all of her sails in the wind", "the captain and his ship"]


def sentences(count: int, first: int = 0) -> str:
    """Animals are 1, ships 0."""
    texts = [((BEASTS if k % 2 else SHIPS)[k // 2 % 4], k) for k in range(first, first + count)]
    return "sentence\tlabel\n" + "".join(f"{text} number {k}\t{k % 2}\n" for text, k in texts)


@pytest.fixture(scope="module")
def place(finished_run: Path, tmp_path_factory: pytest.TempPathFactory, tools) -> Path:
    """A fine-tuned classifier `full`, files, and `fast`, which may exit early."""
    directory = tmp_path_factory.mktemp("early")
    for name, first in (("train", 0), ("valid", 100), ("test", 200)):
        (directory / f"{name}.tsv").write_text(sentences(32, first))
    values = {"learning_rates": [0.01], "seeds": 1, "epochs": 8, "batch_rows": 8, "threads": 1, "device": "cpu"}
    files = Files(directory / "train.tsv", directory / "valid.tsv", Columns("sentence", None, "label"))
    assert finetune(finished_run, files, directory / "full", build_settings(chosen=values), QUIET)
    code, errors = tools.invoke(*command(directory, directory / "fast", "--label", "label"))
    assert code == 0, errors
    return directory


def command(place: Path, output: Path, *more: object, train: bool = True) -> list[object]:
    found: list[object] = [
        "compress",
        "early-exit",
        place / "full",
        "--valid",
        place / "valid.tsv",
        "--text",
        "sentence",
    ]
    found += ["--train", place / "train.tsv"] if train else []
    for setting in ("threads=1", "latency_seconds=0.1", "learning_rate=0.01", "device='cpu'", "exits=[0,1]"):
        found += ["--set", setting]
    return [*found, "--output", output, *more]


def answers(tools, place: Path, *more: object) -> list[dict]:
    code, errors, printed = tools.invoke_output(
        "predict", place / "fast", place / "test.tsv", "--text", "sentence", "--json", *more
    )
    assert code == 0, errors
    return [json.loads(line) for line in printed.splitlines()]


def test_what_is_written(place: Path) -> None:
    fast = place / "fast"
    assert {p.name for p in fast.iterdir()} == {"model.json", "model.safetensors", "result.json", "vocabulary"}
    described = json.loads((fast / "model.json").read_text())
    assert (described["task"], described["early_exit"]["exits"]) == ("early-exit", [0, 1])
    calibration = described["early_exit"]["calibration"]
    assert calibration["file"] == file_digest(place / "valid.tsv")
    assert (calibration["examples"], calibration["metric"], calibration["threads"]) == (32, "accuracy", 1)
    timed = [point for point in calibration["points"] if point["milliseconds"]]
    assert {point["speed"] for point in timed} >= {0.0, 0.5, 1.0, described["early_exit"]["speed"]}
    assert all(point["milliseconds"].keys() == {"1", "32"} for point in timed)
    result = json.loads((fast / "result.json").read_text())
    assert result["full"] - result["valid"]["score"] <= 0.01
    # The fine-tuned weights are in it, bit for bit.
    full, fast_tensors = load_file(place / "full" / "model.safetensors"), load_file(fast / "model.safetensors")
    assert all(torch.equal(tensor, fast_tensors[name]) for name, tensor in full.items())
    assert {name.split(".")[0] for name in fast_tensors.keys() - full.keys()} == {"branches"}


def test_predict_by_speed(place: Path, tools) -> None:
    code, _, printed = tools.invoke_output(
        "predict", place / "full", place / "test.tsv", "--text", "sentence", "--json"
    )
    assert code == 0
    full = [json.loads(line) for line in printed.splitlines()]
    whole = answers(tools, place, "--speed", 0)
    assert {found.pop("layers") for found in whole} == {2}
    for a, b in zip(full, whole, strict=True):
        assert (a["label"], a["cut"]) == (b["label"], b["cut"])
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-6)
    quick = answers(tools, place, "--speed", 1)
    assert {found["layers"] for found in quick} == {0}
    # In the order of the file, whatever batches they came in: as each text by itself.
    lines = (place / "test.tsv").read_text().splitlines()[1:]
    for text, found in zip(lines[:8], answers(tools, place, "--speed", "0.7")[:8], strict=True):
        (place / "one.txt").write_text(text.split("\t")[0] + "\n")
        _, _, printed = tools.invoke_output("predict", place / "fast", place / "one.txt", "--speed", "0.7", "--json")
        alone = json.loads(printed)
        assert (alone["label"], alone["layers"]) == (found["label"], found["layers"])
        assert alone["probabilities"] == pytest.approx(found["probabilities"], abs=1e-5)


def test_other_wishes(place: Path, tools) -> None:
    chosen = load_early_exit(place / "fast").exits
    assert answers(tools, place) == answers(tools, place, "--speed", chosen.speed)
    speed = chosen.calibration.losing(100)
    assert answers(tools, place, "--lose", 100) == answers(tools, place, "--speed", speed)
    assert answers(tools, place, "--latency", 1e6, "--batch", 32) == answers(tools, place, "--speed", 0)
    (place / "one.txt").write_text((place / "test.tsv").read_text().splitlines()[1].split("\t")[0] + "\n")
    _, _, plain = tools.invoke_output("predict", place / "fast", place / "one.txt")
    assert plain.split("\t")[0] in ("0", "1")
    for more, code, message in (
        (["--latency", 1e-6], 2, "ask for more, or use a smaller model"),
        (["--latency", 5, "--batch", 7], 2, "measured were batches of 1, 32"),
        (["--speed", 2], 2, "lies in [0, 1]"),
        (["--speed", 0.5, "--lose", 1], 2, "exclude one another"),
    ):
        found, errors = tools.invoke("predict", place / "fast", place / "test.tsv", "--text", "sentence", *more)
        assert (found, message in errors) == (code, True), errors
    found, errors = tools.invoke("predict", place / "full", place / "one.txt", "--speed", 0.5)
    assert (found, "answers with all of its layers; `compress early-exit" in errors) == (2, True)


def test_unlabelled_texts_are_enough(place: Path, tmp_path: Path, tools) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("\n".join(line.split("\t")[0] for line in sentences(32, 300).splitlines()[1:]) + "\n\n")
    table = tmp_path / "more.jsonl"
    table.write_text('{"sentence": "the whale"}\n{"sentence": "a boat"}\n')
    more = ["--unlabelled", plain, "--unlabelled", table, "--test", place / "test.tsv", "--json", "--lose", 5]
    code, errors, printed = tools.invoke_output(*command(place, tmp_path / "out", *more, train=False))
    assert code == 0, errors
    result = json.loads(printed)
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["metric"], result["full"], result["examples"]["train"]) == ("agreement", 1.0, 34)
    assert result["valid"]["score"] >= 0.95
    assert result["test"]["whole"]["score"] == 1.0
    assert (result["test"]["whole"]["layers"], result["test"]["chosen"]["speed"]) == (2.0, result["speed"])
    assert result["test"]["whole"]["milliseconds"].keys() == {"1", "32"}
    # The same texts with their labels give the same branches: labels are not read.
    for name, labels in (("a", False), ("b", True)):
        found = command(place, tmp_path / name, *(["--label", "label"] if labels else []))
        assert tools.invoke(*found)[0] == 0
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)
    mixed = command(place, tmp_path / "c", "--label", "label", "--set", "label_share=0.5")
    assert tools.invoke(*mixed)[0] == 0
    c = load_file(tmp_path / "c" / "model.safetensors")
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_time_that_cannot_be_had(place: Path, tmp_path: Path, tools) -> None:
    """What was learnt is kept, at its fastest; a calibration that fails changes nothing."""
    code, errors = tools.invoke(*command(place, tmp_path / "out", "--latency", 1e-6))
    assert (code, "ask for more, or use a smaller model; speed" in errors) == (0, True), errors
    points = [p for p in load_early_exit(tmp_path / "out").exits.calibration.points if p.milliseconds]
    assert load_early_exit(tmp_path / "out").exits.speed == min(points, key=lambda p: p.milliseconds[1]).speed
    before = (tmp_path / "out" / "model.json").read_bytes()
    arguments = ["--valid", place / "test.tsv", "--text", "sentence", "--set", "latency_seconds=0.05"]
    code, errors = tools.invoke("compress", "calibrate", tmp_path / "out", *arguments, "--latency", 1e-6)
    assert (code, "ask for more" in errors) == (2, True), errors
    assert (tmp_path / "out" / "model.json").read_bytes() == before


def test_pairs(place: Path, finished_run: Path, tmp_path: Path, tools) -> None:
    for name, rows in (("train", 12), ("valid", 8)):
        lines = [f"the whale {k}\ta {'whale' if k % 2 else 'ship'}\t{k % 2}" for k in range(rows)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "more.txt").write_text("the whale\ta boat\n\n")
    files = Files(tmp_path / "train.tsv", tmp_path / "valid.tsv", Columns("1", "2", "3"))
    values = {"learning_rates": [0.01], "seeds": 1, "epochs": 1, "threads": 1, "device": "cpu", "metric": "matthews"}
    finetune(finished_run, files, tmp_path / "full", build_settings(chosen=values), QUIET)
    arguments = ["--train", files.train, "--unlabelled", tmp_path / "more.txt", "--valid", files.valid, "--text", 1]
    arguments += ["--text-b", 2, "--label", 3, "--set", "latency_seconds=0", "--output", tmp_path / "out"]
    code, errors, printed = tools.invoke_output("compress", "early-exit", tmp_path / "full", *arguments, "--json")
    assert code == 0, errors
    result = json.loads(printed)
    # Points are counted by what the classifier was chosen by.
    assert (result["examples"]["train"], result["metric"]) == (13, "matthews")
    code, errors, printed = tools.invoke_output(
        "compress", "prune", tmp_path / "full", "--train", files.train, "--valid", files.valid, "--text", 1,
        "--text-b", 2, "--label", 3, "--keep-ffn", 0.5, "--set", "rounds=1", "--set", "final_epochs=1",
        "--set", "threads=1", "--output", tmp_path / "pruned", "--json",
    )  # fmt: skip
    assert code == 0, errors
    pruned = json.loads(printed)
    assert pruned["metric"] == load_classifier(tmp_path / "pruned").head.metric == "matthews"
    code, errors, printed = tools.invoke_output("predict", tmp_path / "out", tmp_path / "more.txt")
    assert (code, "a pair is two texts with one tab" in errors) == (1, True)
    code, errors, printed = tools.invoke_output("predict", tmp_path / "out", files.valid, "--text", 1, "--text-b", 2)
    assert (code, len(printed.splitlines())) == (0, 8), errors


def test_calibrate_changes_numbers_alone(place: Path, tmp_path: Path, tools) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place / "fast", copy)
    weights = (copy / "model.safetensors").read_bytes()
    code, errors, printed = tools.invoke_output(
        "compress", "calibrate", copy, "--valid", place / "test.tsv", "--text", "sentence", "--label", "label",
        "--speed", 0.25, "--set", "latency_seconds=0.05", "--set", "latency_batches=[4]", "--json",
    )  # fmt: skip
    assert code == 0, errors
    told, exits = json.loads(printed), load_early_exit(copy).exits
    assert told["speed"] == exits.speed == 0.25
    assert told["file"] == exits.calibration.file == file_digest(place / "test.tsv")
    assert exits.calibration.at(0.25).milliseconds.keys() == {4}
    assert (copy / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence\tlabel\nthe whale\t7\n", "label '7' was never seen in training"),
        ("sentence\tlabel\nthe whale\t1\textra\n", "line 2 has 3 fields"),
        ("sentence\tlabel\nthe whale\t\n", "no label"),
        ("sentence\tlabel\n", "holds no text"),
        ("text\tlabel\na\t1\n", "no column 'sentence'"),
    ],
)
def test_bad_data_leaves_nothing_behind(place: Path, tmp_path: Path, tools, content: str, message: str) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_text(content)
    code, errors = tools.invoke(*command(place, tmp_path / "out", "--label", "label", "--valid", bad))
    assert (code, message in errors) == (1, True), errors
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.tsv"]


def test_more_bad_use(place: Path, tmp_path: Path, tools) -> None:
    output = tmp_path / "out"
    for more, code, message in (
        (["--valid", place / "train.tsv"], 1, "holds what branches learn"),
        (["--test", place / "valid.tsv"], 1, "--test needs texts of its own"),
        (["--set", "exits=[2]"], 2, "the last one of 2 layers is 1"),
        (["--set", "exit=1"], 2, "key 'exit': unknown key; allowed: exits, pooling"),
        (["--set", "label_share=0.5"], 2, "label_share needs labels"),
        (["--set", "long='refuse'", "--train", long_text(tmp_path)], 1, "this model reads 32"),
        (["--text-b", "label"], 2, "this classifier reads single texts"),
        (["--latency", 5, "--batch", 7], 2, "latency_batches is [1, 32]"),
        (["--train", tmp_path / "none.tsv"], 1, "cannot be read"),
    ):
        found, errors = tools.invoke(*command(place, output, *more))
        assert (found, message in errors) == (code, True), errors
        assert not output.exists()
    found, errors = tools.invoke(*command(place, output, train=False))
    assert (found, "name --train FILE or --unlabelled FILE" in errors) == (2, True)
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    found, errors = tools.invoke(*command(place, output))
    assert (found, "is not empty; name another --output" in errors) == (2, True)
    assert [p.name for p in output.iterdir()] == ["thesis.txt"]


def long_text(place: Path) -> Path:
    path = place / "long.tsv"
    path.write_text("sentence\tlabel\n" + "the whale " * 60 + "\t1\n")
    return path


@pytest.mark.parametrize(("kind", "why"), [("regression", "no entropy"), ("tokens", "its words would have to leave")])
def test_other_kinds_are_refused(place: Path, finished_run: Path, tmp_path: Path, tools, kind: str, why: str) -> None:
    table = tmp_path / "t.tsv"
    table.write_text("whale\t1\nship\t0\n" * 3)
    values = {"kind": kind, "learning_rates": [0.01], "seeds": 1, "epochs": 1, "threads": 1, "device": "cpu"}
    files = Files(table, table, Columns("1", None, "2"))
    finetune(finished_run, files, tmp_path / "full", build_settings(chosen=values), QUIET)
    arguments = ["--train", table, "--valid", place / "valid.tsv", "--text", 1, "--output", tmp_path / "out"]
    code, errors = tools.invoke("compress", "early-exit", tmp_path / "full", *arguments)
    assert (code, why in errors, f"kind '{kind}' cannot exit early" in errors) == (1, True, True), errors
    assert not (tmp_path / "out").exists()


def test_what_is_no_classifier(place: Path, finished_run: Path, tmp_path: Path, tools) -> None:
    for run, message in (
        (finished_run, "holds a model of task 'masked-lm', not a classifier of `finetune`"),
        (place / "fast", "holds a model of task 'early-exit', not a classifier"),
        (tmp_path, "no classifier here"),
    ):
        arguments = ["--train", place / "train.tsv", "--valid", place / "valid.tsv", "--text", "sentence"]
        code, errors = tools.invoke("compress", "early-exit", run, *arguments, "--output", tmp_path / "out")
        assert (code, message in errors) == (1, True), errors
    code, errors = tools.invoke(
        "compress", "calibrate", place / "full", "--valid", place / "valid.tsv", "--text", "sentence"
    )
    assert (code, "not a classifier of `early-exit`" in errors) == (1, True), errors


def test_killed_or_stopped_it_leaves_nothing(place: Path, tmp_path: Path, monkeypatch, tools) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("trainer.light.early_exit.directory.write_atomic", None)  # after weights, before model.json
        with pytest.raises(TypeError):
            tools.invoke(*command(place, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []

    class Signalled(building.StopRequest):
        def __init__(self) -> None:
            super().__init__()
            self.requested = True

    monkeypatch.setattr(building, "StopRequest", Signalled)
    code, errors = tools.invoke(*command(place, tmp_path / "out"))
    assert (code, "stopped; nothing was written" in errors) == (0, True)
    assert list(tmp_path.iterdir()) == []


def poisons():
    def fewer_branches(described, tensors):
        described["early_exit"]["exits"] = [1]

    def a_branch_too_deep(described, tensors):
        described["early_exit"]["exits"] = [0, 2]

    def endless_exits(described, tensors):
        described["early_exit"]["exits"] = list(range(1 << 16))

    def a_vast_branch(described, tensors):
        described["early_exit"]["branch"]["width"] = 1 << 40

    def no_points(described, tensors):
        described["early_exit"]["calibration"]["points"] = []

    def a_speed_that_is_none(described, tensors):
        described["early_exit"]["speed"] = "__import__('os')"

    def not_a_number(described, tensors):
        tensors["branches.0.out.weight"][0, 0] = float("nan")

    def a_branch_less(described, tensors):
        tensors.pop("branches.1.out.weight")

    def an_odd_shape(described, tensors):
        tensors["branches.1.out.weight"] = torch.zeros(9, 9)

    def an_unknown_key(described, tensors):
        described["early_exit"]["auto_map"] = "../evil.py"

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("poison", poisons())
def test_a_poisoned_directory_is_refused(place: Path, tmp_path: Path, tools, poison) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place / "fast", copy)
    described, tensors = json.loads((copy / "model.json").read_text()), load_file(copy / "model.safetensors")
    poison(described, tensors)
    (copy / "model.json").write_text(json.dumps(described))
    save_file(tensors, copy / "model.safetensors")
    code, errors, printed = tools.invoke_output("predict", copy, place / "test.tsv", "--text", "sentence")
    assert (code, printed) == (1, ""), errors
    assert errors.startswith("error: ")
    assert str(copy) in errors
    assert len(errors) < 600
