"""A part's documents, signatures and audit rows, as the stages after `clean` find them.

clean's documents --texts that a later stage cut are laid over--> documents of the part
A document of which nothing was left keeps its row, with an empty text: it is filtered, and takes part in nothing more.
A part number from FIRST_EARLIER on is a part of an earlier run's output.
"""

from collections.abc import Iterator

import numpy as np
import orjson
import pyarrow as pa

from pipeline.io import filesystem
from pipeline.stages.layout import audit_path, documents_path, signatures_path
from schemas.arrow import AUDIT, DOCUMENTS

FIRST_EARLIER = 1 << 24
"""Part numbers from here on count the parts of earlier runs (`prepare --against`), in the order of EARLIER."""
EARLIER = "stages/deduplicate/earlier.json"
"""[[directory, part, name], ...]: where the parts of earlier runs lie, and what the audit calls their run."""

CUT_TEXTS = pa.schema([pa.field("row", pa.uint32(), nullable=False), pa.field("text", pa.string(), nullable=False)])
"""Documents of a part whose text a stage after `clean` cut, by row; a text of which nothing was left is ""."""

CUT_AUDIT = pa.schema(
    [
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("lines", pa.uint32(), nullable=False),
        pa.field("characters", pa.uint64(), nullable=False),
        pa.field("chars_out", pa.uint64(), nullable=False),
    ]
)
"""What a stage cut from the same documents: lines, code points, and the code points that are left. A further column
`detail` is what the audit says of it."""


CUTTING = ("boilerplate", "substrings")
"""Stages that cut texts, in order. Those before deduplication see what the first of them cut, which is the default."""


def cut_texts_path(stage: str, part: int) -> str:
    return f"stages/{stage}/texts/{part:05d}.arrow"


def cut_signatures_path(stage: str, part: int) -> str:
    """Signatures of the same rows anew: clean's signature schema, one row for each row of the cut texts."""
    return f"stages/{stage}/signatures/{part:05d}.arrow"


def cut_audit_path(stage: str, part: int) -> str:
    return f"stages/{stage}/audit/{part:05d}.arrow"


def emptied_rule(stage: str) -> str:
    """What the audit gives as the deciding rule of a document that the stage left empty."""
    return f"{stage}.empty"


def locate(output: str, part: int) -> tuple[str, int]:
    """(output directory, part) that a part number means."""
    if part < FIRST_EARLIER:
        return output, part
    directory, number, _ = _earlier(output, part)
    return directory, number


def record_prefix(output: str, part: int) -> str:
    """What stands before the names of a part's records: nothing, or the name of the earlier run that it is of."""
    return "" if part < FIRST_EARLIER else f"{_earlier(output, part)[2]}//"


def _earlier(output: str, part: int) -> tuple[str, int, str]:
    directory, number, name = orjson.loads(filesystem.read_bytes(filesystem.join(output, EARLIER)))[
        part - FIRST_EARLIER
    ]
    return directory, number, name


def _read(output: str, path: str) -> pa.Table | None:
    path = filesystem.join(output, path)
    return filesystem.open_arrow(path).read_all() if filesystem.exists(path) else None


def _cut_rows(output: str, stage: str, part: int) -> pa.Table | None:
    return _read(output, cut_texts_path(stage, part))


def emptied_rows(output: str, part: int, stages: tuple[str, ...] = ("boilerplate",)) -> np.ndarray:
    """int64, ascending: rows of the part's documents of which `stages` left nothing."""
    output, part = locate(output, part)
    rows = [np.empty(0, np.int64)]
    for stage in stages:
        cut = _read(output, cut_audit_path(stage, part))
        if cut is not None:
            rows.append(cut["row"].to_numpy()[cut["chars_out"].to_numpy() == 0].astype(np.int64))
    return np.unique(np.concatenate(rows))


def document_batches(output: str, part: int, stages: tuple[str, ...] = ("boilerplate",)) -> Iterator[pa.RecordBatch]:
    """Every document of the part (schemas.arrow.DOCUMENTS), in order, with the texts that `stages` cut."""
    output, part = locate(output, part)
    cuts = [cut for stage in stages if (cut := _cut_rows(output, stage, part)) is not None and cut.num_rows]
    reader = filesystem.open_arrow(filesystem.join(output, documents_path(part)))
    start = 0
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        for cut in cuts:
            rows = cut["row"].to_numpy()
            low, high = np.searchsorted(rows, [start, start + batch.num_rows])
            if low < high:
                batch = _laid_over(batch, rows[low:high] - start, cut["text"].slice(low, high - low).combine_chunks())
        start += batch.num_rows
        yield batch


def signature_table(output: str, part: int, stages: tuple[str, ...] = ("boilerplate",)) -> pa.Table:
    """The part's signatures (see pipeline.stages.clean.signature_schema), those of cut texts laid over."""
    table, take = signature_sources(output, part, stages)
    # The rules judged the whole text.
    quality = table["quality"].slice(0, len(take))
    if len(take) < table.num_rows:
        table = table.take(pa.array(take))
    table = table.set_column(table.schema.get_field_index("quality"), table.schema.field("quality"), quality)
    return table.combine_chunks()


def signature_sources(
    output: str, part: int, stages: tuple[str, ...] = ("boilerplate",)
) -> tuple[pa.Table, np.ndarray]:
    """(the part's own rows, then those of cut texts; int64: where among them the row of each document is). Nothing but
    what is then taken from it is read."""
    output, part = locate(output, part)
    table = filesystem.open_arrow(filesystem.join(output, signatures_path(part))).read_all()
    take = np.arange(table.num_rows)
    for stage in stages:
        cut = _cut_rows(output, stage, part)
        if cut is None or not cut.num_rows:
            continue
        anew = filesystem.open_arrow(filesystem.join(output, cut_signatures_path(stage, part))).read_all()
        take[cut["row"].to_numpy()] = table.num_rows + np.arange(anew.num_rows)
        table = pa.concat_tables([table, anew])
    return table, take


def audit_batches(
    output: str, part: int, stages: tuple[str, ...] = ("boilerplate",)
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Clean's audit rows with what `stages` cut laid over, and for each batch the places of the part's documents in it.

    The places (int64) are those of all rows that clean kept, emptied documents among them: the k-th place of all
    batches together is row k of the documents.
    """
    output, part = locate(output, part)
    cuts = [(stage, cut) for stage in stages if (cut := _read(output, cut_audit_path(stage, part))) is not None]
    reader = filesystem.open_arrow(filesystem.join(output, audit_path(part)))
    start = 0
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        places = np.flatnonzero(np.asarray(batch["verdict"].to_pylist()) == "kept")
        for stage, cut in cuts:
            low, high = np.searchsorted(cut["row"].to_numpy(), [start, start + len(places)])
            if low < high:
                mine = cut.slice(low, high - low)
                batch = _told(batch, places[mine["row"].to_numpy().astype(np.int64) - start], stage, mine)
        start += len(places)
        yield batch, places


def _told(batch: pa.RecordBatch, places: np.ndarray, stage: str, cut: pa.Table) -> pa.RecordBatch:
    """Audit rows in which the documents at `places` tell what was cut from them (`cut`, one row each)."""
    names = ("verdict", "rule", "detail", "repairs", "chars_out")
    columns = {name: batch[name].to_pylist() for name in names}
    for place, row in zip(places.tolist(), cut.to_pylist(), strict=True):
        said = row.get("detail") or f"{row['lines']:,} lines, {row['characters']:,} characters of {stage} cut"
        before = columns["detail"][place]
        columns["detail"][place] = f"{before}; {said}" if before else said
        columns["repairs"][place] = [*columns["repairs"][place], stage]
        columns["chars_out"][place] = row["chars_out"]
        if not row["chars_out"]:
            columns["verdict"][place] = "filtered"
            columns["rule"][place] = emptied_rule(stage)
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else batch[field.name] for field in AUDIT
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=AUDIT)


def _laid_over(batch: pa.RecordBatch, rows: np.ndarray, texts: pa.Array) -> pa.RecordBatch:
    take = np.arange(batch.num_rows)
    take[rows] = batch.num_rows + np.arange(len(rows))
    text = pa.concat_arrays([batch["text"], texts]).take(pa.array(take))
    return batch.set_column(batch.schema.get_field_index("text"), DOCUMENTS.field("text"), text)
