"""What benchmarks/dedup.py holds a finished `prepare` against: Jaccard in plain Python, and the audit's own claims.

The texts are those that `clean` handed on, because those are what was compared; all else here is this file's own.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U0001aff0-\U0001b16f"
    "\U00020000-\U0003ffff]"
)
"""Scripts written without spaces, compared by 8 characters in place of 5 words where they are more than half."""


@cache
def _drop(character: str) -> str:
    category = unicodedata.category(character)
    return " " if category[0] in "PZ" or category in ("Cc", "Cs") else character


def normalise(text: str) -> str:
    """No format characters, case and compatibility forms folded, punctuation and white space one space."""
    text = "".join(c for c in text if unicodedata.category(c) != "Cf") if not text.isascii() else text
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold())
    text = unicodedata.normalize("NFKC", text.casefold())
    return " ".join("".join(map(_drop, text)).split())


@lru_cache(maxsize=2000)
def shingles(text: str) -> frozenset[str]:
    """The set of word 5-grams, or of character 8-grams."""
    text = normalise(text)
    joined = text.replace(" ", "")
    if 2 * len(SPACELESS.findall(joined)) > len(joined):
        return frozenset(joined[i : i + 8] for i in range(len(joined) - 7))
    words = text.split(" ")
    return frozenset(" ".join(words[i : i + 5]) for i in range(len(words) - 4))


def jaccard(left: str, right: str) -> float:
    """0 where both sets are empty."""
    a, b = shingles(left), shingles(right)
    return len(a & b) / max(len(a | b), 1)


def tables(output: Path, folder: str, columns: list[str]) -> pa.Table:
    """The Arrow files of a folder as one table, some of its columns."""
    files = sorted((output / folder).glob("*.arrow"))
    return pa.concat_tables([pa.ipc.open_file(pa.memory_map(str(path))).read_all().select(columns) for path in files])


@dataclass
class Outcome:
    """The audit and the texts of one finished run."""

    verdict: dict[str, str]
    """record -> verdict"""
    drops: list[dict]
    """Audit rows of the duplicates."""
    text: pa.ChunkedArray
    row: dict[str, int]
    """record -> row of `text`; only records that `clean` kept."""

    def text_of(self, record: str) -> str:
        return self.text[self.row[record]].as_py()


def outcome(output: Path) -> Outcome:
    names = ["record", "verdict", "duplicate_record", "jaccard", "kind"]
    audit = tables(output, "audit", names)
    verdicts = dict(zip(audit["record"].to_pylist(), audit["verdict"].to_pylist(), strict=True))
    drops = audit.filter(pc.equal(audit["verdict"], "duplicate")).to_pylist()
    documents = tables(output, "stages/clean/documents", ["record", "text"])
    rows = {record: row for row, record in enumerate(documents["record"].to_pylist())}
    return Outcome(verdicts, drops, documents["text"].combine_chunks(), rows)


def sample(rows: list, limit: int) -> list:
    """At most `limit` rows, chosen by the hash of what they hold."""
    if len(rows) <= limit:
        return rows
    return sorted(rows, key=lambda row: hashlib.sha256(repr(row).encode()).digest())[:limit]


def check_drops(run: Outcome, threshold: float, limit: int) -> dict[str, int]:
    """unverified: no Jaccard, or a twin that is not kept; wrong: the plain Jaccard is below the threshold; differing:
    it is not what the audit says. An exact copy is right where the normalised texts are equal."""
    unverified = sum(row["jaccard"] is None or run.verdict.get(row["duplicate_record"]) != "kept" for row in run.drops)
    checked = sample(run.drops, limit)
    wrong = differing = 0
    for row in checked:
        mine, twin = run.text_of(row["record"]), run.text_of(row["duplicate_record"])
        if row["kind"] == "exact" and normalise(mine) == normalise(twin):
            found = 1.0
        else:
            found = jaccard(mine, twin)
        wrong += found < threshold
        differing += abs(found - row["jaccard"]) > 1e-9
    return {"unverified": unverified, "wrong": wrong, "differing": differing, "checked": len(checked)}


def recall(run: Outcome, pairs: Iterable[tuple[str, str]], threshold: float) -> tuple[int, int]:
    """(resolved, like): pairs whose plain Jaccard reaches the threshold, and those of which not both were kept.

    Of a chain's pairs both may rightly stay dropped for a third: not both kept is what a pair asks for.
    """
    like = resolved = 0
    for left, right in pairs:
        if left in run.row and right in run.row and jaccard(run.text_of(left), run.text_of(right)) >= threshold:
            like += 1
            resolved += "duplicate" in (run.verdict[left], run.verdict[right])
    return resolved, like


def planted(truth: Path, limit: int) -> list[tuple[str, str]]:
    """The pairs of the generator's truth.jsonl, at most `limit`."""
    rows = [json.loads(line) for line in truth.read_text().splitlines()]
    return [(left, right) for _, left, right in sample(rows, limit)]


def paired_pages(run: Outcome) -> list[tuple[str, str]]:
    """Records of the same page in en-US and en-GB: LibreOffice's help, as it is installed."""
    by_page: dict[str, list[str]] = {}
    for record in sorted(run.row):
        page = re.sub(r"libreoffice-help-en-(gb|us)|/en-(GB|US)/", "/", record)
        by_page.setdefault(page, []).append(record)
    return [(found[0], found[1]) for found in by_page.values() if len(found) == 2]
