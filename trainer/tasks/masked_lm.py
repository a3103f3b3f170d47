"""Masked language modelling (BERT).

Shape suffixes: B rows, T tokens of a row, M predicted positions, D width, V vocabulary.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.model.heads import MaskedLMHead
from trainer.tasks.task import TaskOutput

if TYPE_CHECKING:
    from trainer.data.batch import Batch


class MaskedLM(nn.Module):
    """Predict the original pieces at the masked positions. Reports one part, `masked_lm`: the loss in nats."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.head = MaskedLMHead(config, self.encoder.token_embedding)

    def forward(self, batch: "Batch") -> TaskOutput:
        """Mean cross-entropy over the targets, its softmax in fp32 also under autocast."""
        logits_MV = self.logits(batch.tokens_BT, batch.segments_BT, batch.positions_BT, batch.target_index_M)
        targets = batch.target_M.shape[0]
        # The sum of nothing is zero and keeps its graph, where the mean of nothing would be NaN.
        loss = F.cross_entropy(logits_MV.float(), batch.target_M, reduction="sum") / max(targets, 1)
        return TaskOutput(loss, {"masked_lm": loss.detach()}, targets)

    def logits(self, tokens_BT: Tensor, segments_BT: Tensor, positions_BT: Tensor, index_M: Tensor) -> Tensor:
        """logits_MV at the flat positions `index_M` of the B * T tokens; under autocast in its precision."""
        h_BTD = self.encoder(tokens_BT, segments_BT, positions_BT)
        return self.head(h_BTD.flatten(0, 1).index_select(0, index_M))

    @torch.no_grad()
    def set_output_bias(self, log_unigram_V: Tensor) -> None:
        """Start the head's bias at the log frequencies, which saves the steps that would only learn those.

        Raises:
            ValueError: another shape than [vocabulary_size], or a value that is not finite.
        """
        if log_unigram_V.shape != self.head.bias.shape:
            raise ValueError(f"log_unigram has shape {list(log_unigram_V.shape)}, not [{self.config.vocabulary_size}]")
        if not bool(torch.isfinite(log_unigram_V).all()):
            raise ValueError("log_unigram has a value that is not finite: add one to every count before the logarithm")
        self.head.bias.copy_(log_unigram_V)
