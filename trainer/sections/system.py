"""[checkpoint], [guard], [evaluate] and [system]."""

from typing import Literal

from pydantic import Field

from trainer.data.masking import Masking
from trainer.sections.section import Section


class CheckpointConfig(Section):
    every_steps: int = Field(default=500, ge=1)
    keep: int = Field(default=3, ge=1)
    """Newest checkpoints that are kept."""
    best: bool = True
    """Keep the checkpoint of the lowest held-out loss as well, among those saved at a step that was evaluated."""


class GuardConfig(Section):
    """What happens to a step whose loss or gradient is not finite, or whose gradient is a spike."""

    spike: float = Field(default=25.0, ge=0)
    """A gradient norm above this many times its running mean is a spike; 0: none is."""
    patience: int = Field(default=3, ge=1)
    """Steps in a row that are skipped before the run goes back to its last checkpoint."""
    rollbacks: int = Field(default=3, ge=0)
    """Times that a run goes back before it fails."""


class EvaluateConfig(Section):
    every_steps: int = Field(default=500, ge=1)
    rows: int = Field(default=512, ge=1)
    """Rows of the validation split that the held-out loss is taken on; the masks on them never change."""
    masks: Literal["training", "standard"] = "training"
    """Masks of those rows: as [data] asks, or BERT's (15 % of the pieces, 80/10/10), so that the losses of runs with
    different masks compare."""

    samples: int = Field(default=0, ge=0, le=64)
    """Rows of the validation split whose gaps are filled and logged at each evaluation, for `report` to show."""

    def masking(self, training: Masking) -> Masking:
        return training if self.masks == "training" else Masking()


class SystemConfig(Section):
    device: str = "auto"
    """auto (CUDA where it is, else the CPU), cpu, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """'auto' takes what a short matmul at the start of the run finds faster; a resumed run keeps it."""
    threads: int = Field(default=0, ge=0, le=4096)
    """torch's CPU threads; 0 leaves torch's own choice. Another number may change last bits."""
    compile: bool = False
    """torch.compile; where that fails the run goes on without it and says so."""
    deterministic: bool = False
    """Deterministic kernels on CUDA as well, where they are slower and partly missing; the CPU always uses them."""
    recompute: bool = False
    """Activation checkpointing: each layer's forward is done again in the backward, for a third more operations and
    memory of one layer."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun with several processes: every process holds the whole model, or a shard of it."""
    accumulate: int = Field(default=1, ge=1)
    """Micro-batches that a step's rows are split in, to save memory; the result stays that of the whole batch."""
    log_every: int = Field(default=20, ge=1)
    """Steps between two records of the log."""
    seed: int = Field(default=0, ge=0, lt=1 << 63)
