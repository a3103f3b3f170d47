"""The log of a run: RUN/log.jsonl and RUN/tensorboard, the same numbers in both."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


def read_log(path: Path) -> list[dict[str, Any]]:
    """Records of log.jsonl. A last line cut short by a kill is left out."""
    return read_lines(path)[0]


def read_lines(path: Path) -> tuple[list[Any], int]:
    """(what the lines of log.jsonl hold, how many of them are no JSON)."""
    records, bad = [], 0
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                records.append(json.loads(line))
            except (json.JSONDecodeError, RecursionError):
                bad += bool(line.strip())
    return records, bad


class RunLog:
    """Writes records {"kind": ..., "step": ..., numbers...}; each number is also the scalar '<kind>/<name>'.

    A full disk costs records, not the run: `failed` is told once.

    A resumed run drops what was logged after its checkpoint, so that every step stands there once.
    """

    def __init__(
        self,
        run: Path,
        step: int = 0,
        resumed: bool = False,
        failed: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._failed: Callable[[str], None] | None = failed
        if not resumed:
            shutil.rmtree(run / "tensorboard", ignore_errors=True)
        path = run / "log.jsonl"
        kept = [record for record in read_log(path) if record["step"] <= step] if resumed else []
        temporary = path.with_name(".log.jsonl.tmp")
        temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        os.replace(temporary, path)
        self._lines = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1 if resumed else None)

    def record(self, kind: str, step: int, **fields: Any) -> None:
        """A line of log.jsonl that is not of numbers alone, so that TensorBoard does not have it."""
        self._guarded(lambda: self._line(kind, step, fields))

    def write(self, kind: str, step: int, **numbers: float | int) -> None:
        def both() -> None:
            self._line(kind, step, numbers)
            for name, value in numbers.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

        self._guarded(both)

    def _line(self, kind: str, step: int, fields: Mapping[str, Any]) -> None:
        self._lines.write(json.dumps({"kind": kind, "step": step, **fields}, allow_nan=False) + "\n")

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            if self._failed:
                self._failed(f"the log cannot be written ({error}); training goes on")
                self._failed = None

    def close(self) -> None:
        for part in (self._lines, self._board):
            with suppress(OSError):
                part.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SilentLog:
    """Of the processes that do not log."""

    def write(self, kind: str, step: int, **numbers: float | int) -> None:
        pass

    def record(self, kind: str, step: int, **fields: Any) -> None:
        pass

    def __enter__(self) -> "SilentLog":
        return self

    def __exit__(self, *_: object) -> None:
        pass
