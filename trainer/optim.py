"""AdamW with weight-decay groups, the learning-rate schedule, gradient clipping."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trainer.config import OptimizerConfig, ScheduleConfig


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


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW with decoupled decay; the fused kernel where torch has one for the parameters' device."""
    groups = parameter_groups(model, config.weight_decay, config.decay)
    options: dict = {"lr": config.learning_rate, "betas": config.betas, "eps": config.eps}
    try:
        return torch.optim.AdamW(groups, fused=True, **options)
    except RuntimeError:
        return torch.optim.AdamW(groups, foreach=True, **options)


def schedule_factor(config: ScheduleConfig, progress: float) -> float:
    """Share of the peak learning rate at `progress` (0 at the start of the run, 1 at its end)."""
    progress = min(max(progress, 0.0), 1.0)
    if progress < config.warmup:
        return progress / config.warmup
    rest = (progress - config.warmup) / (1 - config.warmup)
    if config.decay == "constant":
        return 1.0
    shape = 1 - rest if config.decay == "linear" else 0.5 * (1 + math.cos(math.pi * rest))
    return config.final + (1 - config.final) * shape


def run_progress(config: ScheduleConfig, step: int, seconds: float) -> float:
    """Where the run stands: by steps at the middle of step `step` (0-based), so that no step has rate 0; by seconds
    at the elapsed training seconds."""
    if config.by == "steps":
        return (step + 0.5) / config.steps
    return seconds / config.seconds


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def scale_gradients(parameters: Iterable[Tensor], factor: float) -> None:
    """Multiplies every gradient in place."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    torch._foreach_mul_(gradients, factor)


def clip_gradients(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Scales all gradients to a common L2 norm of at most `limit` (0: no clipping); returns the norm before."""
    return nn.utils.clip_grad_norm_(list(parameters), limit if limit > 0 else math.inf)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimiser state by parameter name: '<parameter>/<state>' -> tensor. Empty before the first step."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}/{key}"] = value
    return tensors


def load_optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`. Raises KeyError for a parameter this model does not have."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, state = key.rpartition("/")
        parameter = parameters[name]
        optimizer.state.setdefault(parameter, {})[state] = value.to(parameter.device)
