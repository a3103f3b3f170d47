"""Means of a step's parts over its micro-batches and processes."""

import torch

from trainer.tasks.task import TaskOutput


class PartSums:
    """Sums loss terms and parts where they were computed; they travel to the host once."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: torch.Tensor | None = None

    def add(self, output: TaskOutput, share: float = 1.0) -> None:
        """Each with the weight of its count times `share`; `parts` of every output have the same names."""
        device = output.loss.device
        self._names = list(output.parts)
        values = [term.mean.detach().double() * term.count for term in output.summands]
        counts = [output.part_counts.get(name, output.targets) for name in self._names]
        for value, count in zip(output.parts.values(), counts, strict=True):
            weight = torch.as_tensor(count, dtype=torch.float64, device=device)
            # A mean over nothing may be NaN; it must not spoil the others'.
            values += [torch.where(weight > 0, value.double() * weight, 0.0), weight]
        sums = torch.stack(values) * share
        self._sums = sums if self._sums is None else self._sums + sums

    def numbers(self) -> list[float]:
        """Flat, to be added up over processes: terms, then sum and count of each part."""
        return [] if self._sums is None else self._sums.tolist()

    def read(self, numbers: list[float], totals: list[int]) -> tuple[float, dict[str, float]]:
        """(loss, parts) from the added numbers and each term's total count; parts of no count are left out."""
        terms, rest = numbers[: len(totals)], numbers[len(totals) :]
        loss = sum(value / max(total, 1) for value, total in zip(terms, totals, strict=True))
        found = zip(self._names, rest[::2], rest[1::2], strict=True)
        return loss, {name: value / count for name, value, count in found if count > 0}
