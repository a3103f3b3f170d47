"""One rule and whom it is for."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Comparison = Literal["min", "max"]


@dataclass(frozen=True)
class Scope:
    """Whom a rule applies to. None: no restriction."""

    scripts: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    not_languages: tuple[str, ...] = ()

    def holds(self, script: str, language: str) -> bool:
        return (
            (self.scripts is None or script in self.scripts)
            and (self.languages is None or language in self.languages)
            and language not in self.not_languages
        )


EVERYONE = Scope()


@dataclass(frozen=True)
class Rule:
    """One rule. A page rule drops the page whose statistic is below ("min") or above ("max") the limit.

    A line rule cuts lines: its limit is one line's, its statistic counts the lines that it cuts. It never drops a page.
    """

    name: str
    set: str
    statistic: str
    comparison: Comparison
    limit: float
    source: str
    meaning: str
    scope: Scope = EVERYONE
    unit: Literal["page", "line"] = "page"
    variant: str = ""
    """Where definitions differ in the field: which one this is."""
    required: bool = False
    """Cannot be disabled where its set is in use."""
    always: bool = False
    """In use whatever the sets."""
    on_demand: bool = False
    """Scored only where its set is in use: its statistics cost time of their own."""

    def breaks(self, score: float | np.ndarray, limit: float | np.ndarray) -> bool | np.ndarray:
        """Whether this score (or each of an array) is beyond the limit; for a line rule, whether it cuts any line."""
        if self.unit == "line":
            return score > 0
        return score < limit if self.comparison == "min" else score > limit
