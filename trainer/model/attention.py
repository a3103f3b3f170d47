"""Self-attention inside documents, by the fastest exact path for the positional term.

Shape suffixes: B rows, T tokens of a row, D width, H heads, C head width, F position features, N = B * H.

The paths give the same result (the tests compare values and gradients):

- "concat": [q; q_pos] and [k; k_pos] go into a fused kernel, the documents' mask is a constant. Memory linear in T.
- "mask": the positional scores [B, H, T, T] are made once a forward, shared by all layers, and added to the content
  scores. On CUDA by SDPA (memory-efficient kernel). On CPU, where SDPA with a mask that needs a gradient falls back to
  its math kernel, two batched products and a softmax do the same with fewer copies.
- "sdpa": no positional term in the attention (absolute positions); the fused kernel with the documents' mask.
- "reference": the literal, slow construction of `trainer.model.reference`.

Measured on one thread of an AMD EPYC with AVX-512-BF16 (torch 2.13): milliseconds forward + backward of the attention
of 4 layers (2 layers from T = 1024), packed rows. "written" is the CPU form of "mask"; "absolute" carries no term.

    B, T, H, C           precision | TUPE: concat   SDPA mask   written | absolute: sdpa   written
    16,   64,  4, 32     fp32      |         16.7        11.1      10.0 |            7.4         -
    16,   64,  4, 32     bf16      |         31.2        11.0       5.2 |           25.0         -
    16,  128,  4, 32     fp32      |         55.5        34.7      31.0 |           26.9      25.7
    16,  128,  4, 32     bf16      |         80.8        35.2      15.9 |           58.7      12.8
     8,  128, 12, 64     fp32      |        150.0        88.0      82.6 |           71.5      71.8
     8,  128, 12, 64     bf16      |        174.0        90.8      38.7 |          113.1      31.7
     4,  512,  4, 32     fp32      |        187.1       145.7     129.9 |           92.0     110.1
     4,  512,  4, 32     bf16      |        169.0       145.4      53.9 |           93.4      43.1
     2, 1024,  4, 64     fp32      |        316.3       275.7     253.9 |          158.1     216.6
     2, 1024,  4, 64     bf16      |        230.0       260.4      95.2 |          118.6      70.5
     1, 2048,  4, 64     fp32      |        625.3       555.3     532.1 |          319.2     423.1
     1, 2048,  4, 64     bf16      |        440.0       558.9     216.8 |          232.7     171.6

In bf16 the written form rounds the scores before the softmax, the fused kernel does not; against fp32 the logits of a
fresh 4-layer model differ by 0.57 % and 0.58 %, so this rounding is lost among the others.

The documents' mask itself costs about 4 % of the attention at T = 128, so it is always built: looking first whether any
row needs it would make CUDA wait for the host and break a compiled graph.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import Attention, ModelConfig, Positions
from trainer.model.positions import PositionFeatures

Path = Literal["concat", "mask", "sdpa", "reference"]

MAX_WRITTEN_LENGTH = 1024
"""Tokens in a row up to which a CPU may hold one [B, H, T, T] tensor per layer. Beyond, the gain in speed (see the
table) no longer pays for memory that grows with the square of T."""


def choose_attention(
    device: torch.device,
    length: int,
    positions: Positions,
    forced: Attention,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """The path to compute attention by.

    Args:
        device: where the model runs.
        length: T, tokens in a row.
        positions: kind of positions; "absolute" has no term in the attention, so "concat" there means "sdpa".
        forced: `ModelConfig.attention`; anything but "auto" decides.
        dtype: precision of the products (under autocast, autocast's).
    """
    untied = positions == "tupe-a"
    if forced == "concat":
        return "concat" if untied else "sdpa"
    if forced != "auto":
        return forced
    if device.type == "cpu" and length <= MAX_WRITTEN_LENGTH and (untied or dtype == torch.bfloat16):
        return "mask"
    return "concat" if untied else "sdpa"


@dataclass(frozen=True)
class AttentionPlan:
    """What all layers of one forward share."""

    path: Path
    scale: float
    """1/sqrt(C), or TUPE's 1/sqrt(2 C): of content and positional scores alike, in every layer."""
    mask_B1TT: Tensor | None = None
    """True where the query may see the key ("sdpa", "concat")."""
    features: PositionFeatures | None = None
    """Of "concat"."""
    bias_BHTT: Tensor | None = None
    """Scaled positional scores, -inf across documents ("mask", "reference"); H is 1 without positional scores."""


def same_document(segments_BT: Tensor) -> Tensor:
    """mask_B1TT: True where query and key lie in the same document of the row.

    Padding (segment 0) counts as a document: it sees itself alone, so no row of scores is all -inf (NaN).
    """
    return segments_BT[:, None, :, None] == segments_BT[:, None, None, :]


def plan_attention(
    path: Path, head_width: int, segments_BT: Tensor, features: PositionFeatures | None, dtype: torch.dtype
) -> AttentionPlan:
    """Masks and positional scores for "concat", "mask" and "sdpa"."""
    scale = 1 / math.sqrt(head_width if features is None else 2 * head_width)
    mask_B1TT = same_document(segments_BT)
    if path != "mask":
        return AttentionPlan(path, scale, mask_B1TT=mask_B1TT, features=features)
    if features is None:
        bias = torch.zeros_like(mask_B1TT, dtype=dtype)
    else:
        bias = (features.query_BHTF * scale) @ features.key_BHTF.transpose(-1, -2)
    return AttentionPlan(path, scale, bias_BHTT=bias.masked_fill(~mask_B1TT, -math.inf))


def attend(q_BHTC: Tensor, k_BHTC: Tensor, v_BHTC: Tensor, plan: AttentionPlan) -> Tensor:
    """softmax(content scores + positional scores, inside documents) v -> o_BHTC."""
    if plan.path == "concat":
        assert plan.features is not None
        return _concatenated(q_BHTC, k_BHTC, v_BHTC, plan.features, plan.mask_B1TT, plan.scale)
    if plan.path == "reference":
        assert plan.bias_BHTT is not None
        scores = (q_BHTC @ k_BHTC.transpose(-1, -2)) * plan.scale + plan.bias_BHTT
        return torch.softmax(scores, -1) @ v_BHTC
    if plan.path == "mask" and q_BHTC.device.type == "cpu":
        assert plan.bias_BHTT is not None
        return _written_out(q_BHTC, k_BHTC, v_BHTC, plan.bias_BHTT, plan.scale)
    mask = plan.mask_B1TT if plan.path == "sdpa" else plan.bias_BHTT
    return F.scaled_dot_product_attention(q_BHTC, k_BHTC, v_BHTC, attn_mask=mask, scale=plan.scale)


def _concatenated(
    q_BHTC: Tensor, k_BHTC: Tensor, v_BHTC: Tensor, features: PositionFeatures, mask_B1TT: Tensor | None, scale: float
) -> Tensor:
    q = torch.cat([q_BHTC, features.query_BHTF], -1)
    k = torch.cat([k_BHTC, features.key_BHTF], -1)
    width = v_BHTC.shape[-1]
    # The flash kernels (the only fused one on CPU) want equal head widths; CUDA's that take a mask do not.
    if q.device.type == "cpu" or mask_B1TT is None:
        v_BHTC = F.pad(v_BHTC, (0, q.shape[-1] - width))
    return F.scaled_dot_product_attention(q, k, v_BHTC, attn_mask=mask_B1TT, scale=scale)[..., :width]


def _written_out(q_BHTC: Tensor, k_BHTC: Tensor, v_BHTC: Tensor, bias_BHTT: Tensor, scale: float) -> Tensor:
    B, H, T, C = q_BHTC.shape
    q_NTC, k_NTC, v_NTC = (x.reshape(B * H, T, C) for x in (q_BHTC, k_BHTC, v_BHTC))
    bias_NTT = bias_BHTT.expand(B, H, T, T).reshape(B * H, T, T)
    scores_NTT = torch.baddbmm(bias_NTT, q_NTC, k_NTC.transpose(1, 2), alpha=scale)
    return torch.bmm(torch.softmax(scores_NTT, -1), v_NTC).view(B, H, T, C)


class SelfAttention(nn.Module):
    """Multi-head self-attention with biases, as in BERT."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        """Query, key and value stacked in this order; within each, heads in order."""
        self.out = nn.Linear(config.width, config.width)

    def forward(self, h_BTD: Tensor, plan: AttentionPlan) -> Tensor:
        q, k, v = self.qkv(h_BTD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(attend(q, k, v, plan).transpose(1, 2).flatten(2))
