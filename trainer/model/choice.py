"""Which exact path computes attention: the one place that decides, by device, length and need, and the measurements.

The paths give the same result (the tests compare values and gradients):

- "concat": [q; q_pos] and [k; k_pos] go into a fused kernel, the documents' mask is a constant. Memory linear in T.
  For a term that is a product: TUPE-A. Scores by distance |j - i| are none.
- "mask": positional scores [B, H, T, T], made once a forward and shared by all layers, go into SDPA as a float mask.
  Where they need a gradient CUDA has the memory-efficient kernel, a CPU only its math form.
- "written": the same scores, two batched products and a softmax with fewer copies than SDPA's math form.
- "sdpa": nothing to add (embeddings in the input, RoPE's turned queries and keys); the fused kernel with the
  documents' mask.
- "flex": FlexAttention reads the score of a pair from one table [H, L, L] and skips blocks of other documents. Memory
  linear in B and T. Its backward exists on CUDA alone and adds up by atomics, so sums differ from run to run.
- "reference": the literal, slow construction of `trainer.model.reference`.

Measured on one thread of an AMD EPYC with AVX-512-BF16 (torch 2.13): milliseconds forward + backward of the attention
of 4 layers (2 layers from T = 1024), packed rows; "absolute" carries no term.

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

All kinds of positions on one thread of an Intel Xeon with AMX (torch 2.13), attention of 4 layers, every second row of
two documents; milliseconds of CPU time, for the machine was busy: the columns compare, the last digits do not.

    training             precision | tupe-a: concat  mask  written | tupe-r: mask  written | absolute: sdpa  written
    16,   64,  4, 32     fp32      |           36.1  30.5     21.3 |         39.9     26.0 |           19.6     20.1
    16,   64,  4, 32     bf16      |           67.0  28.1     14.9 |         29.1     16.2 |           87.8     16.6
    16,  128,  4, 64     fp32      |          211.4 144.7     85.9 |        123.3     89.4 |           68.8     72.1
    16,  128,  4, 64     bf16      |          204.3 106.8     58.4 |        138.2     59.9 |          142.9     35.8
     4,  512,  4, 32     fp32      |          191.0 207.6    175.9 |        279.5    191.4 |          100.4    163.1
     4,  512,  4, 32     bf16      |          179.9 275.0    112.1 |        306.8    119.6 |          151.5     79.8
    without gradient
    16,  128,  4, 64     fp32      |           55.7  26.7     39.2 |         32.8     38.0 |           18.3     31.5
    16,  128,  4, 64     bf16      |           27.9  16.1     19.1 |         18.6     19.4 |           13.0     18.7
     4,  512,  4, 32     fp32      |           78.3  59.3    150.1 |         89.6    132.4 |           42.8    118.2
     4,  512,  4, 32     bf16      |           39.0  34.9     49.4 |         47.9     62.3 |           29.9     46.5

BERT-R goes as TUPE-R. ALiBi's constant mask goes through the fused kernel at the speed of "absolute: sdpa" (fp32, 64,
128, 512: 14.6, 84.9, 163.9; written 14.3, 71.8, 214.1; bf16 86.9, 128.9, 143.5 against 17.3, 36.8, 84.3). RoPE adds its
rotation to "absolute". Without a gradient the fused kernel takes every term as a mask and is the fastest throughout.
"""

from typing import Literal

import torch

from trainer.model.config import Attention, Positions

Path = Literal["concat", "mask", "written", "sdpa", "flex", "reference"]
Need = Literal["nothing", "constant", "product", "learned"]

NEEDS: dict[Positions, Need] = {
    "absolute": "nothing",
    "sinusoidal": "nothing",
    "rope": "nothing",
    "alibi": "constant",
    "tupe-a": "product",
    "tupe-r": "learned",
    "bert-r": "learned",
}
"""What attention has to add to the content scores: nothing, constants, a product of features, or learned scores that
are no product."""

MAX_WRITTEN_LENGTH = 1024
"""Tokens in a row up to which [B, H, T, T] tensors may be held where another path needs none. Beyond, the gain in speed
(see the table) no longer pays for memory that grows with the square of T."""


def choose_attention(
    device: torch.device,
    length: int,
    positions: Positions,
    forced: Attention,
    dtype: torch.dtype = torch.float32,
    gradient: bool = True,
) -> Path:
    """The path to compute attention by.

    Args:
        device: where the model runs.
        length: T, tokens in a row.
        positions: decide the need.
        forced: `ModelConfig.attention`; anything but "auto" decides. "concat", "mask" and "written" without a need
            mean "sdpa", but for the written form, which then carries the documents' mask alone.
        dtype: precision of the products (under autocast, autocast's).
        gradient: whether one is wanted, as in training.
    """
    need = NEEDS[positions]
    if forced != "auto":
        return "sdpa" if need == "nothing" and forced in ("concat", "mask") else forced
    short = length <= MAX_WRITTEN_LENGTH
    if device.type == "cpu":
        if need == "product" and not short:
            return "concat"
        fused: Path = "sdpa" if need == "nothing" else "mask"
        if not gradient or (need == "constant" and not short):
            return fused
        if need in ("product", "learned"):
            return "written"
        return "written" if short and dtype == torch.bfloat16 else fused
    if need in ("nothing", "product"):
        return "sdpa" if need == "nothing" else "concat"
    # ALiBi's constants and learned scores: a float mask while it is small, FlexAttention where it can train.
    flexible = device.type == "cuda" and not torch.are_deterministic_algorithms_enabled()
    return "mask" if short or not flexible else "flex"
