"""Context notes: for each rare word its k best windows over the whole corpus, chosen by hash alone.

Candidates are small rows (no text, no tokens); windows are cut once the choice is final. Two windows whose word has the
same neighbours are one passage (a quotation, a notice, a copy that deduplication let stay), and count once.
"""

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.words.rare import RareSpans
from pipeline.words.split import doc_id_hash, mix
from pipeline.words.tokenizer import Encoded
from schemas.arrow import note, token_type

PASSAGE: Final = 3
"""Tokens on each side of a word that tell its passage. Windows that differ in one token of 32 share these six in four
of five cases; windows of different passages hardly ever do."""

CANDIDATES: Final = pa.schema(
    [
        pa.field("word", pa.uint32(), nullable=False),
        # 0 for the occurrence of lowest hash in its document, 1 for the next one of another passage, ...
        pa.field("turn", pa.uint32(), nullable=False),
        pa.field("hash", pa.uint64(), nullable=False),  # of (doc_id, word, start)
        pa.field("passage", pa.uint64(), nullable=False),  # digest of the word's neighbours
        pa.field("ref", pa.uint64(), nullable=False),  # the caller's name of the document
        pa.field("start", pa.uint32(), nullable=False),
        pa.field("end", pa.uint32(), nullable=False),
    ]
)


def note_candidates(
    spans: RareSpans,
    encoded: Encoded,
    doc_ids: pa.Array | pa.ChunkedArray,
    ref: npt.NDArray[np.uint64],
    k: int,
) -> pa.Table:
    """CANDIDATES: for each rare word its k best occurrences of this batch by (turn, hash), of k passages.

    Going by turns takes one occurrence per document while there are documents enough. `spans` lie in `encoded`; `ref`
    [n] names each document, so that cut_windows finds it again.
    """
    document = np.repeat(np.arange(len(spans)), np.diff(spans.offsets))
    place = spans.word.astype(np.uint64) << np.uint64(32) | spans.start.astype(np.uint64)
    hashes = mix(doc_id_hash(doc_ids, "notes")[document] ^ mix(place))
    passage = _passages(encoded.ids, encoded.offsets, document, spans.start, spans.end)

    order = np.lexsort((spans.start, hashes, passage, spans.word, document))
    order = order[_changes(document[order], spans.word[order], passage[order])]
    order = order[np.lexsort((spans.start[order], hashes[order], spans.word[order], document[order]))]
    turn = _rank(_changes(document[order], spans.word[order])).astype(np.uint32)
    ref = np.asarray(ref, dtype=np.uint64)[document]
    columns = [spans.word[order], turn, *(column[order] for column in (hashes, passage, ref, spans.start, spans.end))]
    return best_candidates(pa.table(columns, schema=CANDIDATES), k)


def best_candidates(table: pa.Table, k: int) -> pa.Table:
    """The k best of each word by (turn, hash), sorted so; of one passage, and so of copies of a document, the best.

    Associative, commutative and idempotent: best(best(a) + b) = best(a + b) = best(b + a). What is left out of a had k
    better passages there, and has them in a + b.
    """
    names = ("word", "turn", "hash", "passage", "ref", "start")
    word, turn, hashes, passage, ref, start = (table[name].to_numpy() for name in names)
    order = np.lexsort((start, ref, hashes, turn, passage, word))
    order = order[_changes(word[order], passage[order])]
    order = order[np.lexsort((passage[order], hashes[order], turn[order], word[order]))]
    return table.take(pa.array(order[_rank(_changes(word[order])) < k])).cast(CANDIDATES)


def _changes(*columns: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """True [n] where a row differs from the one before it; true for the first."""
    new = np.zeros(len(columns[0]), dtype=np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new


@numba.njit(nogil=True, cache=True)
def _passages(ids, offsets, document, start, end):  # type: ignore[no-untyped-def]
    """Digest of the PASSAGE tokens before and behind each span [spans]; a document's end is a token of its own."""
    out = np.empty(len(start), dtype=np.uint64)
    for i in range(len(start)):
        base, limit = offsets[document[i]], offsets[document[i] + 1]
        first, last = base + np.int64(start[i]), base + np.int64(end[i])
        value = np.uint64(0x9E3779B97F4A7C15)
        for j in range(2 * PASSAGE):
            at = first - 1 - j if j < PASSAGE else last + j - PASSAGE
            token = np.uint64(ids[at]) + np.uint64(1) if base <= at < limit else np.uint64(0)
            value = (value ^ token) * np.uint64(0xBF58476D1CE4E5B9)
            value ^= value >> np.uint64(29)
        out[i] = value * np.uint64(0x94D049BB133111EB) ^ value >> np.uint64(32)
    return out


def _rank(new: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """0, 1, 2, ... inside each run; `new` marks the first of a run."""
    position = np.arange(len(new))
    return position - np.maximum.accumulate(np.where(new, position, 0))


def _ranges(start: npt.NDArray[np.int64], length: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """start[0], start[0] + 1, ... (length[0] of them), start[1], ...; in one array."""
    ends = np.cumsum(length)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - ends + length, length)


def windows_schema(vocabulary_size: int) -> pa.Schema:
    """Rows of cut_windows: a candidate's key with its tokens; the word is tokens[start:end]."""
    return pa.schema(
        [
            pa.field("word", pa.uint32(), nullable=False),
            pa.field("turn", pa.uint32(), nullable=False),
            pa.field("hash", pa.uint64(), nullable=False),
            pa.field("doc_id", pa.string(), nullable=False),
            pa.field("tokens", pa.list_(pa.field("item", token_type(vocabulary_size), nullable=False)), nullable=False),
            pa.field("start", pa.uint32(), nullable=False),
            pa.field("end", pa.uint32(), nullable=False),
        ]
    )


def cut_windows(
    candidates: pa.Table,
    encoded: Encoded,
    doc_ids: pa.Array | pa.ChunkedArray,
    ref: npt.NDArray[np.uint64],
    half_window: int,
) -> pa.Table:
    """Windows of `half_window` tokens on each side, inside the document, for the candidates in these documents.

    `ref` [n] are the names given to note_candidates, each once; candidates of other documents are left out.
    """
    ref = np.asarray(ref, dtype=np.uint64)
    by_ref = np.argsort(ref, kind="stable")
    wanted = candidates["ref"].to_numpy()
    slot = np.minimum(np.searchsorted(ref[by_ref], wanted), max(len(ref) - 1, 0))
    here = np.flatnonzero(ref[by_ref][slot] == wanted) if len(ref) else np.empty(0, dtype=np.int64)
    rows = candidates.take(pa.array(here))
    document = by_ref[slot[here]]

    start, end = rows["start"].to_numpy().astype(np.int64), rows["end"].to_numpy().astype(np.int64)
    base, limit = encoded.offsets[document], encoded.offsets[document + 1]
    if (base + end > limit).any():
        raise ValueError("a candidate lies outside its document: these are not the tokens it was found in")
    first = np.maximum(start - half_window, 0)
    last = np.minimum(end + half_window, limit - base)
    tokens = Encoded(
        ids=encoded.ids[_ranges(base + first, last - first)], offsets=np.concatenate(([0], np.cumsum(last - first)))
    ).to_arrow()
    chunk = doc_ids.combine_chunks() if isinstance(doc_ids, pa.ChunkedArray) else doc_ids
    columns = [
        rows["word"],
        rows["turn"],
        rows["hash"],
        chunk.take(pa.array(document)),
        tokens,
        pa.array((start - first).astype(np.uint32)),
        pa.array((end - first).astype(np.uint32)),
    ]
    return pa.table(columns, schema=windows_schema(1 if encoded.ids.dtype == np.uint16 else 1 << 17))


def notes_table(
    rare: pa.Table, windows: pa.Table, vocabulary_size: int, family: pa.ListArray | pa.ChunkedArray | None = None
) -> pa.Table:
    """Rows of schemas.arrow.note for the words of `rare` (all, or a slice), each with its windows by (turn, hash).

    Windows of other words are left out; equal (word, turn, hash) are copies of one document and stand once. A word
    without a window (it occurs in held-out documents only) has an empty list. `family` [words] as
    pipeline.words.families gives it; null without it.
    """
    word, turn, hashes = (windows[name].to_numpy() for name in ("word", "turn", "hash"))
    order = np.lexsort((hashes, turn, word))
    order = order[_changes(word[order], turn[order], hashes[order])]
    ids = rare["word_id"].to_numpy()
    order = order[np.isin(word[order], ids)]
    offsets = np.searchsorted(word[order], np.append(ids, ids[-1:] + 1)) if len(ids) else np.zeros(1, dtype=np.int64)

    schema = note(vocabulary_size)
    kind = schema.field("contexts").type
    chosen = windows.take(pa.array(order))
    columns = []
    for field in kind.value_type:
        columns.append(pa.concat_arrays(chosen[field.name].cast(field.type).chunks or [pa.array([], field.type)]))
    contexts = pa.StructArray.from_arrays(columns, fields=list(kind.value_type))
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), contexts, type=kind)
    if family is None:
        family = pa.nulls(len(ids), schema.field("family").type)
    return pa.table([rare["word_id"], rare["word"], rare["count"], rare["documents"], lists, family], schema=schema)
