"""The commands of docs/evaluate.md, finetune.md, light.md and export.md, as a user would type them, on tiny files."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

import schemas.arrow

FEW = ["epochs=1", "threads=1"]
COMPRESS = {
    "early-exit": [*FEW, "latency_seconds=0.1"],
    "calibrate": [*FEW, "latency_seconds=0.1"],
    "prune": [*FEW, "rounds=1", "final_epochs=1", "final_steps=2", "examples=16"],
    "teach": ["schedule.steps=2", "system.threads=1"],
}
"""What makes each command of `compress` short."""
CLASSIFIER = "siliang-trainer finetune RUN --train train.tsv --valid dev.tsv --text 1 --label 2 --output CLASSIFIER"


@pytest.fixture
def place(finished_run: Path, prepared: Path, tmp_path: Path, monkeypatch) -> Path:
    """A working directory with what the pages name."""
    shards = tmp_path / "shards"
    shutil.copytree(prepared, shards)
    schema = schemas.arrow.WORD_FREQUENCY
    columns = [["the", "whale", "sea", "ship"], [3000, 300, 90, 8], [9, 9, 9, 8]]
    arrays = [pa.array(c, type=field.type) for c, field in zip(columns, schema, strict=True)]
    with (
        pa.OSFile(str(shards / "frequency" / "words.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    for name in ("RUN", "OTHER"):
        shutil.copytree(finished_run, tmp_path / name)
        (tmp_path / name / "data.json").write_text(json.dumps({"shards": str(shards)}))
    (tmp_path / "zorro").mkdir()
    (tmp_path / "zorro" / "a.txt").write_text("the whale sail .\nthe whale sails .\n")
    words = "word1,word2,similarity\nwhale,sea,5\nship,boat,9\nsea,boat,4\n"
    (tmp_path / "stanford-rare-words.csv").write_text(words)
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("the whale\t1\nthe ship\t0\n" * 4)
    (tmp_path / "texts.txt").write_text("the whale\nthe sea\n")
    pairs = [{"first": "the whale", "second": "a whale", "same": k % 2} for k in range(6)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    tags = [{"words": ["the", "whale"], "tags": ["O", "B"]}] * 4
    (tmp_path / "words.jsonl").write_text("\n".join(map(json.dumps, tags)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("page", "count"), [("evaluate", 5), ("finetune", 5)])
def test_commands_of_the_page(place: Path, tools, page: str, count: int) -> None:
    text = (tools.root / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found = commands(text)
    assert len(found) == count
    run_all(found, tools)


def commands(text: str) -> list[str]:
    return [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def run_all(found: list[str], tools) -> None:
    for command in found:
        program, *arguments = shlex.split(command)
        assert program == "siliang-trainer"
        if arguments[0] == "finetune":
            arguments += ["--set", "epochs=1", "--set", "seeds=1", "--set", "threads=1"]
        if arguments[0] == "compress":
            arguments += tools.sets(COMPRESS.get(arguments[1], []))
        if arguments[0] == "train":
            # Named again, a key is the later one's.
            small = {"schedule.by": '"steps"', "schedule.steps": 2, "model.layers": 1, "model.width": 16}
            small |= {"model.heads": 2, "model.feed_forward": 32, "evaluate.rows": 8, "system.threads": 1}
            arguments += tools.sets([f"{key}={value}" for key, value in small.items()])
        if "--probe" in arguments:
            arguments += ["--probe-steps", "5"]
        code, errors, output = tools.invoke_output(*arguments)
        assert code == 0, f"{command}\n{errors}"
        assert output.strip()


def test_commands_of_early_exit(place: Path, finished_run: Path, tools) -> None:
    """Its section of docs/light.md; the others have tests of their own."""
    for name in ("dev.tsv", "other.tsv"):
        (place / name).write_text("a whale\t1\nher ship\t0\n" * 4 + f"{name}\t0\n")
    run_all([CLASSIFIER], tools)
    text = (tools.root / "docs" / "light.md").read_text(encoding="utf-8")
    section = text.split("\n## Early exit\n")[1].split("\n## ")[0]
    found = commands(section)
    assert len(found) == 7
    run_all(found, tools)


def test_commands_of_smaller_models(place: Path, tools) -> None:
    """A student, pruning, a smaller vocabulary."""
    run_all([CLASSIFIER, "siliang-trainer train shards --output run --preset small"], tools)
    text = (tools.root / "docs" / "light.md").read_text(encoding="utf-8")
    (config,) = re.findall(r"```toml\n# student.toml\n(.*?)```", text, re.DOTALL)
    # The page's teacher has six layers, this one has one.
    (place / "student.toml").write_text(config.replace("layers = [0, 5]", "layers = [0]"))
    for title, count in (("A student", 5), ("Pruning", 4), ("A smaller vocabulary", 2)):
        found = commands(text.split(f"\n## {title}\n")[1].split("\n## ")[0])
        assert len(found) == count
        run_all(found, tools)


def test_commands_from_shards_to_an_onnx_file(place: Path, tools) -> None:
    shutil.copyfile(place / "dev.tsv", place / "test.tsv")
    text = (tools.root / "docs" / "light.md").read_text(encoding="utf-8")
    found = commands(text.split("\n## From shards to an ONNX file\n")[1].split("\n## ")[0])
    assert len(found) == 5
    run_all(found, tools)
    assert (place / "classifier-onnx" / "model.onnx").is_file()


@pytest.mark.slow
def test_commands_of_export(place: Path, tools, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(place / "modules"))
    (place / "masked.txt").write_text("the [MASK]\n")
    (place / "texts.jsonl").write_text('{"key": 7, "text": "the whale"}\n')
    run_all(
        [CLASSIFIER, "siliang-trainer train shards --output BERT --set model.norm=post --set model.positions=absolute"],
        tools,
    )
    text = (tools.root / "docs" / "export.md").read_text(encoding="utf-8")
    found = commands(text)
    assert len(found) == 10
    run_all(found, tools)
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, {})
