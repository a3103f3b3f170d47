"""A few held-out texts with fixed gaps, and what the model fills in as it learns: for people, beside the losses."""

import math
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from schemas.vocabulary import FIRST_ORDINARY, WORD_BOUNDARY
from trainer.config import TrainConfig
from trainer.data.batch import Batch
from trainer.data.held_out import held_out
from trainer.data.rare import NoteWindow
from trainer.data.shards import Corpus
from trainer.log import RunLog, SilentLog
from trainer.precision import autocast
from trainer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from trainer.train import Session

SHOWN = 48
"""Pieces of a text."""
BEFORE = 8
"""Of these, those before its first gap."""


@dataclass(frozen=True)
class Excerpt:
    """A stretch of one document of a row, and its gaps."""

    text: list[str]
    """What stands around the gaps: one more than there are gaps."""
    truths: list[int]
    """The pieces that stood there."""
    targets: range
    """Their numbers among the predicted positions of the batch."""


class Samples:
    """Deterministic: the rows, masks and gaps are the same for ever, whatever the run's seed."""

    def __init__(self, config: TrainConfig, corpus: Corpus, shards: Path, window: NoteWindow | None) -> None:
        """Raises CorpusError, TokenizerError. Without `evaluate.samples` nothing is read and nothing done."""
        self.excerpts: list[Excerpt] = []
        count = config.evaluate.samples
        if not count:
            return
        self.tokenizer = Tokenizer(shards / "vocabulary" / "siliang.model")
        # All of them hidden: a piece that stands there as it was is no gap.
        masking = replace(config.evaluate.masking(config.data.masking()), mask_share=1.0, random_share=0.0)
        (self.batch,) = held_out(corpus, config.data.sequence_length, count, masking, count, notes=window)
        self.excerpts = [
            found for row in range(len(self.batch.tokens_BT)) if (found := _excerpt(self.batch, row, self.tokenizer))
        ]

    @torch.no_grad()
    def fill(self, session: "Session") -> list[dict[str, Any]]:
        """For each excerpt {"sample", "text", "gaps"}; a gap is {"truth", "filled", "probability",
        "truth_probability"}, pieces as SentencePiece writes them. By the average of the weights, where there is one.

        Every process must call it: a sharded model waits for all of them.
        """
        if not self.excerpts:
            return []
        task, averages = session.model, session.trainer.averages
        training = task.training
        task.eval()
        try:
            with averages.in_place() if averages is not None else nullcontext():
                with autocast(session.device, session.precision):
                    logits_MV = task.fill_logits(self.batch.to(session.device))
        finally:
            task.train(training)
        if logits_MV is None:
            return []
        shares_MV = logits_MV.float().softmax(-1).cpu()
        best = shares_MV[:, FIRST_ORDINARY:].max(-1)
        filled = []
        for number, excerpt in enumerate(self.excerpts):
            gaps = [
                asdict(
                    Gap(
                        self.tokenizer.piece(truth),
                        self.tokenizer.piece(int(best.indices[target]) + FIRST_ORDINARY),
                        _finite(float(best.values[target])),
                        _finite(float(shares_MV[target, truth])),
                    )
                )
                for truth, target in zip(excerpt.truths, excerpt.targets, strict=True)
            ]
            filled.append({"sample": number, "text": excerpt.text, "gaps": gaps})
        return filled

    def log(self, session: "Session", log: RunLog | SilentLog) -> None:
        for sample in self.fill(session):
            log.record("sample", session.trainer.step, **sample)


@dataclass(frozen=True)
class Gap:
    truth: str
    filled: str
    """The likeliest ordinary piece."""
    probability: float | None
    truth_probability: float | None


def _finite(value: float) -> float | None:
    """JSON has no NaN, which a model that diverged gives."""
    return round(value, 5) if math.isfinite(value) else None


def _excerpt(batch: Batch, row: int, tokenizer: Tokenizer) -> Excerpt | None:
    """Around the first gap of a row, within its document; None for a row without one."""
    width = batch.tokens_BT.shape[1]
    index = batch.target_index_M.tolist()
    mine = [target for target, place in enumerate(index) if place // width == row]
    if not mine:
        return None
    first = index[mine[0]] % width
    segments = batch.segments_BT[row].tolist()
    places = [place for place, segment in enumerate(segments) if segment == segments[first]]
    # Without [CLS] and [SEP] at the ends.
    start = max(places[1], first - BEFORE)
    end = min(places[-1], start + SHOWN)
    gaps = [target for target in mine if start <= index[target] % width < end]
    edges = [start - 1, *(index[target] % width for target in gaps), end]
    tokens = batch.tokens_BT[row].tolist()
    text = [_text(tokens[a + 1 : b], tokenizer) for a, b in pairwise(edges)]
    return Excerpt(text, batch.target_M[gaps[0] : gaps[-1] + 1].tolist(), range(gaps[0], gaps[-1] + 1))


def _text(ids: list[int], tokenizer: Tokenizer) -> str:
    """Decoded, with the space that the first piece begins with."""
    space = " " if ids and tokenizer.piece(ids[0]).startswith(WORD_BOUNDARY) else ""
    return space + tokenizer.decode(ids)
