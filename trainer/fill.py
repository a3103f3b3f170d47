"""Fills the [MASK]s of texts: the likeliest pieces with their probabilities.

Shape suffixes: B rows, T positions, M masks, D width, V vocabulary.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from schemas.vocabulary import CLS, FIRST_ORDINARY, MASK, SEP
from trainer.finetune.examples import Example, collate, scoring_batches
from trainer.finetune.table import Row
from trainer.run import RunDirectory, load_model
from trainer.tasks.masked_lm import HEAD_LOGITS, MaskedLM
from trainer.tokenizer import MASK_TEXT, Tokenizer

CHUNK = 256
"""Texts that are held, so that those of like length can share a batch."""
BATCH_TOKENS = 1 << 13


class FillError(ValueError):
    """The text cannot be filled; the message says why."""


@dataclass(frozen=True)
class Candidate:
    piece: str
    """SentencePiece piece; '▁' stands for a space before it."""
    token_id: int
    probability: float


Gaps = list[list[Candidate]]
"""For each [MASK] of a text, in order, the likeliest ordinary pieces, likeliest first."""


class Filler:
    """A run's masked LM, ready to fill.

    Raises FillError for a run of a task without a masked-LM head, RunError and CheckpointError where it holds no model.
    """

    def __init__(self, run: str | Path, top: int = 5) -> None:
        model = load_model(run)
        if not isinstance(model, MaskedLM):
            raise FillError(
                f"{run}: was trained on {model.kind}, which leaves no masked-LM head; only masked-lm runs fill"
            )
        self.model, self.top = model, top
        self.tokenizer = Tokenizer(RunDirectory(run).vocabulary)

    def fill(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Gaps]]:
        """Each row with its gaps, in order; memory does not grow with the input. A gap is predicted with the others of
        its text still masked.

        Raises FillError for a text without [MASK] or one too long, naming the row.
        """
        rows = iter(rows)
        while chunk := list(islice(rows, CHUNK)):
            examples = [self._encode(row) for row in chunk]
            found: list[Gaps] = [[] for _ in chunk]
            for numbers in scoring_batches(examples, BATCH_TOKENS):
                batch = collate(examples, numbers, self.model.config.max_length)
                gaps = self._gaps(batch.tokens_BT, batch.segments_BT, batch.positions_BT, batch.index_M)
                for k in numbers:
                    found[k] = list(islice(gaps, len(examples[k].at)))
            yield from zip(chunk, found, strict=True)

    def _encode(self, row: Row) -> Example:
        if isinstance(row.text, list):
            raise FillError(f"{row.where}: the text is a list; plain text is wanted")
        where = f"{row.where}: " if row.where else ""
        if MASK_TEXT not in row.text:
            raise FillError(f"{where}the text has no {MASK_TEXT}; write one where a word is wanted")
        ids = [CLS, *self.tokenizer.encode_masked(row.text), SEP]
        if len(ids) > self.model.config.max_length:
            raise FillError(f"{where}the text has {len(ids)} tokens; this model reads {self.model.config.max_length}")
        return Example(ids, [place for place, token in enumerate(ids) if token == MASK], [])

    @torch.inference_mode()
    def _gaps(
        self, tokens_BT: Tensor, segments_BT: Tensor, positions_BT: Tensor, index_M: Tensor
    ) -> Iterator[list[Candidate]]:
        h_BTD = self.model.encoder(tokens_BT, segments_BT, positions_BT)
        h_MD = h_BTD.flatten(0, 1).index_select(0, index_M)
        answers: list[list[Candidate]] = []
        for part_MD in h_MD.split(max(1, HEAD_LOGITS // self.model.config.vocabulary_size)):
            probabilities_MV = self.model.head(part_MD).float().softmax(-1)[:, FIRST_ORDINARY:]
            best = probabilities_MV.topk(min(self.top, probabilities_MV.shape[1]))
            for tokens, values in zip(best.indices.tolist(), best.values.tolist(), strict=True):
                answers.append(
                    [
                        Candidate(self.tokenizer.piece(token + FIRST_ORDINARY), token + FIRST_ORDINARY, value)
                        for token, value in zip(tokens, values, strict=True)
                    ]
                )
        return iter(answers)


def fill(run: str | Path, text: str, top: int = 5) -> Gaps:
    """The gaps of one text. Raises what `Filler` raises."""
    ((_, gaps),) = Filler(run, top).fill([Row("", text)])
    return gaps
