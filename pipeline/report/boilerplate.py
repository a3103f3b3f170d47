"""What was cut as boilerplate: the lines that took most."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.examples import NAME_LIMIT
from pipeline.report.model import Boilerplate, BoilerplateLine
from pipeline.report.visible import cut
from pipeline.stages.layout import CUT_LINES, CUT_LINES_SCHEMA

LARGEST = 100
"""Lines that are shown."""


def _lines(root: Path) -> pa.Table:
    path = root / CUT_LINES
    if not path.exists():
        # The stages' own files may be deleted once a corpus is made.
        return CUT_LINES_SCHEMA.empty_table()
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def characters_cut(root: Path) -> dict[str, int]:
    """Source -> code points that were cut from its records."""
    by_source = _lines(root).group_by("source").aggregate([("characters", "sum")]).to_pylist()
    return {row["source"]: row["characters_sum"] for row in by_source}


def boilerplate(root: Path, top: int = LARGEST) -> Boilerplate:
    """The `top` lines by characters cut."""
    table = _lines(root)
    shown = tuple(
        BoilerplateLine(
            source=cut(row["source"], NAME_LIMIT),
            line=cut(row["line"], NAME_LIMIT),
            documents=row["documents"],
            characters=row["characters"],
        )
        for row in table.slice(0, top).to_pylist()
    )
    total = int(pc.sum(table["characters"]).as_py() or 0)
    return Boilerplate(distinct=table.num_rows, characters=total, lines=shown)
