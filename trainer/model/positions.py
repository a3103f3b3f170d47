"""Where a token stands: embeddings in the input, or TUPE's untied positional scores.

Shape suffixes: B rows, T tokens of a row, D width, H heads, C head width, F position features, L max_length.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import NORM_EPSILON, ModelConfig
from trainer.model.term import PositionFeatures, Positions, PositionTerm

CLS_POSITION = 0
"""Every document begins with [CLS] at position 0, also inside a packed row."""


class AbsolutePositions(Positions):
    """Learned embeddings, added to the token embeddings before the embedding norm (BERT)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.max_length, config.width)

    def forward(self, positions_BT: Tensor) -> Tensor:
        """positions in [0, max_length) -> embeddings_BTD."""
        return self.embedding(positions_BT)

    def added(self, positions_BT: Tensor) -> Tensor:
        return self(positions_BT)


def sinusoids(length: int, width: int) -> Tensor:
    """table_LD: sin and cos of position / 10,000^(2 c / D) side by side (Vaswani et al. 2017), each in [-1, 1]."""
    rate = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width].to(torch.get_default_dtype())


class SinusoidalPositions(Positions):
    """`sinusoids` times one learned number (as in Cramming, Geiping and Goldstein 2022), which starts so that the root
    mean square is `position_std`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.table_LD: Tensor
        self.register_buffer("table_LD", sinusoids(config.max_length, config.width), persistent=False)
        # One element, not none: FSDP2 shards no scalars. The mean of sin^2 + cos^2 over a pair is 1/2.
        self.scale = nn.Parameter(torch.full((1,), 2**0.5 * (config.position_std or config.init_std)))

    def added(self, positions_BT: Tensor) -> Tensor:
        return F.embedding(positions_BT, self.table_LD) * self.scale


class TupeAbsolutePositions(Positions):
    """TUPE-A (Ke et al. 2021, eq. 7 and 10; the released code for biases and the norm), one set for all layers.

    With q_i = LN(p_i) U^Q + b^Q and k_j = LN(p_j) U^K + b^K per head, the score between positions i and j is

        q_i . k_j    between two ordinary tokens
        theta_2      from any token to [CLS] (j = 0), one number per head
        theta_1      from [CLS] (i = 0) to any token

    all over sqrt(2 C), as the content scores are. theta_2 = q_0 . k_0: row 0 of p serves for that alone, as row 1 does
    in the released code. theta_1 is the same number along a whole row of scores, which softmax removes, so it has
    neither effect nor gradient; this module leaves it out (the released code keeps a parameter for it).

    The score is a product, hence features instead of a bias tensor: C from the projection, and one that unties [CLS]
    (1 in every ordinary query, theta_2 in the key of [CLS]; everything else of [CLS] is zero). Zeros fill up to a head
    width that is a multiple of 8, which the CUDA kernels ask for.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.head_width = config.head_width
        self.embedding = nn.Embedding(config.max_length, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.fill = -(2 * config.head_width + 1) % 8

    @torch.no_grad()
    def start_smooth(self) -> None:
        """The table as sinusoids of full size: neighbouring positions begin alike, so that what one position learns
        serves those beside it. At the size of `init_std` an optimiser's first steps would undo it."""
        self.embedding.weight.copy_(sinusoids(*self.embedding.weight.shape))

    @property
    def features(self) -> int:
        """F: features per head."""
        return self.head_width + 1 + self.fill

    def term(self, positions_BT: Tensor, dtype: torch.dtype) -> PositionTerm:
        return PositionTerm(features=self(positions_BT, dtype))

    def projections(self, length: int | None = None) -> tuple[Tensor, Tensor]:
        """(query_LHC, key_LHC): q_i and k_j of the formula above, [CLS] not yet untied; of the first `length` positions
        where told."""
        p_LD = self.norm(self.embedding.weight[:length])
        shape = (-1, self.heads, self.head_width)
        return self.query(p_LD).view(shape), self.key(p_LD).view(shape)

    def forward(self, positions_BT: Tensor, dtype: torch.dtype | None = None) -> PositionFeatures:
        """Features of every token by its position in its own document; packed rows need nothing more.

        The table is projected once, in the weights' own precision also under autocast (it is a few rows), then gathered
        and cast to `dtype`. Positions count from 0 inside the row, so T rows of it are all that can be asked for: of 30
        tokens and a table of 512 positions, the whole of it took longer than two layers of width 256.
        """
        with torch.autocast(positions_BT.device.type, enabled=False):
            query_LHC, key_LHC = self.projections(positions_BT.shape[1])
            theta_H1 = (query_LHC[CLS_POSITION] * key_LHC[CLS_POSITION]).sum(-1, keepdim=True)
            cls_LH1 = torch.zeros_like(query_LHC[..., :1])
            cls_LH1[CLS_POSITION] = 1
            query_LHF = torch.cat([query_LHC * (1 - cls_LH1), F.pad(1 - cls_LH1, (0, self.fill))], -1)
            key_LHF = torch.cat([key_LHC * (1 - cls_LH1), F.pad(theta_H1 * cls_LH1, (0, self.fill))], -1)
            table_LE = torch.stack([query_LHF, key_LHF], 1).flatten(1)
            rows_BTE = F.embedding(positions_BT, table_LE.to(dtype or table_LE.dtype))
        both = rows_BTE.unflatten(-1, (2, self.heads, self.features)).permute(2, 0, 3, 1, 4).contiguous()
        return PositionFeatures(*both.unbind())
