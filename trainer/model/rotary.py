"""Rotary position embeddings (RoPE): Su et al. 2021, arXiv 2104.09864; base 10,000, GPT-NeoX's order of pairs.

Shape suffixes: B rows, T tokens of a row, C head width, L max_length.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.model.config import ModelConfig
from trainer.model.term import Positions, PositionTerm, Rotation

BASE = 10_000.0


class RotaryPositions(Positions):
    """Query and key features c and c + C/2 turn by position * BASE^(-2 c / C), so that scores depend on distances.

    The table is made in fp64 once and held in fp32: angles computed in fp32 are off by 5e-4 at position 8,192.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        half = config.head_width // 2
        rate = BASE ** (-torch.arange(half, dtype=torch.float64) / half)
        angle_LC = (torch.arange(config.max_length, dtype=torch.float64)[:, None] * rate).repeat(1, 2)
        sign_C = torch.ones(2 * half, dtype=torch.float64)
        sign_C[:half] = -1
        held = torch.get_default_dtype()
        self.cos_LC: Tensor
        self.sin_LC: Tensor
        self.register_buffer("cos_LC", angle_LC.cos().to(held), persistent=False)
        self.register_buffer("sin_LC", (angle_LC.sin() * sign_C).to(held), persistent=False)

    def term(self, positions_BT: Tensor, dtype: torch.dtype) -> PositionTerm:
        """By positions, which restart in each document, although a document's scores would be the same by row."""
        cos, sin = (F.embedding(positions_BT, table)[:, None] for table in (self.cos_LC, self.sin_LC))
        return PositionTerm(rotation=Rotation(cos, sin))
