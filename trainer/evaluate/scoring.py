"""Log probabilities of masked pieces: many masked copies of many texts in one forward, in fp32.

Shape suffixes: B rows, T tokens of a row, M scored positions, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.vocabulary import CLS, FIRST_ORDINARY, MASK, SEP
from trainer.evaluate.words import Unit
from trainer.model.config import ModelConfig

BATCH_TOKENS = 8192
MOST_LOGITS = 1 << 24
"""64 MB in fp32."""


class MaskedModel(Protocol):
    """A masked language model, whatever it was trained as (`trainer.evaluate.probe` makes one of any encoder)."""

    config: ModelConfig

    def logits(self, tokens_BT: Tensor, segments_BT: Tensor, positions_BT: Tensor, index_M: Tensor) -> Tensor: ...


class Query(NamedTuple):
    """What is the probability of `target` at `position` of a row?"""

    row: tuple[int, ...]
    """[CLS] ... [SEP] with its [MASK]s."""
    position: int
    target: int


@dataclass(frozen=True)
class PieceScores:
    """One entry for each query."""

    log_probability: NDArray[np.float64]
    """Natural logarithm, over the whole vocabulary."""
    rank: NDArray[np.int64]
    """Ordinary pieces that are likelier: 0 is the best."""

    def sums(self, sizes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """Summed log probabilities of runs of queries."""
        ends = np.cumsum(sizes)
        total = np.concatenate([[0.0], np.cumsum(self.log_probability)])
        return total[ends] - total[ends - np.asarray(sizes, dtype=np.int64)]


def masked_copies(ids: Sequence[int], units: Sequence[Unit]) -> list[Query]:
    """PLL-word-l2r (Kauf and Ivanova 2023, arXiv 2305.10588): each piece is asked for with itself and the pieces of its
    word to the right masked, so that a long word's later pieces do not give its first ones away."""
    row = [CLS, *ids, SEP]
    queries = []
    for unit in units:
        for at in range(unit.start, unit.end):
            masked = row[: 1 + at] + [MASK] * (unit.end - at) + row[1 + unit.end :]
            queries.append(Query(tuple(masked), 1 + at, ids[at]))
    return queries


@torch.inference_mode()
def score(model: MaskedModel, queries: Sequence[Query], batch_tokens: int = BATCH_TOKENS) -> PieceScores:
    """Rows of equal length share a batch, so there is no padding; equal rows are computed once, so equal questions have
    exactly equal answers."""
    device = next(model.parameters()).device  # type: ignore[attr-defined]
    order = sorted(range(len(queries)), key=lambda k: (len(queries[k].row), queries[k].row))
    scores = PieceScores(np.zeros(len(queries)), np.zeros(len(queries), dtype=np.int64))
    most_targets = max(1, MOST_LOGITS // model.config.vocabulary_size)
    first = 0
    while first < len(order):
        length = len(queries[order[first]].row)
        rows: list[tuple[int, ...]] = []
        index: list[int] = []
        last = first
        while last < len(order) and len(index) < most_targets:
            query = queries[order[last]]
            new = not rows or query.row != rows[-1]
            if len(query.row) != length or (new and rows and (len(rows) + 1) * length > batch_tokens):
                break
            if new:
                rows.append(query.row)
            index.append((len(rows) - 1) * length + query.position)
            last += 1
        tokens_BT = torch.tensor(rows, device=device)
        positions_BT = torch.arange(length, device=device).expand_as(tokens_BT)
        with torch.autocast(device.type, enabled=False):
            logits = model.logits(tokens_BT, torch.ones_like(tokens_BT), positions_BT, torch.tensor(index).to(device))
        target_M = torch.tensor([queries[k].target for k in order[first:last]], device=device)
        logs, ranks = piece_scores(logits, target_M)
        scores.log_probability[order[first:last]] = logs.cpu().numpy()
        scores.rank[order[first:last]] = ranks.cpu().numpy()
        first = last
    return scores


def piece_scores(logits_MV: Tensor, target_M: Tensor) -> tuple[Tensor, Tensor]:
    """(log probabilities, ranks among ordinary pieces) of the targets."""
    logits_MV = logits_MV.float()
    target_M1 = logits_MV.gather(1, target_M[:, None])
    logs_M = (target_M1[:, 0] - logits_MV.logsumexp(1)).double()
    return logs_M, (logits_MV[:, FIRST_ORDINARY:] > target_M1).sum(1)
