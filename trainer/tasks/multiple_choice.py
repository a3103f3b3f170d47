"""Multiple choice with a meta controller (MC-BERT: Xu et al. 2020, arXiv 2006.05744).

Shape suffixes: B rows, T tokens of a row, N positions that are not padding, C width of the controller, E one more,
D width of the encoder, K candidates, V vocabulary.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.vocabulary import FIRST_ORDINARY, NEITHER
from trainer.model.config import NORM_EPSILON, ModelConfig
from trainer.model.encoder import initialise
from trainer.model.flops import BACKWARD
from trainer.model.heads import widened
from trainer.sections.task import TaskConfig
from trainer.tasks.candidates import NEITHER_SLOT, choices, draw_distinct, draw_with_replacement, row_noise
from trainer.tasks.chunks import summed
from trainer.tasks.corruption import Corrupted, CorruptionTask
from trainer.tasks.encode import encode, seen
from trainer.tasks.task import TaskOutput

if TYPE_CHECKING:
    from trainer.data.batch import Batch

CANDIDATE_NUMBERS = 1 << 24
"""Of candidates' embeddings that are held at once (64 MB in fp32)."""


class ChoiceHead(nn.Module):
    """dense, GELU, layer norm, then the dot product with each candidate's token embedding, and a bias per piece."""

    def __init__(self, config: ModelConfig, table: nn.Embedding) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))
        self._table = (table,)
        initialise(self, config.init_std)

    def forward(self, h_ND: Tensor, candidates_NK: Tensor) -> Tensor:
        """scores_NK, fp32. Slot 0 must be `<neither>`: one row of the table, looked up once."""
        x_ND = self.norm(F.gelu(self.dense(h_ND)))
        table = self._table[0].weight
        neither_N1 = x_ND @ table[NEITHER][:, None]
        others_NJD = F.embedding(candidates_NK[:, 1:], table)
        others_NJ = torch.bmm(others_NJD, x_ND.to(others_NJD.dtype)[:, :, None]).squeeze(-1)
        scores_NK = torch.cat([widened(neither_N1), widened(others_NJ)], 1)
        return scores_NK + F.embedding(candidates_NK, self.bias[:, None]).squeeze(-1)


class MultipleChoice(CorruptionTask):
    """At every position but padding, choose among K candidates: `<neither>` where the piece that stands there is the
    original one, else the original. The reject option is the reserved piece [NEITHER] and its token embedding.

    Parts beside those of `CorruptionTask`: `replaced_accuracy` and `unreplaced_accuracy` (by whether the input is the
    original; a draw that happens to be right counts as unreplaced), `neither_share` (of all positions, chosen as
    `<neither>`: near 1 with a low replaced accuracy is the collapse).
    """

    kind = "multiple-choice"
    shown = ("replaced_accuracy", "neither_share")

    def __init__(self, config: ModelConfig, task: TaskConfig, seed: int = 0, mask_rate: float = 0.15) -> None:
        super().__init__(config, task, seed, mask_rate)
        ordinary = config.vocabulary_size - FIRST_ORDINARY
        if task.candidates + 1 > ordinary:
            raise ValueError(f"task.candidates ({task.candidates}) must be below the {ordinary} ordinary pieces")
        self.head = ChoiceHead(config, self.encoder.token_embedding)

    def forward(self, batch: "Batch") -> TaskOutput:
        corrupted = self.corrupt(batch)
        candidates_NK, label_N = self.propose(batch, corrupted)
        h_BTD = encode(self.encoder, batch, corrupted.tokens_BT)
        h_ND = h_BTD.flatten(0, 1).index_select(0, corrupted.index_N)
        count = corrupted.index_N.shape[0]
        part = max(1, CANDIDATE_NUMBERS // (candidates_NK.shape[1] * self.config.width))
        sums = summed(self._sums, part, h_ND, candidates_NK, label_N)
        replaced = (label_N != NEITHER_SLOT).sum()
        unreplaced = count - replaced
        right_replaced, right_unreplaced, neither = sums.detach()[1:]
        parts = {
            "replaced_accuracy": right_replaced / replaced.clamp(min=1),
            "unreplaced_accuracy": right_unreplaced / unreplaced.clamp(min=1),
            "neither_share": neither / max(count, 1),
        }
        part_counts: dict[str, Tensor | int] = {"replaced_accuracy": replaced, "unreplaced_accuracy": unreplaced}
        return self.output(
            corrupted, sums[0] / max(count, 1), batch.target_M.shape[0], parts, part_counts, seen(h_BTD, batch)
        )

    def _sums(self, h_ND: Tensor, candidates_NK: Tensor, label_N: Tensor) -> Tensor:
        """[cross-entropy in nats, right answers at replaced positions, at the others, answers `<neither>`]."""
        scores_NK = self.head(h_ND, candidates_NK)
        loss = F.cross_entropy(scores_NK, label_N, reduction="sum")
        with torch.no_grad():
            chosen_N1 = candidates_NK.gather(1, scores_NK.argmax(1, keepdim=True))
            # By piece: with replacement the original may stand in two slots.
            right_N = (chosen_N1 == candidates_NK.gather(1, label_N[:, None])).flatten()
            replaced_N = label_N != NEITHER_SLOT
            counts = [(right_N & replaced_N).sum(), (right_N & ~replaced_N).sum(), (chosen_N1 == NEITHER).sum()]
        return torch.stack([loss, *(number.to(loss.dtype) for number in counts)])

    @torch.compiler.disable
    @torch.no_grad()
    def propose(self, batch: "Batch", corrupted: Corrupted) -> tuple[Tensor, Tensor]:
        """(candidates_NK, label_N) at all positions but padding; logits are held for a part of them at a time.

        Distinct candidates come likeliest first, so that fewer of them are a subset.
        """
        assert batch.draws_BT is not None
        bits_BT, index_N = batch.draws_BT, corrupted.index_N
        length, vocabulary = bits_BT.shape[1], self.config.vocabulary_size
        input_N = corrupted.tokens_BT.flatten()[index_N]
        original_N = corrupted.original_BT.flatten()[index_N]
        count = int(self.steered("candidates", self.settings.candidates)) - 1
        distinct = self.settings.sampling == "distinct"
        noise = row_noise(bits_BT[:, 0], vocabulary, length) if distinct else None
        part = self.sampling_part(index_N.device)
        drawn = []
        all_NE, matrix_EV = self.sampling_factors(corrupted.x_NC, corrupted.matrix_VC)
        for x_NE, place_N, input_, original in zip(
            all_NE.split(part), index_N.split(part), input_N.split(part), original_N.split(part), strict=True
        ):
            if noise is None:
                logits_NV = x_NE.new_zeros(len(x_NE), vocabulary).addmm_(x_NE, matrix_EV)
                drawn.append(draw_with_replacement(logits_NV, bits_BT.flatten()[place_N], count))
            else:
                scores_NV = noise[place_N // length, place_N % length].addmm_(x_NE, matrix_EV)
                drawn.append(draw_distinct(scores_NV, count, input_, original))
        return choices(torch.cat(drawn), input_N, original_N)

    def flops_per_token(self, length: int, predicted_share: float) -> float:
        """With the candidates' logits, forward."""
        d, c = self.config.width, self.controller.config.width
        head = (1 + BACKWARD) * 2 * (d * d + self.settings.candidates * d)
        return self.corruption_flops(length, predicted_share) + head + 2 * c * self.config.vocabulary_size
