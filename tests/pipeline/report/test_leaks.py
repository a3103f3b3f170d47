"""Documents in two splits are found in the shards."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.report.alarms import leaking
from pipeline.report.leaks import leaks
from schemas.manifest import FileEntry


class Listed:
    """As much of a manifest as is asked."""

    def __init__(self, files: list[FileEntry]) -> None:
        self.files = files

    def under(self, room: str) -> list[FileEntry]:
        return [entry for entry in self.files if entry.path.startswith(f"{room}/")]


def write(root: Path, path: str, ids: list[int], rows: int = 2) -> FileEntry:
    table = pa.table({"tokens": pa.array([[1]] * len(ids)), "doc_id": pa.array([f"{i:032x}" for i in ids])})
    (root / path).parent.mkdir(exist_ok=True)
    with pa.OSFile(str(root / path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return FileEntry(path=path, sha256="0" * 64, bytes=1, rows=len(ids))


@pytest.mark.parametrize(
    ("train", "valid", "test", "shared"),
    [
        (range(10), [100, 101], [], 0),
        (range(10), [100, 3], [], 1),
        (range(10), [100, 101], [101, 9], 2),
        ([], [], [], 0),
    ],
)
def test_shared_documents(tmp_path: Path, train, valid, test, shared: int) -> None:
    # Both halves of an id are random in a corpus: the first half is what is compared.
    splits = {"train": train, "valid": valid, "test": test}
    files = [
        write(tmp_path, f"{split}/shard-{number}.arrow", [i << 64 for i in list(ids)[number::2]])
        for split, ids in splits.items()
        for number in (0, 1)
    ]
    found = leaks(tmp_path, Listed(files), 7)
    assert found is not None
    assert (found.shared, found.unexamined) == (shared, 7)
    assert found.checked == len({*valid, *test})
    assert bool(leaking(found)) == bool(shared)


def test_without_the_shards_nothing_is_said(tmp_path: Path) -> None:
    entry = FileEntry(path="train/shard.arrow", sha256="0" * 64, bytes=1, rows=1)
    assert leaks(tmp_path, Listed([entry]), None) is None
    assert leaking(None) == []
