"""Several processes under torchrun: who is who, sums over all, and the model on all of them.

One process needs none of it: a World of one sums nothing and wraps nothing.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from trainer.config import ConfigError

TIMEOUT = timedelta(minutes=30)
"""For one collective; a slow checkpoint or evaluation on rank 0 must fit in."""


@dataclass(frozen=True)
class World:
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among the processes of this machine: the number of its accelerator."""

    @property
    def main(self) -> bool:
        """The one process that logs and writes."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element by element over all processes, in fp64, the same on each."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def agree(self, value: Any) -> Any:
        """What rank 0 holds, on every process."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def gather(self, tensor: Tensor) -> Tensor:
        """Those of all processes, one behind the other in the order of ranks; they may differ in their first size."""
        if self.size == 1:
            return tensor
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor([len(tensor)]))
        lengths = [int(size) for size in sizes]
        padded = tensor.new_zeros((max(lengths), *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        held = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(held, padded)
        return torch.cat([part[:length] for part, length in zip(held, lengths, strict=True)])

    def add_up(self, tensor: Tensor) -> None:
        """In place, element by element over all processes."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined() -> Iterator[World]:
    """The world that torchrun's environment describes, left again at the end; one process without torchrun."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    world = World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    # Counts and flags travel over gloo on any machine; NCCL serves the tensors that lie on accelerators.
    cuda = world.local_rank < torch.cuda.device_count()
    if cuda:
        torch.cuda.set_device(world.local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=TIMEOUT)
    try:
        yield world
    finally:
        dist.destroy_process_group()


def check_divides(world: World, micro_rows: int) -> None:
    """Raises ConfigError where the micro-batch cannot be shared evenly."""
    if micro_rows % world.size:
        raise ConfigError(
            f"{world.size} processes cannot share a micro-batch of {micro_rows} rows (data.batch_rows / "
            f"system.accumulate): it must be a multiple of {world.size}"
        )


def shard(model: nn.Module, layers: Iterable[nn.Module], device: torch.device) -> None:
    """FSDP2 in place: a group for each layer, one for the rest, embeddings and head among it."""
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    # Also the root, which otherwise stays whole after a forward without a backward: the EMA swaps shards then.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(model, "fill_logits")


def replicate(model: nn.Module) -> nn.Module:
    """DDP: gradients averaged over the processes while the backward runs."""
    # Buffers are constants, or notes that every process writes alike: nothing to send at each step.
    return nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True, broadcast_buffers=False)


def without_sync(forward: Any, model: nn.Module, last: bool) -> AbstractContextManager:
    """Context of one micro-batch: gradients travel with the last one only."""
    if isinstance(forward, nn.parallel.DistributedDataParallel):
        return nullcontext() if last else forward.no_sync()
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be sharded. A collective: every process must call it, in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that may be sharded; shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def laid_out_like(tensor: Tensor, reference: Tensor) -> Tensor:
    """`tensor`, whole on every process, on the device and with the shards of `reference`."""
    tensor = tensor.to(reference.device)
    if isinstance(reference, DTensor) and tensor.shape == reference.shape:
        # Every process has it already, so nothing needs to be sent.
        return distribute_tensor(tensor, reference.device_mesh, reference.placements, src_data_rank=None)
    return tensor
