"""The endless stream of batches over one or more corpora.

A place in the stream is (epoch, window, row) in each source, and the number of rows drawn so far. Batches are cut from
the unbroken sequence of rows: the last batch of an epoch goes on into the first rows of the next one, so no row is
dropped or padded, and the number of steps is the same on every rank by construction.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

from trainer.data.batch import Batch, PlanRows, collate
from trainer.data.counter import Purpose, key
from trainer.data.masking import Masking
from trainer.data.mixture import Mixture
from trainer.data.order import Kind, make_order
from trainer.data.packing import WINDOW_DOCUMENTS, Packer, Plan
from trainer.data.rare import NoteWindow
from trainer.data.shards import Corpus, CorpusError

Place = tuple[int, int, int]
"""(epoch, window, row) of a source's next row."""


@dataclass(frozen=True)
class StreamState:
    """The next row that no batch has held yet. The seed is told by the stream's identity."""

    epoch: int = 0
    window: int = 0
    row: int = 0
    drawn: int = 0
    """Rows of all sources and ranks before it; what schedules over rows go by."""
    others: tuple[Place, ...] = ()
    """Places in the second and further sources of a mixture."""

    def to_json(self) -> dict[str, Any]:
        state: dict[str, Any] = {"epoch": self.epoch, "window": self.window, "row": self.row, "drawn": self.drawn}
        return state | ({"others": [list(place) for place in self.others]} if self.others else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        others = tuple((int(e), int(w), int(r)) for e, w, r in data.get("others", ()))
        return cls(data["epoch"], data["window"], data["row"], data.get("drawn", 0), others)

    @property
    def places(self) -> tuple[Place, ...]:
        return ((self.epoch, self.window, self.row), *self.others)


@dataclass(frozen=True)
class Source:
    """A corpus in a mixture."""

    corpus: Corpus
    weight: float = 1.0
    """Its share of the rows is its weight over the sum of all."""
    epochs: int | None = None
    """Times that it is passed; then the other sources take its place."""


class Stream:
    """Shuffled, packed, masked batches of one corpus or a mixture of several, endless over epochs.

    `batch_rows` rows make a global batch; rank r of `world` gets rows [r * batch_rows / world, (r + 1) * ...).
    `workers` background threads build batches ahead (the kernels release the GIL); they change nothing but the time.
    `weights` changes the sources' weights at rows of the stream: (row, one weight a source), in rising order.
    `curriculum_epochs`: epochs in which short documents come first. With `notes` the batches hold their rare words.

    A state means the same rows as long as `identity()` is the same: batch_rows, workers, rank, world and masking may
    change between two runs.
    Raises ValueError where `world` does not divide `batch_rows`, CorpusError where a source holds no token or sources
    have different vocabularies.
    """

    def __init__(
        self,
        corpus: Corpus | Sequence[Source],
        sequence_length: int,
        batch_rows: int,
        seed: int,
        masking: Masking,
        window_documents: int = WINDOW_DOCUMENTS,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        order: Kind = "full",
        block_documents: int = WINDOW_DOCUMENTS,
        curriculum_epochs: int = 0,
        weights: Sequence[tuple[int, Sequence[float]]] = (),
        notes: NoteWindow | None = None,
    ) -> None:
        if world < 1 or not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes")
        if batch_rows < 1 or batch_rows % world:
            raise ValueError(
                f"batch_rows {batch_rows} cannot be shared by {world} processes: it must be a multiple of {world}"
            )
        if window_documents < 1 or workers < 0:
            raise ValueError(f"window_documents {window_documents} must be 1 or more, workers {workers} 0 or more")
        self.sources = [Source(corpus)] if isinstance(corpus, Corpus) else list(corpus)
        self.corpora = [source.corpus for source in self.sources]
        self.corpus = self.corpora[0]
        for other in self.corpora:
            check_holds_tokens(other)
            if (other.vocabulary_size, other.marks.digest) != (self.corpus.vocabulary_size, self.corpus.marks.digest):
                raise CorpusError(f"{other.directory}: has another vocabulary than {self.corpus.directory}")
        masking.check(self.corpus.marks)
        self.sequence_length = sequence_length
        self.batch_rows = batch_rows
        self.seed = seed
        self.masking = masking
        self.notes = notes
        self.window_documents = window_documents
        self.workers = workers
        self.rank = rank
        self.world = world
        self._settings = {"order": order, "block_documents": block_documents, "curriculum_epochs": curriculum_epochs}
        self.packers = [
            packer(c, _seed(seed, k), sequence_length, window_documents, order, block_documents, curriculum_epochs)
            for k, c in enumerate(self.corpora)
        ]
        self._rows_per_epoch: dict[tuple[int, int], int] = {}
        self._weights = [(0, [source.weight for source in self.sources]), *weights]
        self.mixture: Mixture | None = None
        if len(self.sources) > 1 or self.sources[0].epochs is not None:
            limits = [
                None if source.epochs is None else sum(self.rows_per_epoch(e, k) for e in range(source.epochs))
                for k, source in enumerate(self.sources)
            ]
            self.mixture = Mixture(self._weights, limits)

    @property
    def windows(self) -> int:
        """Windows of an epoch of the first source."""
        return self.packers[0].windows

    def identity(self) -> dict[str, Any]:
        """What a state refers to; a checkpoint keeps it and compares it before it resumes."""
        return {
            "corpus": self.corpus.digest,
            "sequence_length": self.sequence_length,
            "window_documents": self.window_documents,
            "seed": self.seed,
            "marks": self.corpus.marks.digest,
            **self._settings,
            "sources": [[source.corpus.digest, source.epochs] for source in self.sources[1:]],
            "weights": [[row, *map(float, weights)] for row, weights in self._weights] if self.mixture else [],
        }

    def plan(self, epoch: int, window: int, source: int = 0) -> Plan:
        return self.packers[source].plan(epoch, window)

    def rows_per_epoch(self, epoch: int, source: int = 0) -> int:
        """Rows of an epoch of a source, over all ranks. Walks every window once (lengths only), then remembers."""
        if (epoch, source) not in self._rows_per_epoch:
            one = self.packers[source]
            self._rows_per_epoch[epoch, source] = sum(one.rows(epoch, window) for window in range(one.windows))
        return self._rows_per_epoch[epoch, source]

    def steps(self, epochs: int) -> int:
        """Batches until every row of the first `epochs` epochs was used, of the first source where there are several;
        equal on all ranks."""
        rows = sum(map(self.rows_per_epoch, range(epochs)))
        if self.mixture is not None:
            low, high = 0, 1
            while self.mixture.counts(high)[0] < rows and (self.mixture.length is None or high < self.mixture.length):
                low, high = high, 2 * high
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if self.mixture.counts(middle)[0] >= rows else (middle + 1, high)
            rows = low
        return -(-rows // self.batch_rows)

    def batches(self, state: StreamState | None = None) -> Iterator[tuple[Batch, StreamState]]:
        """Endless (batch, state to resume from after it), from `state` on (default: the start).

        Closing the iterator (or dropping it) stops its workers. Raises ValueError for a state outside the corpus, and
        CorpusError, while it goes on, where every source has been passed as often as it may be.
        """
        start = state or StreamState()
        if start == StreamState():
            start = StreamState(others=((0, 0, 0),) * (len(self.sources) - 1))
        if len(start.places) != len(self.sources):
            raise ValueError(f"{start} belongs to another stream: this one has {len(self.sources)} sources")
        if start.drawn < 0:
            raise ValueError(f"{start} belongs to another stream")
        for number, ((epoch, window, row), one) in enumerate(zip(start.places, self.packers, strict=True)):
            if epoch < 0 or not 0 <= window < one.windows or row < 0:
                raise ValueError(
                    f"{start} lies outside an epoch of {one.windows:,} windows: it belongs to another stream"
                )
            if row and row >= (rows := self.packers[number].rows(epoch, window)):
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
            while pending:
                future, done = pending.popleft()
                yield future.result(), done
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _global_batches(self, state: StreamState) -> Iterator[tuple[list[PlanRows], StreamState]]:
        """Global batches as ranges of rows, each with the state after it."""
        cursors = [_Cursor(one, k, state.places[k]) for k, one in enumerate(self.packers)]
        drawn = state.drawn
        while True:
            runs = [(0, self.batch_rows)]
            if self.mixture is not None:
                sources = self.mixture.sources(drawn, self.batch_rows)
                if len(sources) < self.batch_rows:
                    raise CorpusError(
                        f"every source was passed as often as its epochs allow, after {drawn:,} rows; "
                        "set fewer schedule.steps, or more epochs in data.sources"
                    )
                runs = [(int(source), len(list(rows))) for source, rows in groupby(sources)]
            parts: list[PlanRows] = []
            for source, count in runs:
                parts += cursors[source].take(count, drawn)
                drawn += count
            first, *others = (cursor.place for cursor in cursors)
            yield parts, StreamState(*first, drawn, tuple(others))

    def _build(self, parts: list[PlanRows]) -> Batch:
        share = self.batch_rows // self.world
        return collate(
            self.corpora, _slice(parts, self.rank * share, (self.rank + 1) * share), self.masking, self.notes
        )


class _Cursor:
    """Walks the rows of one source."""

    def __init__(self, one: Packer, source: int, place: Place) -> None:
        self._packer, self._source = one, source
        self._epoch, self._window, self._row = place
        self._plan: Plan | None = None

    @property
    def place(self) -> Place:
        return self._epoch, self._window, self._row

    def take(self, count: int, drawn: int) -> list[PlanRows]:
        """The next `count` rows, the first of which is row `drawn` of the stream."""
        parts = []
        while count:
            if self._plan is None:
                self._plan = self._packer.plan(self._epoch, self._window)
                self._packer.fetch_ahead(self._epoch, self._window)
            plan = self._plan
            taken = min(count, plan.rows - self._row)
            if taken:
                parts.append(PlanRows(plan, self._row, self._row + taken, drawn, self._source))
            self._row, count, drawn = self._row + taken, count - taken, drawn + taken
            if self._row >= plan.rows:
                self._plan, self._row = None, 0
                self._epoch, self._window = self._packer.following(self._epoch, self._window)
        return parts


def packer(
    corpus: Corpus,
    seed: int,
    sequence_length: int,
    window_documents: int = WINDOW_DOCUMENTS,
    order: Kind = "full",
    block_documents: int = WINDOW_DOCUMENTS,
    curriculum_epochs: int = 0,
) -> Packer:
    """The packer of a corpus."""
    return Packer(
        lengths=corpus.lengths,
        order=make_order(seed, corpus.lengths, order, block_documents, curriculum_epochs),
        sequence_length=sequence_length,
        marks=corpus.marks,
        token_dtype=corpus.token_dtype,
        locate=corpus.locate,
        window_documents=window_documents,
        wanted_next=corpus.fetch_ahead if corpus.is_remote else None,
    )


def check_holds_tokens(corpus: Corpus) -> None:
    """Raises CorpusError where the split holds no token."""
    if corpus.tokens_total == 0:
        raise CorpusError(
            f"{corpus.directory}/{corpus.split}: no tokens in {corpus.documents:,} documents; "
            "prepare more text, or a larger validation share"
        )


def _seed(seed: int, source: int) -> int:
    """Each source of a mixture has an order and masks of its own; the first has those that it has alone."""
    return key(Purpose.SOURCES, seed, source) if source else seed


def _slice(parts: list[PlanRows], first: int, last: int) -> list[PlanRows]:
    """Rows [first, last) of the rows of `parts`."""
    out, at = [], 0
    for part in parts:
        a, b = max(first - at, 0), min(last - at, len(part))
        if a < b:
            out.append(PlanRows(part.plan, part.first + a, part.first + b, part.drawn + a, part.source))
        at += len(part)
    return out
