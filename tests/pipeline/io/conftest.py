"""Every reader test goes through real files, list_inputs and read_batches, and checks what holds for every row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import InputConfig
from pipeline.doc_id import doc_id
from pipeline.io.formats.names import ARCHIVES, format_of
from pipeline.io.formats.record import REASONS
from pipeline.io.inputs import InputFile, list_inputs
from pipeline.io.read import BATCH_BYTES, BATCH_ROWS, read_batches
from pipeline.records import RECORDS

Row = dict[str, Any]


def read_rows(file: InputFile, **config: Any) -> list[Row]:
    rows: list[Row] = []
    for batch in read_batches(file, InputConfig(**config)):
        assert batch.schema == RECORDS
        batch.validate(full=True)
        assert batch.num_rows <= BATCH_ROWS
        assert batch.num_rows == 1 or batch.column("text").nbytes <= 2 * BATCH_BYTES
        rows.extend(batch.to_pylist())
    for row in rows:
        path, _, position = row["record"].rpartition("#")
        assert int(position) > 0
        assert path == file.relative or (path.startswith(f"{file.relative}/") and format_of(file.path) in ARCHIVES)
        if row["quarantine"] is None:
            assert row["text"].strip()
            assert row["detail"] is None
            assert row["chars_in"] == len(row["text"])
            assert row["doc_id"] == doc_id(row["text"].encode())
        else:
            assert row["quarantine"] in REASONS
            assert row["text"] == ""
            assert row["detail"]
    assert len({row["record"] for row in rows}) == len(rows) > 0
    return rows


@pytest.fixture(scope="session")
def read_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Row]]:
    """read_file(name, content, **input_config) -> rows."""
    folder = tmp_path_factory.mktemp("read")

    def read(name: str, content: bytes, **config: Any) -> list[Row]:
        path: Path = folder / name
        path.write_bytes(content)
        [file] = list_inputs([str(path)])
        return read_rows(file, **config)

    return read


@pytest.fixture(scope="session")
def read_input() -> Callable[..., list[Row]]:
    """read_input(InputFile, **input_config) -> rows."""
    return read_rows
