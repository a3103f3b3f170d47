"""Replaced-token detection (ELECTRA: Clark et al., ICLR 2020), with the controller as its generator.

Shape suffixes: N positions that are not padding, D width of the encoder.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import ModelConfig
from trainer.model.encoder import initialise
from trainer.model.flops import BACKWARD
from trainer.model.heads import widened
from trainer.sections.task import TaskConfig
from trainer.tasks.corruption import CorruptionTask
from trainer.tasks.encode import encode, seen
from trainer.tasks.task import TaskOutput

if TYPE_CHECKING:
    from trainer.data.batch import Batch


class BinaryHead(nn.Module):
    """dense, GELU, one logit (ELECTRA's `get_discriminator_predictions`)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.score = nn.Linear(config.width, 1)
        initialise(self, config.init_std)

    def forward(self, h_ND: Tensor) -> Tensor:
        """logit_N; above zero: replaced."""
        return self.score(F.gelu(self.dense(h_ND))).squeeze(-1)


class ReplacedToken(CorruptionTask):
    """At every position but padding: is the piece another than the original (label 1)? A draw that happens to be right
    counts as original.

    Parts beside those of `CorruptionTask`: `replaced_accuracy` and `unreplaced_accuracy`.
    """

    kind = "replaced-token"
    shown = ("replaced_accuracy", "unreplaced_accuracy")

    def __init__(self, config: ModelConfig, task: TaskConfig, seed: int = 0, mask_rate: float = 0.15) -> None:
        super().__init__(config, task, seed, mask_rate)
        self.head = BinaryHead(config)

    def forward(self, batch: "Batch") -> TaskOutput:
        corrupted = self.corrupt(batch)
        h_BTD = encode(self.encoder, batch, corrupted.tokens_BT)
        h_ND = h_BTD.flatten(0, 1).index_select(0, corrupted.index_N)
        logit_N = widened(self.head(h_ND))
        replaced_N = (corrupted.tokens_BT != corrupted.original_BT).flatten().index_select(0, corrupted.index_N)
        total = F.binary_cross_entropy_with_logits(logit_N, replaced_N.to(logit_N.dtype), reduction="sum")
        correct_N = (logit_N.detach() > 0) == replaced_N
        replaced, unreplaced = replaced_N.sum(), (~replaced_N).sum()
        parts = {
            "replaced_accuracy": (correct_N & replaced_N).sum() / replaced.clamp(min=1),
            "unreplaced_accuracy": (correct_N & ~replaced_N).sum() / unreplaced.clamp(min=1),
        }
        part_counts: dict[str, Tensor | int] = {"replaced_accuracy": replaced, "unreplaced_accuracy": unreplaced}
        return self.output(
            corrupted, total / max(len(logit_N), 1), batch.target_M.shape[0], parts, part_counts, seen(h_BTD, batch)
        )

    def flops_per_token(self, length: int, predicted_share: float) -> float:
        d = self.config.width
        return self.corruption_flops(length, predicted_share) + (1 + BACKWARD) * 2 * (d * d + d)
