"""The report as files: report.json and one self-contained index.html, both written atomically."""

import os
from pathlib import Path

from pipeline.report.collect import collect
from pipeline.report.model import Report
from pipeline.report.shell import render_page
from pipeline.report.summaries import RULES_WITH_EXAMPLES

SCHEMA_FILE = Path(__file__).parent / "report.schema.json"
"""JSON Schema of report.json: `model.report_schema()`, which a test holds it to."""


def write_report(directory: str | Path) -> tuple[Path, Path]:
    """Writes DIRECTORY/report/report.json and index.html; returns both paths, JSON first.

    Raises ManifestError or SchemaError (schemas) for an unfinished or damaged directory.
    """
    report = collect(directory)
    folder = Path(directory) / "report"
    folder.mkdir(exist_ok=True)
    page = render(report).encode()
    return _write(folder / "report.json", report.to_bytes()), _write(folder / "index.html", page)


def _write(target: Path, data: bytes) -> Path:
    temporary = target.with_name(f".{target.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, target)
    return target


def render(report: Report) -> str:
    """The page of a report; the same text for the same report."""
    from pipeline.report.charts import charts  # matplotlib: half a second, which no other command should pay

    detailed = sum(rule.decides for rule in report.rules[:RULES_WITH_EXAMPLES])
    return render_page("report.html", r=report, charts=charts(report, detailed), detailed=detailed)
