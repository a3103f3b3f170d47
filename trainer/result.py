"""result.json: the numbers of a finished run."""

from typing import TYPE_CHECKING, Any

import torch

from trainer.evaluate.held_out import unigram_cross_entropy
from trainer.run import RESULT_SCHEMA
from trainer.source import source_digest, versions

if TYPE_CHECKING:
    from trainer.train import Session


def run_result(session: "Session", end_loss: float) -> dict[str, Any]:
    """Losses in nats; `mfu` and `flops` count each token at the depth that it was trained at (`depths`)."""
    trainer, methods = session.trainer, session.trainer.methods
    seconds = max(trainer.seconds, 1e-9)
    return {
        "schema": RESULT_SCHEMA,
        "steps": trainer.step,
        "tokens": trainer.tokens,
        "targets": trainer.targets,
        "seconds": trainer.seconds,
        "held_out_loss_start": session.start_loss,
        "held_out_loss_end": end_loss,
        "held_out_parts": session.held_out_parts,
        "unigram_entropy": session.entropy,
        "unigram_cross_entropy": unigram_cross_entropy(session.held_out, session.counts),
        "tokens_per_second": trainer.tokens / seconds,
        "mfu": session.spent_flops / seconds / session.peak_flops,
        "flops": session.spent_flops,
        "flops_base": trainer.growth.base_flops,
        "layers": session.model_config.layers,
        "depths": trainer.growth.ledger(session.flops_at),
        "precision": session.precision,
        "device": session.device.type,
        "threads": torch.get_num_threads(),
        "matmul_gflops": session.rates,
        "parameters": session.parameters,
        "preset": session.config.model.preset,
        "task": session.model.kind,
        **({"teacher": methods["distillation"].state()["teacher"]} if "distillation" in methods else {}),
        "skipped": trainer.guard.skipped,
        "processes": session.world.size,
        "source": source_digest(),
        "versions": versions(),
    }
