"""Attention written out in batched products, forward and backward, from the stacked q, k, v to the heads' outputs.

Shape suffixes: B rows, T tokens of a row, D width, H heads, C head width, R = C / 2, N = B * H, S = q, k, v.

Autograd's own backward of the same operations copies each of q, k, v and their gradients by itself, stacks them, and
scales the scores' gradient in a pass of its own. Here one copy brings all three into the products' layout, the products
write their gradients into one tensor, and one copy brings that back.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.model.term import Rotation


class WrittenAttention(torch.autograd.Function):
    """softmax(scale q k^T + bias) v. The numbers are those of the same operations in autograd, up to rounding."""

    @staticmethod
    def forward(
        ctx: Any, qkv_BTE: Tensor, bias_BHTT: Tensor, cos_B1TR: Tensor | None, sin_B1TR: Tensor | None, scale: float
    ) -> Tensor:
        B, H, T, _ = bias_BHTT.shape
        x_SBHTC = qkv_BTE.unflatten(-1, (3, H, -1)).permute(2, 0, 3, 1, 4).contiguous()
        if cos_B1TR is not None and sin_B1TR is not None:
            x_SBHTC[:2] = Rotation(cos_B1TR, sin_B1TR)(x_SBHTC[:2])
        q_NTC, k_NTC, v_NTC = x_SBHTC.flatten(1, 2)
        scores_NTT = torch.baddbmm(bias_BHTT.view(B * H, T, T), q_NTC, k_NTC.mT, alpha=scale)
        weights_NTT = torch.softmax(scores_NTT, -1)
        ctx.save_for_backward(x_SBHTC, weights_NTT, cos_B1TR, sin_B1TR)
        ctx.scale = scale
        return torch.bmm(weights_NTT, v_NTC).view(B, H, T, -1).transpose(1, 2).flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BTD: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        x_SBHTC, weights_NTT, cos_B1TR, sin_B1TR = ctx.saved_tensors
        _, B, H, T, C = x_SBHTC.shape
        q_NTC, k_NTC, v_NTC = x_SBHTC.flatten(1, 2)
        o_NTC = grad_BTD.view(B, T, H, C).transpose(1, 2).reshape(B * H, T, C)
        x_grad_SBHTC = torch.empty_like(x_SBHTC)
        q_grad_NTC, k_grad_NTC, v_grad_NTC = x_grad_SBHTC.flatten(1, 2)
        torch.bmm(weights_NTT.mT, o_NTC, out=v_grad_NTC)
        weights_grad_NTT = torch.bmm(o_NTC, v_NTC.mT)
        scores_grad_NTT = torch._softmax_backward_data(weights_grad_NTT, weights_NTT, -1, weights_NTT.dtype)
        torch.baddbmm(q_grad_NTC, scores_grad_NTT, k_NTC, beta=0, alpha=ctx.scale, out=q_grad_NTC)
        torch.baddbmm(k_grad_NTC, scores_grad_NTT.mT, q_NTC, beta=0, alpha=ctx.scale, out=k_grad_NTC)
        if cos_B1TR is not None:
            # The inverse of a rotation is the one by minus its angle.
            x_grad_SBHTC[:2] = Rotation(cos_B1TR, -sin_B1TR)(x_grad_SBHTC[:2])
        bias_grad = scores_grad_NTT.view(B, H, T, T) if ctx.needs_input_grad[1] else None
        return x_grad_SBHTC.permute(1, 3, 0, 2, 4).reshape(B, T, 3 * H * C), bias_grad, None, None, None


def written_attention(qkv_BTE: Tensor, bias_BHTT: Tensor, rotation: Rotation | None, scale: float) -> Tensor:
    """o_BTD of qkv_BTE (E = 3 D: query, key, value; within each, heads in order).

    Args:
        bias_BHTT: contiguous, in the products' precision; -inf where a query may not see a key.
    """
    cos, sin = rotation or (None, None)
    return WrittenAttention.apply(qkv_BTE, bias_BHTT, cos, sin, scale)
