"""What a config will cost on this machine, before it runs: parameters, memory, operations, hours."""

from dataclasses import dataclass

import torch

from trainer.config import TrainConfig
from trainer.model.choice import NEEDS, choose_attention
from trainer.precision import DTYPES, choose, measure, resolve_device
from trainer.sections.optimizer import ScheduleConfig
from trainer.tasks.build import build_task, task_flops
from trainer.tasks.task import Task

ASSUMED_MFU = 0.4
"""Share of the measured matmul rate that the hours rest on; `trainer bench` measures the real one."""
FILLED = 0.98
"""Share of a packed row that is not padding."""


@dataclass(frozen=True)
class DepthPlan:
    layers: int
    tokens: int
    flops: float


@dataclass(frozen=True)
class Plan:
    parameters: int
    state_bytes: int
    """Weights, gradients, optimiser and EMA, fp32, on one process that holds all of them."""
    activation_bytes: int
    """Estimate of what one micro-batch keeps for its backward, on one process."""
    tokens_per_step: int
    """Of the full batch, padding not counted."""
    steps: int | None
    """None for a run by seconds whose steps depend on the machine."""
    tokens: int
    flops: float
    """Of the whole run, each token at the depth that it is trained at."""
    depths: list[DepthPlan]
    """One for a model that does not grow."""
    precision: str
    attention: str
    """Path that the attention takes in training (`trainer.model.choice`)."""
    gflops: float
    """Measured matmul rate here, GFLOP/s."""
    hours: float
    """At `assumed_mfu`; exact for a run by seconds."""
    assumed_mfu: float


def activation_bytes(config: TrainConfig, task: Task, precision: str, processes: int = 1) -> int:
    """Of one micro-batch: per layer and token the norms, q k v, attention's output, both feed-forward sides and
    residuals, NormFormer's norms and RoPE's turned q and k; the attention's weights where they are written out (CPU),
    and once the positional scores and their gradient; the head's logits (64 MB and their gradient at most)."""
    model = task.config
    rows, length = -(-config.micro_rows // processes), config.data.sequence_length
    width = 2 if precision == "bf16" else 4
    normed = model.width + model.feed_forward if model.norm == "pre-extra" else 0
    turned = 2 * model.width if model.positions == "rope" else 0
    token = (10 * model.width + 2 * model.feed_forward + normed + turned) * width
    scores = rows * model.heads * length * length * width
    layer = rows * length * token + 2 * scores
    kept = rows * length * model.width * 4 * model.layers + layer if config.system.recompute else layer * model.layers
    shared = 2 * scores if NEEDS[model.positions] in ("product", "learned") else 0
    return int(kept + shared + 3 * 4 * task.head_logits(rows * length, config.data.mask_rate))


def rows_share(schedule: ScheduleConfig, full: int, until: float) -> float:
    """Rows of the first `until` of a run by steps, in units of the rows of a run of full batches."""
    if not schedule.batch_ramp:
        return until
    levels = full // schedule.batch_start
    width = schedule.batch_ramp / levels
    ramp = sum((level + 1) / levels * min(max(until - level * width, 0), width) for level in range(levels))
    return ramp + max(until - schedule.batch_ramp, 0)


def plan_run(config: TrainConfig, vocabulary_size: int, mfu: float = ASSUMED_MFU, processes: int = 1) -> Plan:
    """Builds the model on the meta device and measures two matmuls; takes about a second."""
    device = resolve_device(config.system.device)
    if config.system.threads:
        torch.set_num_threads(config.system.threads)
    rates = measure(device)
    precision = choose(config.system.precision, rates)
    model_config = config.encoder(vocabulary_size)
    with torch.device("meta"):
        model = build_task(config, model_config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    data, schedule = config.data, config.schedule
    step_tokens = int(data.batch_rows * data.sequence_length * FILLED)
    speed = rates[precision] * 1e9 * mfu * processes
    steps: int | None = None
    if schedule.by == "tokens":
        steps = -(-schedule.tokens // step_tokens)
    elif schedule.by == "steps":
        steps = schedule.steps
    depths = []
    stages = config.growth.stages(model_config.layers)
    for (start, layers), end in zip(stages, [*(start for start, _ in stages[1:]), 1.0], strict=True):
        shape = model_config.model_copy(update={"layers": layers})
        each = task_flops(config, shape)
        if schedule.by == "seconds":
            tokens = int(speed / each * schedule.seconds * (end - start))
        elif schedule.by == "tokens":
            tokens = round(schedule.tokens * end) - round(schedule.tokens * start)
        else:
            shares = [rows_share(schedule, data.batch_rows, share) for share in (start, end)]
            tokens = round(schedule.steps * step_tokens * (shares[1] - shares[0]))
        depths.append(DepthPlan(layers, tokens, tokens * each))
    flops = sum(depth.flops for depth in depths)
    copies = 4 + (1 if config.optimizer.ema else 0)
    return Plan(
        parameters=parameters,
        state_bytes=4 * parameters * copies,
        activation_bytes=activation_bytes(config, model, precision, processes),
        tokens_per_step=step_tokens,
        steps=steps,
        tokens=sum(depth.tokens for depth in depths),
        flops=flops,
        depths=depths,
        precision=precision,
        attention=choose_attention(
            device, data.sequence_length, model_config.positions, model_config.attention, DTYPES[precision]
        ),
        gflops=rates[precision],
        hours=(schedule.seconds if schedule.by == "seconds" else flops / speed) / 3600,
        assumed_mfu=mfu,
    )
