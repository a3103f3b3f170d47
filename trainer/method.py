"""The interface of what changes while a run trains and is neither a weight nor an optimiser's state."""

from collections.abc import Mapping
from typing import Any, Protocol


class Method(Protocol):
    """Its state lies in a checkpoint's `methods` under its name. Large tensors are persistent buffers of the task."""

    def state(self) -> dict[str, Any]:
        """Small, of JSON's types (floats survive bit by bit); the same on every process."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`; goes on exactly as if it had never stopped."""
        ...

    def observe(self, step: int, parts: Mapping[str, float]) -> None:
        """After step `step` (from 1) that was not skipped, with the means of its parts over all processes."""
        ...
