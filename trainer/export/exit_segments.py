"""An early-exit classifier as ONNX segments: each runs the layers from one exit to the next and asks its branch, so
that between two of them the batch can shrink.

Shape suffixes: B rows, T tokens, D width, K classes.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainer.export.graph import embed, row_plan
from trainer.export.onnx_file import check_numbers, write_module
from trainer.export.source import Source, sample_rows
from trainer.light.early_exit.branch import Branch
from trainer.light.early_exit.model import EarlyExitClassifier
from trainer.model.attention import first_of_rows

FIRST_INPUTS, LATER_INPUTS = ("input_ids", "attention_mask"), ("states", "attention_mask")


class Segment(nn.Module):
    """(logits_BK of the branch, h_BTD), or of the last one logits_BK of the fine-tuned head alone."""

    def __init__(self, model: EarlyExitClassifier, first: int, last: int, branch: Branch | None, begins: bool) -> None:
        super().__init__()
        self.model, self.first, self.last, self.branch, self.begins = model, first, last, branch, begins

    def forward(self, x: Tensor, mask_BT: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """`x`: ids [B, T] where it begins, else h_BTD."""
        encoder = self.model.encoder
        h_BTD = embed(encoder, x) if self.begins else x
        plan = row_plan(encoder, mask_BT, h_BTD.dtype)
        layers = encoder.layers[self.first : self.last]
        for layer in layers if self.branch is not None else layers[:-1]:
            h_BTD = layer(h_BTD, plan)
        if self.branch is not None:
            return self.branch(h_BTD, mask_BT), h_BTD
        h_BD = layers[-1](h_BTD, plan, first_of_rows(h_BTD))
        return self.model.out(self.model.dense(encoder.final_norm(h_BD)))


def segments_of(model: EarlyExitClassifier) -> list[Segment]:
    """As many as there are exits, and the last one to the end."""
    found: list[Segment] = []
    first = 0
    for exit_, branch in zip(model.exits, model.branches, strict=True):
        assert isinstance(branch, Branch)
        found.append(Segment(model, first, exit_, branch, begins=not found))
        first = exit_
    found.append(Segment(model, first, len(model.encoder.layers), None, begins=False))
    return [segment.eval() for segment in found]


@torch.no_grad()
def write_segments(source: Source, model: EarlyExitClassifier, directory: Path) -> tuple[list[Path], int]:
    """(files in order, opset). Raises ExportError where ONNX Runtime's numbers are not ours."""
    tokens_BT, mask_BT = sample_rows(source)
    x: Tensor = tokens_BT
    files, opset = [], 0
    for number, segment in enumerate(segments_of(model)):
        path = directory / f"segment-{number:02}.onnx"
        inputs = FIRST_INPUTS if segment.begins else LATER_INPUTS
        outputs = ("logits",) if segment.branch is None else ("logits", "next_states")
        # The branches' attention too is traced as it is written out.
        with sdpa_kernel(SDPBackend.MATH):
            opset = write_module(segment, (x, mask_BT), inputs, outputs, source.config.max_length, path)
            answered = segment(x, mask_BT)
        check_numbers(path, inputs, (x, mask_BT), answered)
        if isinstance(answered, tuple):
            x = answered[1]
        files.append(path)
    return files, opset
