"""One growth inside a run: the trainer goes on with a deeper model made of the one it had."""

import time
from typing import TYPE_CHECKING

import torch

from trainer.log import RunLog, SilentLog
from trainer.optim import load_optimizer_tensors, optimizer_tensors
from trainer.run import load_weights
from trainer.stacking import fresh_seed, grow_tensors, layer_sources, rescaled, silent_layers

if TYPE_CHECKING:
    from trainer.train import Session


def deepen(session: "Session", log: RunLog | SilentLog, layers: int, held_out: float | None) -> None:
    """Weights, averages and (where carried) the optimiser's state go to the deeper model; what depends on the model is
    made anew: optimisers and their groups, compiled graph, DDP or shards, the guard's norms. Counters, stream, dropout,
    schedule and methods' states go on. The time counts as training; compiling (as at the start of a run) and the
    two held-out losses do not.

    Args:
        held_out: the held-out loss before, where it is known.
    """
    trainer, config, before = session.trainer, session.config.growth, session.model_config.layers
    loss_before = session.held_out_now().loss if held_out is None else held_out
    start = time.perf_counter()
    sources, prefixes = layer_sources(before, layers, config.rule), session.model.growing()
    weights, averages = session.weights(), session.averages()
    optimizer = optimizer_tensors(session.model, *trainer.optimizers) if config.optimizer == "carry" else {}
    if config.rescale:
        weights, averages = (rescaled(tensors, (before / layers) ** 0.5, prefixes) for tensors in (weights, averages))
    # New layers are drawn from a generator of their own, so that a resumed run draws the same.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(fresh_seed(session.config.system.seed, layers))
        session.build(layers)
    fresh = silent_layers(session.model.state_dict(), sources, prefixes)
    fresh = {name: tensor.clone() for name, tensor in fresh.items()}
    load_weights(session.model, fresh | grow_tensors(weights, sources, prefixes), f"growth to {layers} layers")
    session.settle()
    trainer.adopt(session.model)
    load_optimizer_tensors(session.model, *trainer.optimizers, tensors=grow_tensors(optimizer, sources, prefixes))
    if trainer.averages is not None:
        trainer.averages.load(fresh | grow_tensors(averages, sources, prefixes))
    trainer.guard.forget_norms()
    ready = time.perf_counter()
    session.connect()
    trainer.growth.begin(layers, trainer.step, loss_before)
    seconds, connecting = session.world.agree((ready - start, time.perf_counter() - ready))
    trainer.seconds += seconds
    trainer.growth.spent[-1].seconds += seconds
    loss = session.held_out_now().loss
    # As of the step to come, the first one at this depth: a run resumed from the step before grows and tells it again.
    log.write(
        "growth",
        trainer.step + 1,
        layers_before=before,
        layers=layers,
        loss_before=loss_before,
        loss_after=loss,
        tokens=trainer.tokens,
        seconds=trainer.seconds,
        growth_seconds=seconds,
        connect_seconds=connecting,
        flops=session.spent_flops,
    )
    session.line.note(
        f"step {trainer.step:,}: {before} layers become {layers} ({config.rule}); held-out loss {loss_before:.4f} "
        f"before, {loss:.4f} after"
    )
