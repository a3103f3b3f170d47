"""One process of test_elastic: RANK and WORLD_SIZE in the environment; prints the digests of its global batches."""

import hashlib
import itertools
import json
import sys

import torch
import torch.distributed as dist

from trainer.data.masking import Masking
from trainer.data.shards import Corpus
from trainer.data.stream import Source, Stream, StreamState


def main() -> None:
    job = json.loads(sys.argv[1])
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    sources = [Source(Corpus(place), weight) for place, weight in job["sources"]]
    masking = Masking(0.3, unit="piece", final_rate=0.15, schedule_rows=200)
    stream = Stream(
        sources, 64, 8, seed=7, masking=masking, window_documents=32, workers=job["workers"], rank=rank, world=world
    )
    state = StreamState.from_json(job["state"]) if job["state"] else None
    digests = []
    batches = stream.batches(state)
    for batch, after in itertools.islice(batches, job["steps"]):
        flat = torch.stack([batch.tokens_BT, batch.segments_BT, batch.positions_BT])
        shares = [torch.empty_like(flat) for _ in range(world)]
        dist.all_gather(shares, flat)
        digests.append(hashlib.sha256(torch.cat(shares, dim=1).numpy().tobytes()).hexdigest())
        state = after
    batches.close()
    steps = torch.tensor([stream.steps(2)])
    every = [torch.empty_like(steps) for _ in range(world)]
    dist.all_gather(every, steps)
    assert all(int(other) == int(steps) for other in every)
    assert state is not None
    if rank == 0:
        print(json.dumps({"digests": digests, "state": state.to_json(), "steps": int(steps)}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
