"""What the benchmark of light models measures: something that labels texts, and where it comes from.

To add a model: a row in `rows.py`, and, unless one of the kinds there fits, a module `kinds/NAME.py` with

    def load(arguments: dict[str, Any], threads: int) -> Model

Each row runs in a process of its own that ends with the benchmark (`child.py`), so a kind may import what it likes; a
row with a `python` of its own runs in that environment, where nothing of this project but `benchmarks/` need work.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

Texts = list[str]


class Model(Protocol):
    """Ready to answer, with as many threads as `load` was told."""

    size: int
    """Bytes of its weights as stored."""

    def label(self, texts: Texts, length: int | None) -> list[str]:
        """One batch: the label of each text, in order, from raw text on; cut to `length` pieces where told."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    kind: str
    """Module in `benchmarks/lights/kinds`, or the dotted name of one elsewhere."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """JSON; what `load` is given."""
    python: str | None = None
    """An interpreter of its own, for peers; None is this one."""
    group: str = ""
    """Rows of one group are one line of the plot: a model at several speeds."""
    metric: str = ""
    """NAME gives NAME_speedup and NAME_points_lost in the last line."""
    against: str = ""
    """The row that this one's speed-up is over and its points are lost against; the first one unless told."""
