"""The module that becomes an ONNX graph: token ids and a mask in, numbers out, for any batch and length.

Shape suffixes: B rows, T tokens, D width, H heads, V vocabulary, K labels.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.export.source import Source
from trainer.model.attention import AttentionPlan, first_of_rows, positional_scores
from trainer.model.config import NORM_EPSILON
from trainer.model.encoder import Encoder


def row_plan(encoder: Encoder, mask_BT: Tensor, dtype: torch.dtype) -> AttentionPlan:
    """Of rows of one text each: positional scores are made once, for all rows."""
    length, scale = mask_BT.shape[1], 1 / math.sqrt(encoder.config.score_width)
    place_1T = torch.arange(length, device=mask_BT.device)[None]
    term = encoder.positions.term(place_1T, dtype)
    # The lowest finite number and not -inf: a row that is all padding must not become NaN.
    hidden_B11T, lowest = (mask_BT == 0)[:, None, None], torch.finfo(dtype).min
    if term.features is None and term.distance_HK is None:
        bias = torch.zeros_like(hidden_B11T, dtype=dtype).masked_fill(hidden_B11T, lowest)
    else:
        everything_11TT = torch.ones_like(place_1T, dtype=torch.bool)[:, None, :, None].expand(1, 1, length, length)
        bias = torch.where(hidden_B11T, lowest, positional_scores(term, everything_11TT, scale, dtype))
    # Written out: what exporters make of SDPA has other strides than the fused kernel that they traced.
    return AttentionPlan("reference", scale, bias_BHTT=bias, rotation=term.rotation)


def embed(encoder: Encoder, tokens_BT: Tensor) -> Tensor:
    """h_BTD, the first layer's input."""
    return encoder.embed(tokens_BT, torch.arange(tokens_BT.shape[1], device=tokens_BT.device)[None])


class EncoderGraph(nn.Module):
    """The encoder on rows of one text each."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tokens_BT: Tensor, mask_BT: Tensor, first: bool = False) -> Tensor:
        """h_BTD, or h_BD of the first position of each row."""
        h_BTD = embed(self.encoder, tokens_BT)
        plan = row_plan(self.encoder, mask_BT, h_BTD.dtype)
        *before, last = self.encoder.layers
        for layer in before:
            h_BTD = layer(h_BTD, plan)
        return self.encoder.final_norm(last(h_BTD, plan, first_of_rows(h_BTD) if first else None))


class MaskedLMGraph(nn.Module):
    """logits [B, T, V] and states [B, T, D]."""

    outputs = ("logits", "last_hidden_state")

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.encoder = EncoderGraph(source.encoder)
        self.head = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(t) for name, t in source.head.items()})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        h_BTD, head = self.encoder(input_ids, attention_mask), self.head
        x_BTD = F.gelu(F.linear(h_BTD, head["dense_weight"], head["dense_bias"]))
        x_BTD = F.layer_norm(x_BTD, x_BTD.shape[-1:], head["norm_weight"], head["norm_bias"], NORM_EPSILON)
        return F.linear(x_BTD, self.encoder.encoder.token_embedding.weight, head["bias"]), h_BTD


class ClassifierGraph(nn.Module):
    """logits [B, K], or of words [B, T, K]."""

    outputs = ("logits",)

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.encoder = EncoderGraph(source.encoder)
        self.words = source.kind == "tokens"
        self.head = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(t) for name, t in source.head.items()})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        h, head = self.encoder(input_ids, attention_mask, not self.words), self.head
        if not self.words:
            h = torch.tanh(F.linear(h, head["dense_weight"], head["dense_bias"]))
        return F.linear(h, head["out_weight"], head["out_bias"])


def graph_of(source: Source) -> MaskedLMGraph | ClassifierGraph:
    graph = MaskedLMGraph(source) if source.kind == "masked-lm" else ClassifierGraph(source)
    return graph.eval()
