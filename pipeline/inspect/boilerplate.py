"""The lines that the boilerplate stage cut, those that took most characters first."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.inspect.rules import InspectError
from pipeline.report.visible import visible_text
from pipeline.stages.layout import CUT_LINES
from schemas.manifest import read_manifest


def cut_lines(directory: str | Path, source: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
    """At most `limit` rows {source, line, documents, characters}, of one source or of all.

    Raises ManifestError where the directory is not a finished one, InspectError where its stages/ was deleted.
    """
    root = Path(directory)
    read_manifest(root)
    path = root / CUT_LINES
    if not path.is_file():
        raise InspectError(f"{path} is not there: stages/ was deleted, or [boilerplate] was off; report/ has a list")
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
        if source is not None:
            table = table.filter(pc.equal(table["source"], source))
        return table.slice(0, limit).to_pylist()


def render_lines(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("documents", "characters"):
        table.add_column(name, justify="right")
    table.add_column("source")
    table.add_column("line")
    for row in rows:
        texts = (Text(visible_text(row[name], 200)) for name in ("source", "line"))
        table.add_row(f"{row['documents']:,}", f"{row['characters']:,}", *texts)
    console.print(table)
