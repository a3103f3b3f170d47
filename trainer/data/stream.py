"""The endless stream of batches over a corpus, and the fixed batches of its held-out split.

A place in the stream is (epoch, window, row). Batches are cut from the unbroken sequence of rows: the last batch of an
epoch goes on into the first rows of the next one, so no row is dropped or padded, and the number of steps is the same
on every rank by construction.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final, Self

from trainer.data.batch import Batch, PlanRows, collate
from trainer.data.masking import Masking
from trainer.data.packing import WINDOW_DOCUMENTS, Plan, plan_window, windows
from trainer.data.shards import Corpus, CorpusError

HELD_OUT_SEED: Final = 0


@dataclass(frozen=True)
class StreamState:
    """The next row that no batch has held yet."""

    epoch: int = 0
    window: int = 0
    row: int = 0

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, int]) -> Self:
        return cls(**data)


class Stream:
    """Shuffled, packed, masked batches of a corpus, endless over epochs.

    `batch_rows` rows make a global batch; rank r of `world` gets rows [r * batch_rows / world, (r + 1) * ...).
    `workers` background threads build batches ahead (the kernels release the GIL); they change nothing but the time.

    A state means the same rows as long as `identity()` is the same: batch_rows, workers, rank, world and masking may
    change between two runs.
    Raises ValueError where `world` does not divide `batch_rows`, CorpusError where the split holds no token.
    """

    def __init__(
        self,
        corpus: Corpus,
        sequence_length: int,
        batch_rows: int,
        seed: int,
        masking: Masking,
        window_documents: int = WINDOW_DOCUMENTS,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if world < 1 or not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes")
        if batch_rows < 1 or batch_rows % world:
            raise ValueError(
                f"batch_rows {batch_rows} cannot be shared by {world} processes: it must be a multiple of {world}"
            )
        if window_documents < 1 or workers < 0:
            raise ValueError(f"window_documents {window_documents} must be 1 or more, workers {workers} 0 or more")
        _check_holds_tokens(corpus)
        self.corpus = corpus
        self.sequence_length = sequence_length
        self.batch_rows = batch_rows
        self.seed = seed
        self.masking = masking
        self.window_documents = window_documents
        self.workers = workers
        self.rank = rank
        self.world = world
        self.windows = windows(corpus.documents, window_documents)
        """Windows of an epoch."""
        self._rows_per_epoch: dict[int, int] = {}
        self.plan(0, 0)  # a sequence length that cannot be packed fails here, not at the first batch

    def identity(self) -> dict[str, int | str]:
        """What a state refers to; a checkpoint keeps it and compares it before it resumes."""
        return {
            "corpus": self.corpus.digest,
            "sequence_length": self.sequence_length,
            "window_documents": self.window_documents,
            "seed": self.seed,
        }

    def plan(self, epoch: int, window: int) -> Plan:
        return plan_window(self.seed, epoch, window, self.corpus.lengths, self.sequence_length, self.window_documents)

    def rows_per_epoch(self, epoch: int) -> int:
        """Rows of an epoch, over all ranks. Walks every window once (lengths only), then remembers."""
        if epoch not in self._rows_per_epoch:
            self._rows_per_epoch[epoch] = sum(self.plan(epoch, window).rows for window in range(self.windows))
        return self._rows_per_epoch[epoch]

    def steps(self, epochs: int) -> int:
        """Batches until every row of the first `epochs` epochs was used; equal on all ranks."""
        return -(-sum(map(self.rows_per_epoch, range(epochs))) // self.batch_rows)

    def batches(self, state: StreamState | None = None) -> Iterator[tuple[Batch, StreamState]]:
        """Endless (batch, state to resume from after it), from `state` on (default: the start).

        Closing the iterator (or dropping it) stops its workers. Raises ValueError for a state outside the corpus.
        """
        start = state or StreamState()
        if start.epoch < 0 or not 0 <= start.window < self.windows or start.row < 0:
            raise ValueError(f"{start} lies outside an epoch of {self.windows:,} windows: it belongs to another stream")
        if start.row and start.row >= (rows := self.plan(start.epoch, start.window).rows):
            raise ValueError(f"{start} lies outside its window of {rows:,} rows: it belongs to another stream")
        return self._inline(start) if self.workers == 0 else self._ahead(start)

    def _inline(self, state: StreamState) -> Iterator[tuple[Batch, StreamState]]:
        for parts, after in self._global_batches(state):
            yield self._build(parts), after

    def _ahead(self, state: StreamState) -> Iterator[tuple[Batch, StreamState]]:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="siliang-stream")
        pending: deque[tuple[Future[Batch], StreamState]] = deque()
        try:
            for parts, after in self._global_batches(state):
                pending.append((pool.submit(self._build, parts), after))
                # One batch per worker in work and one ready: more would only hold memory.
                if len(pending) > self.workers:
                    future, done = pending.popleft()
                    yield future.result(), done
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _global_batches(self, state: StreamState) -> Iterator[tuple[list[PlanRows], StreamState]]:
        """Global batches as ranges of rows, each with the state after it."""
        epoch, window, row = state.epoch, state.window, state.row
        parts: list[PlanRows] = []
        missing = self.batch_rows
        while True:
            plan = self.plan(epoch, window)
            while row < plan.rows:
                taken = min(missing, plan.rows - row)
                parts.append(PlanRows(plan, row, row + taken))
                row += taken
                missing -= taken
                if missing == 0:
                    yield parts, StreamState(epoch, window, row) if row < plan.rows else self._after(epoch, window)
                    parts, missing = [], self.batch_rows
            following = self._after(epoch, window)
            epoch, window, row = following.epoch, following.window, 0

    def _after(self, epoch: int, window: int) -> StreamState:
        return StreamState(epoch, window + 1) if window + 1 < self.windows else StreamState(epoch + 1)

    def _build(self, parts: list[PlanRows]) -> Batch:
        share = self.batch_rows // self.world
        return collate(self.corpus, _slice(parts, self.rank * share, (self.rank + 1) * share), self.masking)


def held_out(
    corpus: Corpus,
    sequence_length: int,
    batch_rows: int,
    masking: Masking,
    limit_rows: int | None = None,
    window_documents: int = WINDOW_DOCUMENTS,
) -> Iterator[Batch]:
    """The split once, in a fixed keyed order with fixed masks: the same batches for ever, whatever the run's seed.

    Ends after `limit_rows` rows (a sample over the whole split, since the order is shuffled); the last batch may be
    shorter. Several processes share it as `itertools.islice(held_out(...), rank, None, world)`.
    Raises CorpusError at once where the split holds no token (check `corpus.tokens_total` to go without).
    """
    _check_holds_tokens(corpus)
    if batch_rows < 1:
        raise ValueError(f"batch_rows {batch_rows}: must be 1 or more")
    return _held_out(corpus, sequence_length, batch_rows, masking, limit_rows, window_documents)


def _held_out(
    corpus: Corpus,
    sequence_length: int,
    batch_rows: int,
    masking: Masking,
    limit_rows: int | None,
    window_documents: int,
) -> Iterator[Batch]:
    parts: list[PlanRows] = []
    left = limit_rows
    for window in range(windows(corpus.documents, window_documents)):
        plan = plan_window(HELD_OUT_SEED, 0, window, corpus.lengths, sequence_length, window_documents)
        row = 0
        end = plan.rows if left is None else min(plan.rows, left)
        while row < end:
            taken = min(batch_rows - sum(map(len, parts)), end - row)
            parts.append(PlanRows(plan, row, row + taken))
            row += taken
            if sum(map(len, parts)) == batch_rows:
                yield collate(corpus, parts, masking)
                parts = []
        if left is not None:
            left -= end
            if left == 0:
                break
    if parts:
        yield collate(corpus, parts, masking)


def _slice(parts: list[PlanRows], first: int, last: int) -> list[PlanRows]:
    """Rows [first, last) of the rows of `parts`."""
    out, at = [], 0
    for part in parts:
        a, b = max(first - at, 0), min(last - at, len(part))
        if a < b:
            out.append(PlanRows(part.plan, part.first + a, part.first + b))
        at += len(part)
    return out


def _check_holds_tokens(corpus: Corpus) -> None:
    if corpus.tokens_total == 0:
        raise CorpusError(
            f"{corpus.directory}/{corpus.split}: no tokens in {corpus.documents:,} documents; "
            "prepare more text, or a larger validation share"
        )
