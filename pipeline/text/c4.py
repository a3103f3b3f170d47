"""C4's line rules: which lines of a page stay, and what is counted on them.

Source: `clean_page` of tensorflow_datasets/text/c4_utils.py, the code that made C4 (Raffel et al. 2020, section 2.2).
The order of its checks is kept: a page is dropped for "{" or "lorem ipsum" only where a line that passed the checks
before holds it. Two things are made fit for other scripts: words of unspaced scripts are letters, and the end marks
are those of all scripts (none are asked of Thai and Lao).
"""

import re
from dataclasses import dataclass, field

from pipeline.text.script import RANGES, TERMINALS, UNSPACED, UNTERMINATED

CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
END_MARKS = tuple(mark for mark in TERMINALS if mark not in "'’")
"""What a line may end with. C4 takes a double quote, not a single one."""
BOUNDARY_MARKS = ".!?…؟۔।॥։።။།。！？｡។"
"""What may end a sentence inside a line."""
WIDE_MARKS = "。！？｡។"
"""Those of them that need no space after them."""
NARROW_MARKS = ".!?…"
"""Those that need none where a letter of an unspaced script follows."""
CLOSING_MARKS = "\"'”’»)]」』）"
"""What may stand between the end of a sentence and the next."""

_SOLO = "".join(f"\\U{first:08x}-\\U{last:08x}" for name in UNSPACED for first, last in RANGES[name])
_SOLO_LETTER = re.compile(f"[{_SOLO}]")
_UNIT = re.compile(rf"[{_SOLO}](?<=\w)|[^\W{_SOLO}]+")
_CLOSING = f"[{re.escape(CLOSING_MARKS)}]*"
# A mark before white space ends a sentence, unless a small letter follows or it belongs to an initial or a title;
# the marks of Han and Khmer need no space, nor do the Latin ones between letters of unspaced scripts.
_BOUNDARY = re.compile(
    rf"[{BOUNDARY_MARKS}](?:"
    rf"(?<!\b[A-Z]\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bMrs\.){_CLOSING}\s+(?![a-z\s])"
    rf"|(?<=[{WIDE_MARKS}]){_CLOSING}(?=\S)"
    rf"|(?<=[{NARROW_MARKS}]){_CLOSING}(?=[{_SOLO}]))"
)


@dataclass(frozen=True)
class LineLimits:
    """Limits in force for every line; None switches a check off."""

    max_word_length: float | None = 1000
    terminal: bool = True
    min_words: float | None = 5
    javascript: bool = True
    policy: bool = True


DEFAULT_LIMITS = LineLimits()
"""As C4's code has them."""

DATATROVE_LIMITS = LineLimits(min_words=3)
"""As datatrove has them, and so FineWeb."""


@dataclass
class Lines:
    """What the line rules make of one page."""

    kept: list[str] = field(default_factory=list)
    """Lines that stay, without citation marks, and one "" between lines where blank lines or cut lines had been."""
    left: int = 0
    """Kept lines that are not blank."""
    long_word: int = 0
    unterminated: int = 0
    short: int = 0
    javascript: int = 0
    policy: int = 0
    """Non-blank lines cut by each check; a line is counted by the first check that cuts it."""
    cited: int = 0
    """Kept lines from which citation marks were removed."""
    lorem_ipsum: int = 0
    """Lines with "lorem ipsum" that had passed the checks before it."""
    curly_brackets: int = 0
    """Curly opening brackets in lines that had passed the checks before it."""
    sentences: int = 0
    """Sentences of the kept lines."""

    @property
    def cut(self) -> int:
        return self.long_word + self.unterminated + self.short + self.javascript + self.policy


def words(line: str) -> int:
    """White-space separated words; in lines with letters of unspaced scripts each such letter, and other word runs."""
    if line.isascii() or not _SOLO_LETTER.search(line):
        return len(line.split())
    return len(_UNIT.findall(line))


def sentences(line: str) -> int:
    """Sentences of one line: end marks followed by a new beginning, plus one; 0 for a blank line."""
    return len(_BOUNDARY.findall(line.strip())) + 1 if line.strip() else 0


def apply(text: str, script: str, limits: LineLimits) -> Lines:
    """Runs the line rules over repaired text whose dominant script is `script`."""
    result = Lines()
    terminal = limits.terminal and script not in UNTERMINATED
    blank = False
    for raw in text.split("\n"):
        line = raw.strip()
        if not line:
            blank = True
            continue
        longest = limits.max_word_length
        if longest is not None and len(line) > longest and max(map(len, line.split())) > longest:
            result.long_word += 1
            continue
        uncited = CITATION.sub("", line) if "[" in line else line
        # As in C4 the space that a citation mark leaves behind is not stripped: "text. [1]" has no end mark.
        if terminal and (not uncited.endswith(END_MARKS) or uncited.endswith("...")):
            result.unterminated += 1
            continue
        if not uncited.strip() or (limits.min_words is not None and words(uncited) < limits.min_words):
            result.short += 1
            continue
        lower = uncited.lower()
        if "lorem ipsum" in lower:
            result.lorem_ipsum += 1
        if limits.javascript and "javascript" in lower:
            result.javascript += 1
            continue
        result.curly_brackets += uncited.count("{")
        if limits.policy and any(phrase in lower for phrase in POLICIES):
            result.policy += 1
            continue
        if blank and result.kept:
            result.kept.append("")
        blank = False
        result.left += 1
        indent = raw[: len(raw) - len(raw.lstrip())]
        result.kept.append((indent + uncited).rstrip())
        result.cited += uncited != line
        result.sentences += sentences(uncited)
    return result
