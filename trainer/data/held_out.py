"""The fixed batches of a held-out split."""

from collections.abc import Iterator
from typing import Final

from trainer.data.batch import Batch, PlanRows, collate
from trainer.data.masking import Masking
from trainer.data.packing import WINDOW_DOCUMENTS
from trainer.data.rare import NoteWindow
from trainer.data.shards import Corpus
from trainer.data.stream import check_holds_tokens, packer

HELD_OUT_SEED: Final = 0


def held_out(
    corpus: Corpus,
    sequence_length: int,
    batch_rows: int,
    masking: Masking,
    limit_rows: int | None = None,
    window_documents: int = WINDOW_DOCUMENTS,
    notes: NoteWindow | None = None,
) -> Iterator[Batch]:
    """The split once, in a fixed keyed order with fixed masks: the same batches for ever, whatever the run's seed.

    Ends after `limit_rows` rows (a sample over the whole split, since the order is shuffled); the last batch may be
    shorter. Several processes share it as `itertools.islice(held_out(...), rank, None, world)`.
    Raises CorpusError at once where the split holds no token (check `corpus.tokens_total` to go without).
    """
    check_holds_tokens(corpus)
    if batch_rows < 1:
        raise ValueError(f"batch_rows {batch_rows}: must be 1 or more")
    masking.check(corpus.marks)
    return _held_out(corpus, sequence_length, batch_rows, masking, limit_rows, window_documents, notes)


def _held_out(
    corpus: Corpus,
    sequence_length: int,
    batch_rows: int,
    masking: Masking,
    limit_rows: int | None,
    window_documents: int,
    notes: NoteWindow | None,
) -> Iterator[Batch]:
    parts: list[PlanRows] = []
    one = packer(corpus, HELD_OUT_SEED, sequence_length, window_documents)
    left = limit_rows
    for window in range(one.windows):
        if left == 0:
            break
        plan = one.plan(0, window)
        row = 0
        end = plan.rows if left is None else min(plan.rows, left)
        while row < end:
            taken = min(batch_rows - sum(map(len, parts)), end - row)
            parts.append(PlanRows(plan, row, row + taken))
            row += taken
            if sum(map(len, parts)) == batch_rows:
                yield collate(corpus, parts, masking, notes)
                parts = []
        if left is not None:
            left -= end
    if parts:
        yield collate(corpus, parts, masking, notes)
