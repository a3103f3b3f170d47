"""Context notes: for each rare word its k best windows over the whole corpus, chosen by hash alone.

Candidates are small rows (no text, no tokens); windows are cut once the choice is final.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.words.rare import RareSpans
from pipeline.words.split import doc_id_hash, mix
from pipeline.words.tokenizer import Encoded
from schemas.arrow import note, token_type

CANDIDATES: Final = pa.schema(
    [
        pa.field("word", pa.uint32(), nullable=False),
        pa.field(
            "turn", pa.uint32(), nullable=False
        ),  # 0 for the occurrence of lowest hash in its document, then 1, ...
        pa.field("hash", pa.uint64(), nullable=False),  # of (doc_id, word, start)
        pa.field("ref", pa.uint64(), nullable=False),  # the caller's name of the document
        pa.field("start", pa.uint32(), nullable=False),
        pa.field("end", pa.uint32(), nullable=False),
    ]
)


def note_candidates(
    spans: RareSpans, doc_ids: pa.Array | pa.ChunkedArray, ref: npt.NDArray[np.uint64], k: int
) -> pa.Table:
    """CANDIDATES: for each rare word its k best occurrences of this batch by (turn, hash).

    Going by turns takes one occurrence per document while there are documents enough. `ref` [n] names each document, so
    that cut_windows finds it again.
    """
    document = np.repeat(np.arange(len(spans)), np.diff(spans.offsets))
    place = spans.word.astype(np.uint64) << np.uint64(32) | spans.start.astype(np.uint64)
    hashes = mix(doc_id_hash(doc_ids, "notes")[document] ^ mix(place))
    order = np.lexsort((spans.start, hashes, spans.word, document))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (np.diff(document[order]) != 0) | (np.diff(spans.word[order].astype(np.int64)) != 0)
    turn = np.empty(len(order), dtype=np.uint32)
    turn[order] = _rank(new)
    columns = [spans.word, turn, hashes, np.asarray(ref, dtype=np.uint64)[document], spans.start, spans.end]
    return best_candidates(pa.table([pa.array(column) for column in columns], schema=CANDIDATES), k)


def best_candidates(table: pa.Table, k: int) -> pa.Table:
    """The k best of each word by (turn, hash), sorted by (word, turn, hash); copies of one document count once.

    Associative, commutative and idempotent: best(best(a) + b) = best(a + b) = best(b + a).
    """
    word, turn, hashes, ref, start = (table[name].to_numpy() for name in ("word", "turn", "hash", "ref", "start"))
    order = np.lexsort((start, ref, hashes, turn, word))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(word[order]) != 0) | (np.diff(turn[order]) != 0) | (np.diff(hashes[order]) != 0)
    order = order[first]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = np.diff(word[order]) != 0
    return table.take(pa.array(order[_rank(new) < k])).cast(CANDIDATES)


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


def notes_table(rare: pa.Table, windows: pa.Table, vocabulary_size: int) -> pa.Table:
    """Rows of schemas.arrow.note for the words of `rare` (all, or a slice), each with its windows by (turn, hash).

    Windows of other words are left out; equal (word, turn, hash) are copies of one document and stand once. A word
    without a window (it occurs in held-out documents only) has an empty list.
    """
    word, turn, hashes = (windows[name].to_numpy() for name in ("word", "turn", "hash"))
    order = np.lexsort((hashes, turn, word))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(word[order]) != 0) | (np.diff(turn[order]) != 0) | (np.diff(hashes[order]) != 0)
    ids = rare["word_id"].to_numpy()
    order = order[first & np.isin(word[order], ids)]
    offsets = np.searchsorted(word[order], np.append(ids, ids[-1:] + 1)) if len(ids) else np.zeros(1, dtype=np.int64)

    schema = note(vocabulary_size)
    kind = schema.field("contexts").type
    chosen = windows.take(pa.array(order))
    columns = []
    for field in kind.value_type:
        columns.append(pa.concat_arrays(chosen[field.name].cast(field.type).chunks or [pa.array([], field.type)]))
    contexts = pa.StructArray.from_arrays(columns, fields=list(kind.value_type))
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), contexts, type=kind)
    return pa.table([rare["word_id"], rare["word"], rare["count"], rare["documents"], lists], schema=schema)
