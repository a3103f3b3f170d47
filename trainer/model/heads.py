"""What is predicted from hidden states.

Shape suffixes: M predicted positions, D width, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import NORM_EPSILON, ModelConfig
from trainer.model.encoder import initialise


def widened(values: Tensor) -> Tensor:
    """At least fp32, for sums and softmax."""
    return values if values.dtype == torch.float64 else values.float()


class MaskedLMHead(nn.Module):
    """dense, GELU, layer norm, then the token embeddings as output matrix, and a bias per piece (BERT)."""

    def __init__(self, config: ModelConfig, token_embedding: nn.Embedding) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))
        # In a tuple so that the tied matrix is a parameter of the encoder alone and stands once in a checkpoint.
        self._token_embedding = (token_embedding,)
        initialise(self, config.init_std)

    def forward(self, h_MD: Tensor) -> Tensor:
        """logits_MV; only the rows to be predicted are worth their 2 D V operations."""
        return F.linear(self.norm(F.gelu(self.dense(h_MD))), self._token_embedding[0].weight, self.bias)
