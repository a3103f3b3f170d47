"""Does a document stand in two splits? Read from the shards themselves, not from what was intended."""

import binascii
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.report.model import Leaks
from schemas.manifest import Manifest

SPLITS = ("test", "valid", "train")


def leaks(root: Path, manifest: Manifest, unexamined: int | None) -> Leaks | None:
    """None where a shard is not there. Holds 8 bytes for each held-out document, and one batch of the others."""
    if not all((root / entry.path).is_file() for split in SPLITS for entry in manifest.under(split)):
        return None
    held_out = np.zeros(0, np.uint64)
    checked = shared = 0
    for split in SPLITS:
        found = [held_out]
        for ids in _ids(root, manifest, split):
            shared += int(np.isin(ids, held_out, kind="sort").sum()) if len(held_out) else 0
            if split != "train":
                found.append(ids)
        if split != "train":
            held_out = np.unique(np.concatenate(found))
            checked = len(held_out)
    return Leaks(checked=checked, shared=shared, unexamined=unexamined)


def _ids(root: Path, manifest: Manifest, split: str) -> Iterator[np.ndarray]:
    """uint64: the first half of each doc_id; two documents share it by chance once in 2^64 / n^2."""
    for entry in manifest.under(split):
        path = str(root / entry.path)
        schema = pa.ipc.open_file(pa.memory_map(path, "r")).schema
        options = pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index("doc_id")])
        reader = pa.ipc.open_file(pa.memory_map(path, "r"), options=options)
        for number in range(reader.num_record_batches):
            digits = "".join(reader.get_batch(number).column(0).to_pylist())
            yield np.frombuffer(binascii.unhexlify(digits), ">u8").reshape(-1, 2)[:, 0].astype(np.uint64)
