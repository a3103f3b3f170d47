"""The meta controller: a small masked language model that shares the main encoder's token embeddings.

Shape suffixes: B rows, T tokens of a row, M positions, D width of the main encoder, C width of the controller,
V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import NORM_EPSILON, ModelConfig
from trainer.model.encoder import Encoder, initialise
from trainer.model.heads import widened


class ProjectedEmbedding(nn.Module):
    """Another encoder's token embeddings through a linear map. The table stays a parameter of its owner alone."""

    def __init__(self, table: nn.Embedding, width: int) -> None:
        super().__init__()
        self._table = (table,)
        self.projection = nn.Linear(table.embedding_dim, width)
        # Keeps the embeddings' scale. The released code's N(0, 0.02) shrinks them to a quarter at width 128, and the
        # controller's logits with them.
        nn.init.normal_(self.projection.weight, std=table.embedding_dim**-0.5)
        nn.init.zeros_(self.projection.bias)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return self.projection(self._table[0](tokens_BT))

    def matrix(self) -> Tensor:
        """All of it, e_VC."""
        return self.projection(self._table[0].weight)


class MetaController(nn.Module):
    """MC-BERT's (Xu et al. 2020; `models/mcbert/model.py`), which is ELECTRA's generator: the same linear map, bias
    included, leads from the shared embeddings into it and makes its output matrix. Its output bias is its own; the
    released code shares one with the main network, whose scores a start at log frequencies would harm."""

    def __init__(self, config: ModelConfig, table: nn.Embedding) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.encoder.token_embedding = ProjectedEmbedding(table, config.width)  # type: ignore[assignment]
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))
        initialise(self.dense, config.init_std)

    def matrix(self) -> Tensor:
        """The output matrix, e_VC."""
        embedding = self.encoder.token_embedding
        assert isinstance(embedding, ProjectedEmbedding)
        return embedding.matrix()

    def features(self, h_MC: Tensor) -> Tensor:
        """x_MC, to be multiplied with the output matrix."""
        return self.norm(F.gelu(self.dense(h_MC)))

    def logits(self, x_MC: Tensor, matrix_VC: Tensor) -> Tensor:
        """logits_MV, at least fp32. `matrix_VC` is `matrix()`, made once a forward."""
        return widened(F.linear(x_MC, matrix_VC, self.bias))
