"""Thousands of broken files: none raises, none hangs, none vanishes, and no row is lost or counted twice."""

import random
import time

import pyarrow.compute as pc
import pytest

from pipeline.config import InputConfig, PipelineConfig
from pipeline.io.inputs import list_inputs
from pipeline.io.read import read_batches
from pipeline.stages.clean import audit_rows, clean_batch

from .broken_cases import CONFIG, case, dataset_folder

LIMIT_S = 20
"""Processor time of one case; the slowest takes half a second."""


def check(seed: int, read_file) -> int:
    """The number of rows. `read_file` checks each of them, and that their names are unique."""
    name, content, config, texts = case(seed)
    start = time.process_time()
    try:
        rows = read_file(name, content, **config)
    except Exception as error:
        raise AssertionError(f"case({seed}): {name} of {len(content)} bytes with {config}") from error
    assert time.process_time() - start < LIMIT_S, f"case({seed})"
    if texts is not None:
        assert [row["text"] for row in rows] == texts, f"case({seed})"
    if seed % 10 == 0:
        assert read_file(name, content, **config) == rows, f"case({seed}) is not the same twice"
    return len(rows)


def check_cleaning(seed: int, folder) -> int:
    """The number of audit rows: every record of the reader has one, and says what became of it."""
    name, content, config, _ = case(seed)
    path = folder / name
    path.write_bytes(content)
    [file] = list_inputs([str(path)])
    whole = PipelineConfig(input=InputConfig(**config))
    start = time.process_time()
    total = 0
    for batch in read_batches(file, whole.input):
        try:
            cleaned = clean_batch(batch, whole)
            rows = audit_rows(cleaned, whole.privacy)
        except Exception as error:
            raise AssertionError(f"case({seed}): {name} of {len(content)} bytes with {config}") from error
        rows.validate(full=True)
        cleaned.validate(full=True)
        assert rows["record"].equals(batch["record"]), f"case({seed})"
        verdicts = set(rows["verdict"].unique().to_pylist())
        assert verdicts <= {"kept", "filtered", "quarantined"}, f"case({seed}): {verdicts}"
        assert pc.equal(rows["verdict"], "quarantined").equals(pc.is_valid(cleaned["quarantine"])), f"case({seed})"
        total += rows.num_rows
    assert total > 0, f"case({seed})"
    assert time.process_time() - start < LIMIT_S, f"case({seed})"
    path.unlink()
    return total


@pytest.mark.parametrize("seed", range(30))
def test_broken_dataset_folders(tmp_path, read_input, seed):
    r = random.Random(seed)
    expected = dataset_folder(r, tmp_path)
    files = list_inputs([str(tmp_path)])
    assert {file.relative for file in files if file.relative.endswith(".arrow")} == set(expected)
    assert {file.relative for file in files} - set(expected) <= {"README.md"}  # a damaged card is a text
    assert all(read_input(file, **CONFIG) for file in files)


def test_cases_are_the_same_in_every_run():
    assert [case(seed) for seed in range(20)] == [case(seed) for seed in range(20)]


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_broken_files(read_file, first):
    assert sum(check(seed, read_file) for seed in range(first, first + 50)) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 6000, 250))
def test_many_broken_files(read_file, first):
    assert sum(check(seed, read_file) for seed in range(first, first + 250)) >= 250


@pytest.mark.parametrize("first", range(10_000, 10_100, 50))
def test_broken_files_through_cleaning(tmp_path, first):
    assert sum(check_cleaning(seed, tmp_path) for seed in range(first, first + 50)) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 6000, 250))
def test_many_broken_files_through_cleaning(tmp_path, first):
    assert sum(check_cleaning(seed, tmp_path) for seed in range(first, first + 250)) >= 250
