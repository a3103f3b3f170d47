"""Folders that the real `datasets` library writes."""

import json

import pytest

from pipeline.io.inputs import list_inputs

datasets = pytest.importorskip("datasets")

CARD = "---\nlanguage:\n- en\nlicense: mit\nconfigs:\n- config_name: default\n---\n# A dataset\n"


@pytest.fixture
def dataset(monkeypatch):
    monkeypatch.setattr(datasets.config, "PROGRESS_BARS_DISABLED", True, raising=False)
    datasets.disable_progress_bars()
    return datasets.Dataset.from_dict({"id": list(range(10)), "text": [f"text {i}" for i in range(10)]})


def names(path):
    return [(file.relative, file.source, file.problem) for file in list_inputs([str(path)])]


def test_save_to_disk(tmp_path, dataset, read_input):
    dataset.save_to_disk(tmp_path / "saved", num_shards=2)
    (tmp_path / "saved" / "cache-0123456789abcdef.arrow").write_bytes(b"what map() keeps")
    files = list_inputs([str(tmp_path / "saved")])
    assert [file.relative for file in files] == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    assert {file.source for file in files} == {"saved"}
    assert [row["text"] for file in files for row in read_input(file)] == dataset["text"][:]


def test_splits_are_sources(tmp_path, dataset, read_input):
    splits = datasets.DatasetDict(train=dataset, test=dataset.select([3, 4]))
    splits.save_to_disk(tmp_path / "saved")
    assert names(tmp_path / "saved") == [
        ("test/data-00000-of-00001.arrow", "test", None),
        ("train/data-00000-of-00001.arrow", "train", None),
    ]
    files = list_inputs([str(tmp_path / "saved")])
    assert [row["text"] for row in read_input(files[0])] == ["text 3", "text 4"]


def test_a_folder_as_on_the_hub(tmp_path, dataset, read_input):
    (tmp_path / "data").mkdir()
    dataset.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    dataset.to_json(tmp_path / "data" / "test.jsonl")
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "dataset_infos.json").write_text("{}")
    (tmp_path / ".gitattributes").write_text("*.parquet filter=lfs")
    files = list_inputs([str(tmp_path)])
    assert [file.relative for file in files] == ["data/test.jsonl", "data/train-00000-of-00001.parquet"]
    for file in files:
        assert [row["text"] for row in read_input(file)] == dataset["text"][:]


def test_structs(tmp_path, read_input):
    nested = datasets.Dataset.from_dict({"body": [{"text": "a", "n": 1}, {"text": "b", "n": 2}]})
    nested.save_to_disk(tmp_path)
    [file] = list_inputs([str(tmp_path)])
    assert [row["text"] for row in read_input(file, text_fields=("body.text",))] == ["a", "b"]


def test_other_files_of_these_names_are_records(tmp_path):
    (tmp_path / "README.md").write_text("---\nA rule, and no card.\n---\n")
    (tmp_path / "state.json").write_text(json.dumps({"text": "of the union"}))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"text": "alone"}))
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"text": "alone"}))
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    assert len(names(tmp_path)) == 5
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "a.jsonl").rename(tmp_path / "a.txt")
    assert len(names(tmp_path)) == 5  # a card without data
    assert [name for name, *_ in names(tmp_path / "README.md")] == ["README.md"]  # asked for by name
