"""A fine-tuned classifier whose texts may leave before the last layer.

Shape suffixes: B rows, T positions, D width, K classes, R rows that stay.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from trainer.finetune.classifier import Classifier
from trainer.finetune.examples import MULTIPLE, ExampleBatch
from trainer.finetune.labels import Labels
from trainer.light.early_exit.branch import Branch, BranchConfig, uncertainty
from trainer.model.attention import AttentionPlan, first_of_rows
from trainer.model.encoder import Encoder
from trainer.model.term import PositionFeatures, Rotation


class ExitsConfig(BaseModel):
    """Where texts may leave, and by what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exits: list[int] = Field(min_length=1)
    """Numbers of layers, rising: a branch reads the states behind so many layers; 0 is the embeddings."""
    branch: BranchConfig
    top_classes: int | None = Field(default=None, ge=2)

    @model_validator(mode="after")
    def _rising(self) -> "ExitsConfig":
        if self.exits[0] < 0 or sorted(set(self.exits)) != self.exits:
            raise ValueError("exits: different numbers of layers, rising")
        return self


@dataclass(frozen=True)
class Answers:
    """Of a batch, in the order of its rows."""

    logits_BK: Tensor
    layers_B: Tensor
    """int64: layers that each row went through."""


class EarlyExitClassifier(Classifier):
    """`forward` is the whole model, as it was fine-tuned; `answer` lets rows go as soon as a branch is sure."""

    def __init__(self, encoder: Encoder, labels: Labels, config: ExitsConfig, dropout: float = 0.0) -> None:
        super().__init__(encoder, labels)
        if config.exits[-1] >= encoder.config.layers:
            raise ValueError(f"exits: {config.exits[-1]} is not before the last of {encoder.config.layers} layers")
        self.exits = tuple(config.exits)
        self.top_classes = config.top_classes
        width, std = encoder.config.width, encoder.config.init_std
        self.branches = nn.ModuleList(Branch(width, labels.outputs, config.branch, std, dropout) for _ in self.exits)

    def train_branches(self) -> None:
        """Only branches are trained, with their dropout: everything else keeps its bits and is never dropped out."""
        self.eval().requires_grad_(False)
        self.branches.train().requires_grad_(True)

    @torch.no_grad()
    def states(self, batch: ExampleBatch) -> tuple[list[Tensor], Tensor]:
        """(h_BTD behind each exit, logits_BK of the fine-tuned head), without a graph."""
        encoder, kept = self.encoder, []
        h_BTD = encoder.embed(batch.tokens_BT, batch.positions_BT, batch.words)
        plan = encoder.plan(batch.segments_BT, batch.positions_BT, h_BTD.dtype)
        *before, last = encoder.layers
        for number, layer in enumerate(before):
            if number in self.exits:
                kept.append(h_BTD)
            h_BTD = layer(h_BTD, plan)
        if len(before) in self.exits:
            kept.append(h_BTD)
        return kept, self._last(last, h_BTD, plan)

    def _last(self, layer: nn.Module, h_BTD: Tensor, plan: AttentionPlan) -> Tensor:
        """logits_BK behind the last layer, of which [CLS] alone is read."""
        h_BD = layer(h_BTD, plan, first_of_rows(h_BTD))
        return self.out(self.dropout(self.dense(self.encoder.final_norm(h_BD))))

    @torch.no_grad()
    def answer(self, batch: ExampleBatch, speed: float) -> Answers:
        """Each row leaves at the first branch whose uncertainty is below `speed`; the rest of the batch goes on without
        it, smaller, with masks, positions and positional scores of its own rows. At speed 0 no branch is asked.

        A row's answer does not depend on the others (up to rounding). Expects eval mode and one text a row.
        """
        encoder, size = self.encoder, batch.tokens_BT.shape[0]
        h_BTD = encoder.embed(batch.tokens_BT, batch.positions_BT, batch.words)
        logits_BK = h_BTD.new_empty((size, self.out.out_features))
        layers_B = torch.full((size,), len(encoder.layers), device=h_BTD.device)
        rows_B = torch.arange(size, device=h_BTD.device)
        segments_BT, positions_BT = batch.segments_BT, batch.positions_BT
        plan: AttentionPlan | None = None
        branches = dict(zip(self.exits, self.branches, strict=True)) if speed > 0 else {}
        for number, layer in enumerate(encoder.layers):
            if number in branches:
                branch_BK = branches[number](h_BTD, segments_BT)
                sure_B = uncertainty(branch_BK, self.top_classes) < speed
                leaving = int(sure_B.sum())
                if leaving:
                    gone_B = rows_B[sure_B]
                    logits_BK[gone_B] = branch_BK[sure_B].to(logits_BK.dtype)
                    layers_B[gone_B] = number
                if leaving == len(rows_B):
                    return Answers(logits_BK, layers_B)
                if leaving:
                    stay_R = (~sure_B).nonzero()[:, 0]
                    rows_B, segments_BT = rows_B[stay_R], segments_BT[stay_R]
                    width = _width(segments_BT)
                    segments_BT, positions_BT = segments_BT[:, :width], positions_BT[stay_R, :width]
                    h_BTD = h_BTD[stay_R, :width]
                    if plan is not None:
                        plan = shrink(plan, stay_R, width)
            if plan is None:
                plan = encoder.plan(segments_BT, positions_BT, h_BTD.dtype)
            if number + 1 < len(encoder.layers):
                h_BTD = layer(h_BTD, plan)
            else:
                logits_BK[rows_B] = self._last(layer, h_BTD, plan).to(logits_BK.dtype)
        return Answers(logits_BK, layers_B)


def _width(segments_BT: Tensor) -> int:
    """Positions that the longest text needs, in steps of MULTIPLE."""
    longest = int((segments_BT != 0).sum(1).max())
    return min(-(-longest // MULTIPLE) * MULTIPLE, segments_BT.shape[1])


def shrink(plan: AttentionPlan, rows_R: Tensor, width: int) -> AttentionPlan | None:
    """The plan of some rows, cut to their first `width` positions; None where it has to be made anew (FlexAttention's
    block masks). What all rows share stays shared."""
    if plan.flex is not None:
        return None

    def pick(tensor: Tensor, *cut: slice) -> Tensor:
        kept = tensor[(slice(None), *cut)]
        return kept.contiguous() if tensor.shape[0] == 1 else kept.index_select(0, rows_R)

    every, short = slice(None), slice(width)
    changes: dict[str, Any] = {}
    if plan.mask_B1TT is not None:
        changes["mask_B1TT"] = pick(plan.mask_B1TT, every, short, short)
    if plan.bias_BHTT is not None:
        changes["bias_BHTT"] = pick(plan.bias_BHTT, every, short, short)
    if plan.features is not None:
        changes["features"] = PositionFeatures(*(pick(part, every, short) for part in plan.features))
    if plan.rotation is not None:
        changes["rotation"] = Rotation(*(pick(part, every, short) for part in plan.rotation))
    if plan.rotation_BTCC is not None:
        changes["rotation_BTCC"] = pick(plan.rotation_BTCC, short)
    return replace(plan, **changes)
