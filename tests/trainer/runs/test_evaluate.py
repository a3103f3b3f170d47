"""`evaluate` on trained runs: minimal pairs, bands, rare words, probes, comparisons."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

import schemas.arrow
from trainer.data.shards import Corpus
from trainer.evaluate.evaluation import Wanted, evaluate
from trainer.evaluate.held_out import evaluate_run
from trainer.evaluate.words import WordFinder
from trainer.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def counted(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared corpus with its table of words."""
    directory = tmp_path_factory.mktemp("counted") / "shards"
    shutil.copytree(prepared, directory)
    finder = WordFinder(Tokenizer(directory / "vocabulary" / "siliang.model"))
    counts: Counter[str] = Counter()
    corpus = Corpus(directory, "train")
    for document in range(corpus.documents):
        counts.update(unit.word for unit in finder.units(corpus.tokens(document).tolist()) if unit.word)
    words = sorted(counts, key=lambda word: (-counts[word], word))
    schema = schemas.arrow.WORD_FREQUENCY
    columns = [words, [counts[word] for word in words], [1] * len(words)]
    arrays = [pa.array(c, type=field.type) for c, field in zip(columns, schema, strict=True)]
    path = directory / "frequency" / "words.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    return directory


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    directory = tmp_path / "pairs"
    directory.mkdir()
    verbs = ["sail", "swim", "sink", "hunt", "float"]
    lines = [f"the whale {verb} .\nthe whale {verb}s ." for verb in verbs]
    (directory / "agreement.txt").write_text("\n".join(lines) + "\n")
    rows = [{"sentence_good": f"the {v} sea", "sentence_bad": f"sea the {v}", "UID": "order"} for v in verbs]
    (directory / "blimp.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return directory


def test_the_plain_command_is_as_it_was(finished_run: Path, tools) -> None:
    code, _, output = tools.invoke_output("evaluate", finished_run, "--json")
    assert code == 0
    found = json.loads(output)
    assert found["held_out_loss"] == evaluate_run(finished_run).held_out_loss
    assert "minimal_pairs" not in found
    assert "run" not in found
    code, _, output = tools.invoke_output("evaluate", finished_run)
    assert code == 0
    assert [line.split("  ")[0] for line in output.splitlines()] == [
        "held-out loss", "unigram entropy", "unigram cross-entropy", "targets",
    ]  # fmt: skip


def test_everything_at_once(finished_run: Path, counted: Path, pairs: Path, tmp_path: Path, tools) -> None:
    words = tmp_path / "words.csv"
    words.write_text("word1,word2,similarity\nwhale,sea,5\nship,boat,9\nsea,boat,4\ncaptain,zzz,1\n")
    options = ["--shards", counted, "--pairs", pairs, "--limit", 3, "--bands", "--band-words", 5]
    options += ["--rare-words", words, "--plot", tmp_path / "pairs.svg"]
    code, errors, output = tools.invoke_output("evaluate", finished_run, *options, "--json")
    assert code == 0, errors
    found = json.loads(output)
    scores = found["minimal_pairs"]["paradigms"]
    assert [(score["name"], score["pairs"]) for score in scores] == [("agreement", 3), ("order", 3)]
    assert found["minimal_pairs"]["mean"] == sum(score["accuracy"] for score in scores) / 2
    assert {band["band"] for band in found["bands"]["words"]} >= {"1-9", "10-99", "100-999"}
    assert all(band["words"] <= 5 and band["perplexity"] > 1 for band in found["bands"]["words"])
    assert found["rare_words"]["pairs_in_corpus"] == 3
    assert "<svg" in (tmp_path / "pairs.svg").read_text()
    code, _, output = tools.invoke_output("evaluate", finished_run, *options)
    assert code == 0
    for expected in ("held-out loss", "rare words, contextual", "10-99", "agreement", "mean"):
        assert expected in output


def test_runs_are_compared(finished_run: Path, pairs: Path, tmp_path: Path, tools) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished_run, other)
    options = ["evaluate", "--compare", finished_run, other, "--pairs", pairs]
    code, errors, output = tools.invoke_output(*options, "--json")
    assert code == 0, errors
    first, second = json.loads(output)["runs"]
    assert (first.pop("run"), second.pop("run")) == (str(finished_run), str(other))
    assert first == second
    code, _, output = tools.invoke_output(*options)
    assert code == 0
    for line in output.splitlines()[1:]:
        assert line.split()[-1] == line.split()[-2]
    assert "minimal pairs, mean" in output
    code, errors = tools.invoke("evaluate", finished_run, finished_run)
    assert (code, "named twice" in errors) == (2, True)


def test_a_probe_takes_the_heads_place(finished_run: Path, pairs: Path, tools) -> None:
    options = ["evaluate", finished_run, "--probe", "--probe-steps", 8, "--pairs", pairs, "--json"]
    code, errors, output = tools.invoke_output(*options)
    assert code == 0, errors
    found = json.loads(output)
    assert "held_out_loss" not in found
    assert found["probe"]["steps"] == 8
    again = json.loads(tools.invoke_output(*options)[2])
    for one in (found, again):
        one["probe"].pop("seconds")
    assert found == again


def test_bad_use_is_told_before_any_work(finished_run: Path, pairs: Path, tmp_path: Path, tools, monkeypatch) -> None:
    for options, code, message in (
        (["--plot", "a.png"], 2, "--plot draws minimal pairs"),
        (["--pairs", pairs, "--plot", "a.bmp"], 2, "plots are .png or .svg"),
        (["--pairs", tmp_path / "none"], 1, "cannot be read"),
        (["--rare-words", tmp_path / "none.csv"], 1, "cannot be read"),
        (["--bands"], 1, "words.arrow"),
    ):
        found, errors = tools.invoke("evaluate", finished_run, *options)
        assert (found, message in errors) == (code, True), errors
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    found, errors = tools.invoke("evaluate", finished_run, "--pairs", pairs, "--plot", tmp_path / "a.png")
    assert (found, "pip install matplotlib" in errors) == (2, True)


def test_a_sentence_longer_than_the_model_names_its_paradigm(finished_run: Path, tmp_path: Path, tools) -> None:
    path = tmp_path / "long.txt"
    path.write_text("the whale " * 40 + "\nthe whale\n")
    code, errors = tools.invoke("evaluate", finished_run, "--pairs", path)
    assert code == 1
    assert "long: " in errors
    assert "do not fit the model's 32" in errors


def test_another_vocabulary_is_refused(finished_run: Path, prepared: Path, tmp_path: Path) -> None:
    other = tmp_path / "shards"
    shutil.copytree(prepared, other)
    path = other / "vocabulary" / "siliang.model"
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(ValueError, match="another vocabulary"):
        evaluate(finished_run, Wanted(shards=other, bands=True))


def test_an_encoder_of_another_task_is_measured_through_a_probe(
    prepared: Path, pairs: Path, tmp_path: Path, tools
) -> None:
    run = tmp_path / "run"
    tools.train(prepared, run, overrides=tools.settings(task__kind="replaced-token", schedule__steps=4))
    code, errors = tools.invoke("evaluate", run, "--pairs", pairs)
    assert (code, "add --probe" in errors) == (1, True), errors
    code, errors, output = tools.invoke_output(
        "evaluate", run, "--pairs", pairs, "--probe", "--probe-steps", 4, "--json"
    )
    assert code == 0, errors
    assert json.loads(output)["probe"]["held_out_loss"] > 0
