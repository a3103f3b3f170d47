"""One thing that a doctor looked at: what `doctor --json` of both programs prints in a row."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    subject: str
    state: State
    found: str
    remedy: str = ""
    """The line to type, or the key to change; empty where nothing is wrong."""


Look = Callable[[], Iterator[Finding]]


def looked(subject: str, look: Look) -> Iterator[Finding]:
    """What `look` finds; an error of its own is a finding, not an end: the other checks still say what they see."""
    try:
        yield from look()
    except Exception as error:  # whatever a broken installation raises
        yield Finding(
            subject, "fail", f"{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error) else ''}"
        )
