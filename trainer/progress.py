"""One progress line: rich's bar on a terminal, a plain line every few seconds elsewhere."""

import json
import time
from collections.abc import Mapping
from math import isfinite

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

MODES = ("auto", "plain", "json", "none")
PLAIN_SECONDS = 10.0


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
    """Shows a run's progress on stderr. Use as a context manager.

    mode: auto (a bar on a terminal, else plain), plain (a line every `plain_seconds`), json (an object as often), none.
    """

    def __init__(
        self,
        plain_seconds: float = PLAIN_SECONDS,
        console: Console | None = None,
        quiet: bool = False,
        mode: str = "auto",
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"progress is '{mode}'; allowed: {', '.join(MODES)}")
        self.label = ""
        """Stands before every text: which of several runs this is."""
        self._mode = "none" if quiet else mode
        silent = self._mode == "none"
        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False, quiet=silent)
        self._plain_seconds = plain_seconds
        self._last = -plain_seconds
        self._began: tuple[float, float] | None = None
        """Clock and share of the first update."""
        self._bar: Progress | None = None
        if mode == "auto" and self._console.is_terminal:
            columns = (
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("starting", total=1.0)

    def __enter__(self) -> "ProgressLine":
        self._began = None
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def _left(self, done: float) -> float | None:
        """Seconds to the end at the pace since the first update, once that tells anything."""
        now = time.monotonic()
        if self._began is None or done < self._began[1]:
            self._began = now, done
        elapsed, share = now - self._began[0], done - self._began[1]
        return elapsed / share * (1 - done) if share > 0 and elapsed > 1 else None

    def update(self, done: float, text: str, **numbers: float) -> None:
        """`done` is the share of the run that is done; `numbers` are what the text tells, for machines. Without a
        `left` (seconds) among them the time left is told from the pace so far."""
        if "left" not in numbers and (left := self._left(done)) is not None:
            numbers["left"] = left
            text = f"{text} · {clock(left)} left"
        text = f"{self.label}: {text}" if self.label else text
        if self._bar:
            self._bar.update(self._task, completed=done, description=escape(text))
        elif self._mode != "none" and time.monotonic() - self._last >= self._plain_seconds:
            self._last = time.monotonic()
            if self._mode == "json":
                self._object("progress", share=done, label=self.label, text=text, **numbers)
            else:
                self._console.print(f"{done:4.0%} {text}", markup=False)

    def note(self, text: str) -> None:
        """A line that stays."""
        if self._mode == "json":
            self._object("note", label=self.label, text=text)
        else:
            self._console.print(f"{self.label}: {text}" if self.label else text, markup=False)

    def _object(self, event: str, **values: float | str) -> None:
        # JSON knows no NaN and no infinity.
        told = {name: None if isinstance(v, float) and not isfinite(v) else v for name, v in values.items()}
        self._console.file.write(json.dumps({"event": event, **told}, ensure_ascii=False) + "\n")
        self._console.file.flush()
