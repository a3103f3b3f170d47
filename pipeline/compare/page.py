"""A comparison as one self-contained page, in the shell of the report."""

from pathlib import Path

from pipeline.compare.model import Comparison
from pipeline.compare.terminal import change, decision, figures, short
from pipeline.report.shell import render_page


def render_comparison(found: Comparison) -> str:
    """The same text for the same comparison."""
    return render_page(
        "compare.html",
        Path(__file__).parent / "templates",
        c=found,
        figures=figures(found),
        change=change,
        decision=decision,
        short=short,
    )
