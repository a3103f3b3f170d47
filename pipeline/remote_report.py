"""The report of an output that is no local directory: what it reads is copied here, what it writes goes back."""

import posixpath
import tempfile
from pathlib import Path

from pipeline.io import filesystem
from pipeline.report.page import write_report
from schemas.manifest import Manifest

LEFT = "train/"
"""Most of the output, of which the report needs no more than the sizes that the manifest tells."""


def write_report_of(output: str, manifest: Manifest) -> None:
    """Writes OUTPUT/report/ wherever OUTPUT is. A copy takes the disk of all but the train shards."""
    if filesystem.is_local(output):
        write_report(output)
        return
    with tempfile.TemporaryDirectory(prefix="siliang-report-") as directory:
        here = Path(directory)
        listed = [entry.path for entry in manifest.files if not entry.path.startswith(LEFT)]
        stages = filesystem.join(output, "stages")
        told = [
            posixpath.join("stages", stage, name)
            for stage in filesystem.entries(stages)
            for name in filesystem.listing(filesystem.join(stages, stage))
            if name in ("done.json", "lines.arrow")
        ]
        for path in ["manifest.json", "report/run.json", *listed, *told]:
            _copy(filesystem.join(output, path), here / path)
        for written in write_report(here):
            filesystem.write_atomic(filesystem.join(output, "report", written.name), written.read_bytes())


def _copy(remote: str, target: Path) -> None:
    if filesystem.size(remote) >= 0:
        target.parent.mkdir(parents=True, exist_ok=True)
        filesystem.local_copy(remote, target.parent)
