"""What was mended in the texts, and which personal data were masked."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.examples import NAME_LIMIT, Shelf
from pipeline.report.model import Mask, Privacy, Repair
from pipeline.report.nearest import Near, Nearest
from pipeline.report.rows import Rows
from pipeline.report.tally import encoded
from pipeline.report.visible import cut
from pipeline.text.privacy import MASKS

EXAMPLES = 2
SHOWN = 60
"""Repairs that are told."""
MASK = "mask_"
_TOLD = r"(?P<told>masked: (?:[0-9]{1,9} [a-z_]+(?:, )?)+)"


class RepairScan:
    """Adds up audit tables."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        """Repair -> records in which it changed something."""
        self.masked = 0
        """Records in which personal data were masked."""
        self.items: Counter[str] = Counter()
        """Kind of personal data -> what was replaced, as `detail` tells it."""
        self.shown: dict[str, Nearest] = {}

    def add(self, rows: Rows) -> None:
        column = rows.column("repairs")
        parents = pc.list_parent_indices(column).to_numpy().astype(np.int64)
        codes, names = encoded(column.flatten())
        masked = np.zeros(len(rows), bool)
        for number, name in enumerate(names):
            if name is None:
                continue
            which = parents[codes == number]
            self.records[name] += len(which)
            self.shown.setdefault(name, Nearest(EXAMPLES)).offer(rows, which)
            if name.startswith(MASK):
                masked[which] = True
        self.masked += int(masked.sum())
        if masked.any():
            self._add_items(rows.column("detail").filter(pa.array(masked)))

    def _add_items(self, details: pa.Array) -> None:
        """A few per cent of the rows, and mostly the same few texts."""
        told = pc.struct_field(pc.extract_regex(details, pattern=_TOLD), "told")
        for item in pc.value_counts(told.drop_null()).to_pylist():
            for part in item["values"].removeprefix("masked: ").split(", "):
                count, _, kind = part.partition(" ")
                self.items[kind] += int(count) * item["counts"]

    def merge(self, other: "RepairScan") -> None:
        self.records.update(other.records)
        self.items.update(other.items)
        self.masked += other.masked
        for name, nearest in other.shown.items():
            self.shown.setdefault(name, Nearest(EXAMPLES)).merge(nearest)

    def _largest(self) -> list[tuple[str, int]]:
        return sorted(self.records.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]

    def chosen(self) -> list[Near]:
        return [near for name, _ in self._largest() for near in self.shown[name].values()]

    def repairs(self, shelf: Shelf) -> tuple[Repair, ...]:
        """Most records first, those that masked something left out."""
        return tuple(
            Repair(name=cut(name, NAME_LIMIT), records=count, examples=shelf.examples(self.shown[name].values()))
            for name, count in self._largest()
            if not name.startswith(MASK)
        )

    def privacy(self, shelf: Shelf, dropped: int) -> Privacy:
        """dropped: records that were dropped because they are full of personal data."""
        masks = tuple(
            Mask(
                name=cut(name, NAME_LIMIT),
                meaning=MASKS.get(name, ""),
                records=count,
                items=self.items.get(name.removeprefix(MASK)),
                examples=shelf.examples(self.shown[name].values()),
            )
            for name, count in self._largest()
            if name.startswith(MASK)
        )
        return Privacy(masks=masks, records=self.masked, dropped=dropped)
