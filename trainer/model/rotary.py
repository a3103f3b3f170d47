"""Rotary position embeddings (RoPE): Su et al. 2021, arXiv 2104.09864; base 10,000.

Shape suffixes: B rows, T tokens of a row, C head width, R = C / 2 planes, L max_length.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.model.config import ModelConfig
from trainer.model.term import Positions, PositionTerm, Rotation

BASE = 10_000.0


class RotaryPositions(Positions):
    """Query and key features 2 r and 2 r + 1 turn by position * BASE^(-2 r / C), so that scores depend on distances.

    These are the paper's pairs; GPT-NeoX and Llama pair r with r + C/2, the same but for the order of features. The
    table is made in fp64 once and held in fp32: angles computed in fp32 are off by 5e-4 at position 8,192.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        planes = config.head_width // 2
        rate_R = BASE ** (-torch.arange(planes, dtype=torch.float64) / planes)
        angle_LR = torch.arange(config.max_length, dtype=torch.float64)[:, None] * rate_R
        held = torch.get_default_dtype()
        self.cos_LR: Tensor
        self.sin_LR: Tensor
        self.register_buffer("cos_LR", angle_LR.cos().to(held), persistent=False)
        self.register_buffer("sin_LR", angle_LR.sin().to(held), persistent=False)

    def term(self, positions_BT: Tensor, dtype: torch.dtype) -> PositionTerm:
        """By positions, which restart in each document, although a document's scores would be the same by row."""
        cos, sin = (F.embedding(positions_BT, table)[:, None] for table in (self.cos_LR, self.sin_LR))
        return PositionTerm(rotation=Rotation(cos, sin))
