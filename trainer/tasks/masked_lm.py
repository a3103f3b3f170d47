"""Masked language modelling (BERT).

Shape suffixes: B rows, T tokens of a row, M predicted positions, D width, V vocabulary.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.model.flops import flops_per_token
from trainer.model.heads import MaskedLMHead
from trainer.tasks.chunks import summed
from trainer.tasks.encode import encode_and_see, encode_at
from trainer.tasks.task import Task, TaskOutput

if TYPE_CHECKING:
    from trainer.data.batch import Batch


HEAD_LOGITS = 1 << 24
"""Logits that are held at once (64 MB in fp32). More predictions go through the head in parts, each run again in the
backward: at 8,192 pieces from 2,048 predictions on."""


class MaskedLM(Task):
    """Predict the original pieces at the masked positions. Reports one part, `masked_lm`: the loss in nats."""

    kind = "masked-lm"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        self.head = MaskedLMHead(config, self.encoder.token_embedding)

    def forward(self, batch: "Batch") -> TaskOutput:
        """Mean cross-entropy over the targets, its softmax in fp32 also under autocast."""
        h_MD, notes_ND = encode_and_see(self.encoder, batch, batch.target_index_M)
        targets = batch.target_M.shape[0]
        total = summed(self._loss_sum, max(1, HEAD_LOGITS // self.config.vocabulary_size), h_MD, batch.target_M)
        # The sum of nothing is zero and keeps its graph, where the mean of nothing would be NaN.
        loss = total / max(targets, 1)
        return TaskOutput(loss, {"masked_lm": loss.detach()}, targets, notes_ND=notes_ND)

    def _loss_sum(self, h_MD: Tensor, target_M: Tensor) -> Tensor:
        """Summed cross-entropy, nats."""
        return F.cross_entropy(self.head(h_MD).float(), target_M, reduction="sum")

    def logits(self, tokens_BT: Tensor, segments_BT: Tensor, positions_BT: Tensor, index_M: Tensor) -> Tensor:
        """logits_MV at the flat positions `index_M` of the B * T tokens; under autocast in its precision."""
        return self.head(self.encoder(tokens_BT, segments_BT, positions_BT, read_M=index_M))

    def fill_logits(self, batch: "Batch") -> Tensor:
        return self.head(encode_at(self.encoder, batch, batch.target_index_M))

    def flops_per_token(self, length: int, predicted_share: float) -> float:
        return flops_per_token(self.config, length, predicted_share)

    def head_logits(self, tokens: int, predicted_share: float) -> int:
        return min(int(tokens * predicted_share) * self.config.vocabulary_size, HEAD_LOGITS)

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
