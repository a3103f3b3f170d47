"""Peers of benchmarks/stream.py, run by it in interpreters of their own.

    python stream_peers.py PEER TOKENS.npy T WORK_DIRECTORY SECONDS

Each peer gets the same tokens, as rows of T ids made beforehand in its own format (not timed), and hands out shuffled
batches of 64 rows as int64 tensors, without masks (none of the peers has them). Prints one JSON object: tokens_s, in
wall time, and cpu_tokens_s, in CPU time of this process.

mosaic: torchvision is replaced by an empty module, since streaming imports it for its vision data sets alone and its
package exists as a build for CUDA only.
"""

import itertools
import json
import os
import sys
import time
import types
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import torch

BATCH = 64


def rows_of(tokens, width):
    return tokens[: len(tokens) // width * width].reshape(-1, width)


def mosaic(rows, work):
    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
        module = types.ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = module
    sys.modules["torchvision.datasets"].VisionDataset = object
    sys.modules["torchvision.transforms.functional"].to_tensor = None
    from streaming import MDSWriter, StreamingDataset

    place = str(work / "mds")
    with MDSWriter(out=place, columns={"tokens": f"ndarray:uint16:{rows.shape[1]}"}) as out:
        for row in rows:
            out.write({"tokens": row})
    data = StreamingDataset(local=place, shuffle=True, batch_size=BATCH, shuffle_seed=1)
    collate = lambda items: torch.from_numpy(np.stack([i["tokens"] for i in items]).astype(np.int64))  # noqa: E731
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH, collate_fn=collate)
    return loader, "mosaicml-streaming"


def litdata(rows, work):
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.cache import Cache

    place = str(work / "lit")
    cache = Cache(place, chunk_bytes="64MB")
    for k, row in enumerate(rows):
        cache[k] = {"tokens": torch.from_numpy(row.astype(np.int32))}
    cache.done()
    cache.merge()
    data = StreamingDataset(input_dir=place, shuffle=True)
    collate = lambda items: torch.stack([i["tokens"] for i in items]).long()  # noqa: E731
    return StreamingDataLoader(data, batch_size=BATCH, collate_fn=collate), "litdata"


def _arrow(rows, work):
    import datasets
    import pyarrow as pa

    path = work / "rows.arrow"
    column = pa.ListArray.from_arrays(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1], pa.array(rows.ravel()))
    table = pa.table({"tokens": column})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    return datasets.Dataset.from_file(str(path))


def hf(rows, work):
    data = _arrow(rows, work).to_iterable_dataset(num_shards=8).shuffle(seed=1, buffer_size=10_000)
    collate = lambda items: torch.tensor(np.array([i["tokens"] for i in items]), dtype=torch.int64)  # noqa: E731
    return torch.utils.data.DataLoader(data.with_format("numpy"), batch_size=BATCH, collate_fn=collate), "datasets"


def hf_map(rows, work):
    data = _arrow(rows, work).shuffle(seed=1).with_format("numpy")

    def batches():
        for batch in data.iter(batch_size=BATCH):
            yield torch.from_numpy(np.asarray(batch["tokens"]).astype(np.int64))

    return batches(), "datasets"


def memmap(rows, work):
    """As nanoGPT reads: random offsets in one flat file, with replacement."""
    path, width = work / "flat.bin", rows.shape[1]
    rows.tofile(path)
    rng = np.random.default_rng(1)

    def batches():
        while True:
            data = np.memmap(path, dtype=np.uint16, mode="r")
            at = rng.integers(0, len(data) - width, BATCH)
            yield torch.stack([torch.from_numpy(data[i : i + width].astype(np.int64)) for i in at])

    return batches(), "numpy"


def main() -> None:
    peer, tokens, width, work, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), sys.argv[5]
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    made, package = globals()[peer](rows_of(np.load(tokens, mmap_mode="r"), width), work)
    batches = iter(made)
    for batch in itertools.islice(batches, 5):
        assert batch.dtype == torch.int64
    count, wall, cpu = 0, time.perf_counter(), time.process_time()
    for batch in batches:
        count += batch.numel()
        if time.perf_counter() - wall > float(seconds):
            break
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    told = {"tokens_s": count / wall, "cpu_tokens_s": count / cpu, "version": f"{package} {version(package)}"}
    print(json.dumps(told))
    sys.stdout.flush()
    # Some of the peers leave threads that wait for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
