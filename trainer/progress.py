"""One progress line: rich's bar on a terminal, a plain line every few seconds elsewhere."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


def clock(seconds: float) -> str:
    """'1:02:03', or '02:03' below an hour."""
    minutes, rest = divmod(int(max(seconds, 0) + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def describe(
    step: int, loss: float, tokens_per_second: float, mfu: float, left: float, parts: Mapping[str, float] | None = None
) -> str:
    """The line's text. `left` is in seconds, `mfu` a share; `parts` are what the task shows beside its loss."""
    told = "".join(f" · {name.replace('_', ' ')} {value:.3f}" for name, value in (parts or {}).items())
    return (
        f"step {step:,} · loss {loss:.4f}{told} · {tokens_per_second / 1e3:,.1f}k tokens/s"
        f" · MFU {mfu:.0%} · {clock(left)} left"
    )


class ProgressLine:
    """Shows a run's progress on stderr. Use as a context manager."""

    def __init__(self, plain_seconds: float = 10.0, console: Console | None = None, quiet: bool = False) -> None:
        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False, quiet=quiet)
        self._plain_seconds = plain_seconds
        self._last = -plain_seconds
        self._bar: Progress | None = None
        if self._console.is_terminal:
            columns = (
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("starting", total=1.0)

    def __enter__(self) -> "ProgressLine":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: float, text: str) -> None:
        """`done` is the share of the run that is done."""
        if self._bar:
            self._bar.update(self._task, completed=done, description=text)
        elif time.monotonic() - self._last >= self._plain_seconds:
            self._last = time.monotonic()
            self._console.print(f"{done:4.0%} {text}", markup=False)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False)
