"""Which models are measured. A builder makes what its rows need inside `work.directory` and returns them.

The first builder's row is the base. A builder that fails is told and its rows are left out.
"""

from collections.abc import Callable

from benchmarks.lights.model import Row
from benchmarks.lights.work import Work

Builder = Callable[[Work], list[Row]]


def full(work: Work) -> list[Row]:
    """The whole model, fine-tuned."""
    path = work.finetune(work.run, work.full)
    return [Row("full model", "classifier", {"path": str(path)}, base=True)]


BUILDERS: list[Builder] = [full]
