"""Self-attention inside documents, by the path that `trainer.model.choice` names.

Shape suffixes: B rows, T tokens of a row, D width, H heads, C head width, F position features, N = B * H.

The documents' mask costs about 4 % of the attention at T = 128, so it is always built: looking first whether any row
needs it would make CUDA wait for the host and break a compiled graph.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.choice import Path
from trainer.model.config import BUCKETED, UNTIED, ModelConfig
from trainer.model.flex import FlexScores, flex_attend, flex_scores
from trainer.model.term import PositionFeatures, Positions, PositionTerm, Rotation, by_distance
from trainer.model.written import written_attention


@dataclass(frozen=True)
class AttentionPlan:
    """What all layers of one forward share."""

    path: Path
    scale: float
    """1/sqrt(C), or TUPE's 1/sqrt(2 C): of content scores and products of features alike, in every layer."""
    mask_B1TT: Tensor | None = None
    """True where the query may see the key ("sdpa", "concat")."""
    features: PositionFeatures | None = None
    """Of "concat"."""
    bias_BHTT: Tensor | None = None
    """Positional scores, -inf across documents ("mask", "written", "reference"); H is 1 without positional scores, but
    never in the written form."""
    rotation: Rotation | None = None
    """RoPE's, of every path but "reference"."""
    rotation_BTCC: Tensor | None = None
    """RoPE's as matrices ("reference")."""
    flex: FlexScores | None = None

    def of_heads(self, heads_H: Tensor) -> "AttentionPlan":
        """For a layer that has these of the model's heads alone: each keeps the positional scores of its own."""
        bias, features, flex = self.bias_BHTT, self.features, self.flex
        if bias is not None and bias.shape[1] > 1:
            bias = bias.index_select(1, heads_H)
        if features is not None:
            features = PositionFeatures(*(x_BHTF.index_select(1, heads_H) for x_BHTF in features))
        if flex is not None and flex.table_HLL is not None:
            flex = flex._replace(table_HLL=flex.table_HLL.index_select(0, heads_H))
        return replace(self, bias_BHTT=bias, features=features, flex=flex)


def at(h_BTD: Tensor, index_M: Tensor) -> Tensor:
    """h_MD at flat positions of B * T."""
    return h_BTD.flatten(0, 1).index_select(0, index_M)


def first_of_rows(h_BTD: Tensor) -> Tensor:
    """index_B: where each row's first position lies in the flattened B * T."""
    return torch.arange(h_BTD.shape[0], device=h_BTD.device) * h_BTD.shape[1]


def same_document(segments_BT: Tensor) -> Tensor:
    """mask_B1TT: True where query and key lie in the same document of the row.

    Padding (segment 0) counts as a document: it sees itself alone, so no row of scores is all -inf (NaN).
    """
    return segments_BT[:, None, :, None] == segments_BT[:, None, None, :]


def positional_scores(term: PositionTerm, mask_B1TT: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """bias_BHTT: what is added to the scaled content scores; -inf across documents. H is 1 where nothing is added."""
    features, distance_HK, untied_BT = term.features, term.distance_HK, term.untied_BT
    # Constants first, so that the product is added to them: no gradient has to pass a mask of its own.
    scores = torch.zeros_like(mask_B1TT, dtype=dtype).masked_fill(~mask_B1TT, -math.inf)
    if distance_HK is not None:
        scored_B1TT = mask_B1TT
        if untied_BT is not None:
            ordinary_BT = ~untied_BT
            scored_B1TT = mask_B1TT & ordinary_BT[:, None, :, None] & ordinary_BT[:, None, None, :]
        scores = torch.where(scored_B1TT, by_distance(distance_HK).to(dtype), scores)
    if features is not None:
        B, H, T, _ = features.query_BHTF.shape
        q_NTF, k_NTF = features.query_BHTF.flatten(0, 1), features.key_BHTF.flatten(0, 1)
        # Not in place: torch.compile (2.13) makes of that a difference and a sum, and of -inf NaN.
        scores_NTT = scores.expand(B, H, T, T).reshape(B * H, T, T)
        scores = torch.baddbmm(scores_NTT, q_NTF, k_NTF.mT, alpha=scale).view(B, H, T, T)
    return scores


def plan_attention(
    path: Path,
    config: ModelConfig,
    segments_BT: Tensor,
    positions_BT: Tensor,
    positions: Positions,
    dtype: torch.dtype,
) -> AttentionPlan:
    """Masks and positional scores for every path but "reference".

    Args:
        positions: the encoder's module.
        dtype: of the products.
    """
    scale = 1 / math.sqrt(config.score_width)
    if path == "flex":
        return _flex_plan(config, segments_BT, positions_BT, positions, scale, dtype)
    term = positions.term(positions_BT, dtype)
    mask_B1TT = same_document(segments_BT)
    if path in ("sdpa", "concat"):
        return AttentionPlan(path, scale, mask_B1TT=mask_B1TT, features=term.features, rotation=term.rotation)
    bias = positional_scores(term, mask_B1TT, scale, dtype)
    if path == "written":
        # The product that it is added to wants it whole: once here, not once a layer.
        bias = bias.expand(-1, config.heads, -1, -1).contiguous()
    return AttentionPlan(path, scale, bias_BHTT=bias, rotation=term.rotation)


def _flex_plan(
    config: ModelConfig,
    segments_BT: Tensor,
    positions_BT: Tensor,
    positions: Positions,
    scale: float,
    dtype: torch.dtype,
) -> AttentionPlan:
    table_HLL = None
    if config.positions in UNTIED | BUCKETED | {"alibi"}:
        # The scores of a row that is one document of full length; every pair of positions finds its own there.
        all_1L = torch.arange(config.max_length, device=positions_BT.device)[None]
        everything = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=positions_BT.device)
        table_HLL = positional_scores(positions.term(all_1L, dtype), everything, scale, dtype)[0]
    flex = flex_scores(segments_BT, positions_BT, table_HLL)
    return AttentionPlan("flex", scale, flex=flex, rotation=positions.term(positions_BT, dtype).rotation)


def attend(q_BHTC: Tensor, k_BHTC: Tensor, v_BHTC: Tensor, plan: AttentionPlan) -> Tensor:
    """softmax(content scores + positional scores, inside documents) v -> o_BHTC."""
    if plan.rotation is not None:
        q_BHTC, k_BHTC = plan.rotation(q_BHTC), plan.rotation(k_BHTC)
    if plan.path == "concat":
        assert plan.features is not None
        return _concatenated(q_BHTC, k_BHTC, v_BHTC, plan.features, plan.mask_B1TT, plan.scale)
    if plan.path == "flex":
        assert plan.flex is not None
        return flex_attend(q_BHTC, k_BHTC, v_BHTC, plan.flex, plan.scale)
    if plan.path == "written":
        assert plan.bias_BHTT is not None
        return _written_out(q_BHTC, k_BHTC, v_BHTC, plan.bias_BHTT, plan.scale)
    if plan.path == "reference":
        assert plan.bias_BHTT is not None
        if plan.rotation_BTCC is not None:
            q_BHTC, k_BHTC = (torch.einsum("btcd,bhtd->bhtc", plan.rotation_BTCC, x) for x in (q_BHTC, k_BHTC))
        scores = (q_BHTC @ k_BHTC.transpose(-1, -2)) * plan.scale + plan.bias_BHTT
        return torch.softmax(scores, -1) @ v_BHTC
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
    scores_NTT = torch.baddbmm(bias_BHTT.view(B * H, T, T), q_NTC, k_NTC.transpose(1, 2), alpha=scale)
    return torch.bmm(torch.softmax(scores_NTT, -1), v_NTC).view(B, H, T, C)


class SelfAttention(nn.Module):
    """Multi-head self-attention with biases, as in BERT."""

    kept_H: Tensor

    def __init__(self, config: ModelConfig, heads: Sequence[int]) -> None:
        """`heads`: which of the model's heads it has, rising."""
        super().__init__()
        self.heads = len(heads)
        self.pruned = self.heads < config.heads
        if self.pruned:
            self.register_buffer("kept_H", torch.tensor(heads), persistent=False)
        inner = self.heads * config.head_width
        self.qkv = nn.Linear(config.width, 3 * inner)
        """Query, key and value stacked in this order; within each, heads in order."""
        self.out = nn.Linear(inner, config.width)
        self.head_scale = nn.Parameter(torch.ones(self.heads)) if config.head_scale else None

    def forward(self, h_BTD: Tensor, plan: AttentionPlan) -> Tensor:
        """The output at every position."""
        return self.project(self.mix(h_BTD, plan))

    def mix(self, h_BTD: Tensor, plan: AttentionPlan) -> Tensor:
        """What each position gathers from the others: o_BTE, the heads beside one another."""
        if self.pruned:
            plan = plan.of_heads(self.kept_H)
        qkv_BTE = self.qkv(h_BTD)
        if plan.path == "written" and not torch.compiler.is_compiling():
            assert plan.bias_BHTT is not None
            return written_attention(qkv_BTE, plan.bias_BHTT, plan.rotation, plan.scale)
        # Also where a compiler sees the operations and fuses them itself.
        q, k, v = qkv_BTE.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return attend(q, k, v, plan).transpose(1, 2).flatten(2)

    def project(self, o_BTE: Tensor) -> Tensor:
        """The output of what `mix` gathered, on each position alone: [B, T, D], or [M, D] of [M, E]."""
        if self.head_scale is not None:
            o_BTE = (o_BTE.unflatten(-1, (self.heads, -1)) * self.head_scale.to(o_BTE.dtype)[:, None]).flatten(-2)
        return self.out(o_BTE)
