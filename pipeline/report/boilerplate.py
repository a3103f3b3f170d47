"""What was cut as boilerplate: the lines that took most, and the sources that lost much of their text."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.boilerplate import SHOWN, SHOWN_SCHEMA
from pipeline.report.alarms import LOST_SHARE
from pipeline.report.examples import NAME_LIMIT
from pipeline.report.model import Alarm, Boilerplate, BoilerplateLine, Source
from pipeline.report.visible import cut

LARGEST = 20
"""Lines that are shown."""


def _lines(root: Path) -> pa.Table:
    path = root / SHOWN
    if not path.exists():
        # The stages' own files may be deleted once a corpus is made.
        return SHOWN_SCHEMA.empty_table()
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def characters_cut(root: Path) -> dict[str, int]:
    """Source -> code points that were cut from its records."""
    by_source = _lines(root).group_by("source").aggregate([("characters", "sum")]).to_pylist()
    return {row["source"]: row["characters_sum"] for row in by_source}


def boilerplate(root: Path, sources: Sequence[Source], top: int = LARGEST) -> tuple[Boilerplate, list[Alarm]]:
    """The `top` lines by characters cut, and a warning for each source of whose text much was boilerplate."""
    table = _lines(root)
    shown = tuple(
        BoilerplateLine(
            source=row["source"],
            line=cut(row["line"], NAME_LIMIT),
            documents=row["documents"],
            characters=row["characters"],
        )
        for row in table.slice(0, top).to_pylist()
    )
    alarms = []
    for source in sources:
        characters = source.boilerplate
        if characters > LOST_SHARE * (characters + source.chars_kept):
            share = 100 * characters / (characters + source.chars_kept)
            title = f"{share:.1f} % of the text of source {source.name} was cut as boilerplate"
            detail = (
                "Read the lines below; documents that are variants of one another can make their own text boilerplate."
            )
            alarms.append(
                Alarm(level="warning", title=title, detail=f"{detail} See boilerplate.min_share and max_shared.")
            )
    total = int(pc.sum(table["characters"]).as_py() or 0)
    return Boilerplate(distinct=table.num_rows, characters=total, lines=shown), alarms
