"""What was removed as a copy, with the kept document that justifies it, and the largest groups."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pydantic import ValidationError

from pipeline.config import DeduplicateConfig
from pipeline.dedup.banding import s_curve
from pipeline.inspect.words import WordDifference, word_difference
from pipeline.report.examples import TEXT_LIMIT, Shelf, example
from pipeline.report.groups import GROUP_BUCKETS, buckets, kept_documents, largest_groups, unknown
from pipeline.report.model import Difference, Duplicates, Example, Group, Histogram, Kind, Pair, Run, Search
from pipeline.report.nearest import Near, Nearest
from pipeline.report.rows import Rows, positions
from pipeline.report.visible import cut
from schemas.manifest import FileEntry

JACCARD_BINS = 50
KINDS: tuple[Kind, ...] = ("near", "contained", "exact", "protected")
SHOWN_PAIRS: dict[Kind, int] = {"near": 6, "contained": 3, "exact": 3, "protected": 3}
HUNKS = 3
"""Changes shown of a pair, each with at most HUNK_RUNS runs of words."""
HUNK_RUNS = 8
FACTS = "stages/deduplicate/done.json"

Key = tuple[str, str]
"""(record, doc_id)"""
Texts = Callable[[Path, Iterable[Key]], dict[Key, str]]
"""pipeline.inspect.texts.texts_of"""


class DuplicateScan:
    """Adds up audit tables; memory does not grow with the number of duplicates."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.jaccard = np.zeros(JACCARD_BINS, np.int64)
        self.shown = {kind: Nearest(SHOWN_PAIRS[kind]) for kind in KINDS}
        """Of near-duplicates those of the least Jaccard first: the removals that rest on the least resemblance."""
        self.buckets = np.zeros(GROUP_BUCKETS, np.int64)

    def add(self, rows: Rows) -> None:
        kind = positions(rows.column("kind"), KINDS)
        which = np.flatnonzero(kind >= 0)
        if not len(which):
            return
        kind = kind[which]
        jaccard = rows.column("jaccard").take(pa.array(which)).to_numpy(zero_copy_only=False).astype(np.float64)
        near = np.flatnonzero((kind == KINDS.index("near")) & np.isfinite(jaccard))
        self.counts.update({name: int((kind == number).sum()) for number, name in enumerate(KINDS)})
        # 0.8 * 50 is 40.00000000000001 and 0.58 * 50 is 28.999999999999996: both belong to the bin they open.
        bins = np.clip((jaccard[near] * JACCARD_BINS + 1e-9).astype(np.int64), 0, JACCARD_BINS - 1)
        self.jaccard += np.bincount(bins, minlength=JACCARD_BINS)
        grouped = rows.column("duplicate_of").take(pa.array(which[kind != KINDS.index("protected")])).drop_null()
        self.buckets += np.bincount(buckets(grouped), minlength=GROUP_BUCKETS)
        for number, (name, best) in enumerate(self.shown.items()):
            some = near if name == "near" else np.flatnonzero(kind == number)
            best.offer(rows, which[some], jaccard[some] if name == "near" else None)

    def merge(self, other: "DuplicateScan") -> None:
        self.counts.update(other.counts)
        self.jaccard += other.jaccard
        self.buckets += other.buckets
        for name, nearest in other.shown.items():
            self.shown[name].merge(nearest)

    def chosen(self) -> list[Near]:
        return [near for best in self.shown.values() for near in best.values()]

    def summary(
        self,
        root: Path,
        files: Sequence[FileEntry],
        config: DeduplicateConfig,
        records: int,
        shelf: Shelf,
        texts: Texts,
    ) -> Duplicates:
        """Looks at ids and verdicts of the audit twice more: for the largest groups, and for the kept documents.

        records: of the whole input. shelf: holds `chosen()`. texts: reads clean texts where they are still at hand.
        """
        groups = largest_groups(root, files, self.buckets)
        removed = [(kind, shelf.row(near)) for kind, best in self.shown.items() for near in best.values()]
        wanted = {row["duplicate_of"] for _, row in removed if row["duplicate_of"]} | {doc_id for doc_id, _ in groups}
        kept = kept_documents(root, files, wanted)
        clean = texts(root, {key for _, row in removed for key in (_own(row), _twin(row)) if key is not None})
        bands, rows = config.banding
        return Duplicates(
            **{name: self.counts[name] for name in KINDS},
            threshold=config.threshold,
            bands=bands,
            rows=rows,
            s_curve=tuple((float(x), float(y)) for x, y in s_curve(bands, rows)),
            jaccard=Histogram(
                edges=tuple(k / JACCARD_BINS for k in range(JACCARD_BINS + 1)), counts=tuple(self.jaccard.tolist())
            ),
            groups=tuple(
                Group(
                    doc_id=doc_id,
                    removed=size,
                    share=(size + 1) / max(records, 1),
                    record=found.record,
                    excerpt=found.excerpt,
                )
                for doc_id, size in groups
                for found in (kept.get(doc_id) or unknown(doc_id),)
            ),
            pairs=tuple(_pair(kind, row, kept, clean) for kind, row in removed),
            search=_search(root),
        )


def _pair(kind: Kind, row: dict[str, Any], kept: dict[str, Example], clean: dict[Key, str]) -> Pair:
    doc_id, twin = row["duplicate_of"] or "", _twin(row)
    other = (kept.get(doc_id) or unknown(doc_id, row["duplicate_record"] or "")) if doc_id else None
    difference = None
    if twin is not None and _own(row) in clean and twin in clean:
        difference = _difference("documents", word_difference(clean[_own(row)], clean[twin]))
    elif other is not None and other.excerpt and row["excerpt"]:
        difference = _difference("excerpts", word_difference(row["excerpt"], other.excerpt))
    return Pair(kind=kind, jaccard=row["jaccard"], removed=example(row), kept=other, difference=difference)


def _difference(of: Any, found: WordDifference) -> Difference:
    return Difference(
        of=of,
        changes=found.changes,
        only_removed=found.only_first,
        only_kept=found.only_second,
        hunks=tuple(
            tuple(Run(mark=run.mark, text=cut(run.text, TEXT_LIMIT)) for run in hunk[:HUNK_RUNS])  # type: ignore[arg-type]
            for hunk in found.hunks[:HUNKS]
        ),
    )


def _own(row: dict[str, Any]) -> Key:
    return row["record"], row["doc_id"]


def _twin(row: dict[str, Any]) -> Key | None:
    return (row["duplicate_record"], row["duplicate_of"]) if row["duplicate_record"] and row["duplicate_of"] else None


def _search(directory: Path) -> Search | None:
    """The stage's own counts describe the way, not the corpus: where they cannot be read they are left out."""
    try:
        return Search.model_validate(orjson.loads((directory / FACTS).read_bytes())["facts"]["duplicates"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
