"""From a config and places on disk or elsewhere to corpora and their stream."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.data.rare import NoteWindow
from trainer.data.remote import RemoteCorpus, is_remote
from trainer.data.shards import Corpus, CorpusError, Split
from trainer.data.stream import Source, Stream

if TYPE_CHECKING:
    from trainer.sections.data import DataConfig

GB = 10**9


class Shards:
    """The prepared corpora that a run is trained on: those of the command line, then those of `[[data.sources]]`.

    `directories` holds each one's local directory (of a remote one its mirror): the first has the run's vocabulary.
    Raises ManifestError and CorpusError.
    """

    def __init__(self, places: str | Path | Sequence[str | Path], config: "DataConfig") -> None:
        places = [places] if isinstance(places, str | Path) else places
        told = {source.path: source for source in config.sources}
        every = [*dict.fromkeys([*map(str, places), *told])]
        if not every:
            raise CorpusError("no shards: name the output of `siliang-pipeline prepare`")
        self.config = config
        cache = Path(config.cache).expanduser()
        self._opened: list[Path | RemoteCorpus] = [
            RemoteCorpus(place, cache, int(config.cache_gb * GB)) if is_remote(place) else Path(place)
            for place in every
        ]
        self._settings = [told.get(place) for place in every]
        self._corpora: dict[Split, list[Corpus]] = {}
        self.directories = [o.directory if isinstance(o, RemoteCorpus) else o for o in self._opened]

    def corpora(self, split: Split) -> list[Corpus]:
        """One split of each corpus, opened once."""
        if split not in self._corpora:
            self._corpora[split] = [Corpus(opened, split) for opened in self._opened]
        return self._corpora[split]

    def train(self) -> list[Source]:
        """Training splits with weights: those of the config; where it has none, epochs times tokens."""
        sources = []
        for corpus, told in zip(self.corpora("train"), self._settings, strict=True):
            if corpus.is_remote and self.config.order == "full" and corpus.bytes > self.config.cache_gb * GB:
                raise CorpusError(
                    f"{corpus.directory}: {corpus.bytes / GB:.1f} GB of shards; in a full order each batch needs all "
                    f"of them, and the cache holds {self.config.cache_gb} GB: raise data.cache_gb, or set "
                    "data.order = 'blocks'"
                )
            epochs = told.epochs if told is not None else None
            weight = told.weight if told is not None and told.weight is not None else None
            if weight is None:
                weight = float(corpus.tokens_total * (epochs or 1))
            sources.append(Source(corpus, weight, epochs))
        return sources

    def stream(
        self, seed: int, batch_rows: int, rank: int = 0, world: int = 1, notes: NoteWindow | None = None
    ) -> Stream:
        """The stream of the training splits; `batch_rows` over all ranks."""
        data = self.config
        schedule = [(change.step * data.batch_rows, change.weights) for change in data.weights]
        return Stream(
            self.train(), data.sequence_length, batch_rows, seed, data.masking(), data.window_documents, data.workers,
            rank, world, data.order, data.block_documents, data.curriculum_epochs, schedule, notes,
        )  # fmt: skip


def corpora_identity(corpora: Sequence[Corpus]) -> Any:
    """What tells corpora apart by content: the digest of one, the digests of several."""
    digests = [corpus.digest for corpus in corpora]
    return digests[0] if len(digests) == 1 else digests
