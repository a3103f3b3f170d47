"""AdamW with weight-decay groups, the schedules of learning rate and batch size, gradient clipping."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trainer.distributed import laid_out_like, whole
from trainer.muon import Muon
from trainer.sections.optimizer import OptimizerConfig, ScheduleConfig


def parameter_groups(model: nn.Module, weight_decay: float, decay: str = "matrices") -> list[dict]:
    """Two groups: decayed and not.

    decay='matrices' spares biases, norms and every other 1-d parameter; 'all' decays everything, as fairseq's Adam
    did in the experiments of TUPE and MC-BERT.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if decay == "all" or parameter.ndim >= 2]
    spared = [parameter for parameter in parameters if decay != "all" and parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _adamw(groups: list[dict], config: OptimizerConfig) -> torch.optim.AdamW:
    options: dict = {"lr": config.learning_rate, "betas": config.betas, "eps": config.eps}
    try:
        return torch.optim.AdamW(groups, fused=True, **options)
    except RuntimeError:
        return torch.optim.AdamW(groups, foreach=True, **options)


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW with decoupled decay; the fused kernel where torch has one for the parameters' device."""
    return _adamw(parameter_groups(model, config.weight_decay, config.decay), config)


def build_optimizers(
    model: nn.Module, config: OptimizerConfig, dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """[AdamW], or [AdamW, Muon], each parameter in one of them. Muon takes the matrices inside `layers` and multiplies
    them in `dtype`; states are as precise as the parameters."""
    if config.kind == "adamw":
        return [build_optimizer(model, config)]
    muon: dict[int, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and ".layers." in f".{name}":
            muon.setdefault(3 if "qkv" in name else 1, []).append(parameter)
    taken = {id(parameter) for parameters in muon.values() for parameter in parameters}
    groups = parameter_groups(model, config.weight_decay, config.decay)
    for group in groups:
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in taken]
    matrices = [{"params": parameters, "parts": parts} for parts, parameters in sorted(muon.items())]
    optimizers: list[torch.optim.Optimizer] = [_adamw([group for group in groups if group["params"]], config)]
    if matrices:
        rate, momentum = config.muon_learning_rate, config.muon_momentum
        optimizers.append(Muon(matrices, rate, momentum, config.weight_decay, dtype))
    return optimizers


ONE_CYCLE_START = 1 / 25
"""Share of the peak that one-cycle starts from (torch's OneCycleLR's default)."""


def schedule_factor(config: ScheduleConfig, progress: float) -> float:
    """Share of the peak learning rate at `progress` (0 at the start of the run, 1 at its end)."""
    progress = min(max(progress, 0.0), 1.0)
    cycle = config.decay == "one-cycle"
    if progress < config.warmup:
        rise = progress / config.warmup
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * 0.5 * (1 - math.cos(math.pi * rise)) if cycle else rise
    rest = (progress - config.warmup) / (1 - config.warmup)
    if config.decay == "constant":
        return 1.0
    if config.decay == "wsd":
        # A cool-down longer than what the warm-up leaves begins where that ends.
        shape = min(1.0, (1 - progress) / min(config.cooldown, 1 - config.warmup))
    elif config.decay == "linear":
        shape = 1 - rest
    else:
        shape = 0.5 * (1 + math.cos(math.pi * rest))
    return config.final + (1 - config.final) * shape


def run_progress(config: ScheduleConfig, step: int, seconds: float, tokens: int = 0) -> float:
    """Where the run stands: by steps at the middle of step `step` (0-based), so that no step has rate 0; else at the
    tokens or training seconds so far."""
    if config.by == "steps":
        return (step + 0.5) / config.steps
    return tokens / config.tokens if config.by == "tokens" else seconds / config.seconds


def rows_at(config: ScheduleConfig, progress: float, full: int) -> int:
    """Rows of a step at `progress`: `batch_start`, growing linearly by as many at a time to `full`."""
    if progress >= config.batch_ramp:
        return full
    return min(full, config.batch_start * (1 + int(progress / config.batch_ramp * (full // config.batch_start))))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float, factor: float = 1.0) -> None:
    """`rate`; where a group has a peak of its own, that times `factor` (the schedule's)."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor if "peak" in group else rate


def clip_gradients(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Scales all gradients to a common L2 norm of at most `limit` (0: no clipping); returns the norm before."""
    return whole(nn.utils.clip_grad_norm_(list(parameters), limit if limit > 0 else math.inf))


def optimizer_tensors(model: nn.Module, *optimizers: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimiser state by parameter name: '<parameter>/<state>' -> whole tensor. Empty before the first step.

    A collective where the model is sharded.
    """
    tensors = {}
    for name, parameter in model.named_parameters():
        for optimizer in optimizers:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{name}/{key}"] = whole(value)
    return tensors


def load_optimizer_tensors(model: nn.Module, *optimizers: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`; what the optimisers held before is forgotten.

    Raises KeyError for a parameter that this model or none of the optimisers has.
    """
    parameters = dict(model.named_parameters())
    holder = {id(p): o for o in optimizers for group in o.param_groups for p in group["params"]}
    for optimizer in optimizers:
        optimizer.state.clear()
    for key, value in tensors.items():
        name, _, state = key.rpartition("/")
        parameter = parameters[name]
        held = holder[id(parameter)].state.setdefault(parameter, {})
        held[state] = laid_out_like(value, parameter).clone()
