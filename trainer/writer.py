"""Writes checkpoints in the background: a snapshot is taken at once, training goes on while the disk works."""

import threading
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from trainer.checkpoint import RunState, save_checkpoint


def snapshot(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU that further steps do not touch; tensors that share memory go on sharing it."""
    copies: dict[tuple[int, tuple[int, ...]], Tensor] = {}
    taken = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() else (id(tensor), ())
        if key not in copies:
            copies[key] = tensor.detach().to("cpu", copy=True)
        taken[name] = copies[key]
    return taken


class CheckpointWriter:
    """One checkpoint on its way at a time, so that memory holds at most one snapshot.

    A failure to write (a full disk) is told through `warn` and costs that checkpoint alone.
    """

    def __init__(self, directory: Path, keep: int, best: bool, warn: Callable[[str], None]) -> None:
        self.directory = directory
        self.keep = keep
        self.best = best
        self.warn = warn
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def submit(
        self, state: RunState, model: dict[str, Tensor], optimizer: dict[str, Tensor], averages: dict[str, Tensor]
    ) -> None:
        """Returns as soon as the snapshot is taken and the write before it is done."""
        self.wait()
        parts = [snapshot(tensors) for tensors in (model, optimizer, averages)]
        self._thread = threading.Thread(target=self._write, args=(state, *parts), name="siliang-checkpoint")
        self._thread.start()

    def _write(
        self, state: RunState, model: dict[str, Tensor], optimizer: dict[str, Tensor], averages: dict[str, Tensor]
    ) -> None:
        try:
            save_checkpoint(self.directory, state, model, optimizer, self.keep, averages, self.best)
        except OSError as error:
            self._error = error

    def wait(self, strict: bool = False) -> None:
        """Until the disk has it. With `strict` a failure raises its OSError instead of a warning."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is None:
            return
        if strict:
            raise error
        self.warn(f"a checkpoint could not be written ({error}); training goes on, earlier checkpoints are intact")
