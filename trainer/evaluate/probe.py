"""A masked-LM head on a frozen encoder: encoders of any task, compared by one loss.

The head is the usual one (dense, GELU, norm, output matrix, bias). Its output matrix starts as a copy of the token
embeddings and is trained, so that encoders whose embeddings never served as outputs are at no disadvantage. The input
embedding of [MASK] is trained too, unless told otherwise: the main networks of replaced-token tasks never read one.
Nothing else of the encoder changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn

from schemas.vocabulary import MASK
from trainer.data.stream import Stream
from trainer.model.encoder import Encoder
from trainer.model.heads import MaskedLMHead
from trainer.tasks.masked_lm import MaskedLM


@dataclass(frozen=True)
class ProbeSettings:
    """How the head is trained. By steps it is reproducible bit for bit; by seconds it is not."""

    steps: int = 300
    seconds: float | None = None
    """Train for so long instead of `steps`; the rate then falls with the clock."""
    learning_rate: float = 2e-3
    warmup: float = 0.05
    train_mask: bool = True
    """Train the input embedding of [MASK] with the head."""

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.seconds is not None and self.seconds <= 0):
            raise ValueError("a probe needs a step or some time")


@dataclass(frozen=True)
class Probe:
    """The encoder with its new head, in eval mode, and how it came about."""

    model: MaskedLM
    steps: int
    seconds: float
    losses: list[float]
    """Training loss of every step, nats."""


def probe_model(encoder: Encoder, log_unigram_V: Tensor | None = None) -> MaskedLM:
    """A MaskedLM around this encoder, its head fresh. The head's bias starts at `log_unigram_V`."""
    model = MaskedLM(encoder.config)
    model.encoder = encoder
    output = nn.Embedding.from_pretrained(encoder.token_embedding.weight.detach().clone(), freeze=False)
    model.head = MaskedLMHead(encoder.config, output)
    model.head.output = output  # Its own now: a parameter of the head.
    if log_unigram_V is not None:
        model.set_output_bias(log_unigram_V)
    return model


def train_probe(
    encoder: Encoder,
    stream: Stream,
    settings: ProbeSettings,
    log_unigram_V: Tensor | None = None,
    device: torch.device | str = "cpu",
    clock: Callable[[], float] = perf_counter,
) -> Probe:
    """Trains a head on the stream's batches, in fp32. The encoder is used in place; of it [MASK]'s embedding may move.

    Draws the head's start from seed 0, so the outcome depends on encoder, stream and settings alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = probe_model(encoder, log_unigram_V).to(device)
    model.eval()
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    trained: list[Tensor] = list(model.head.parameters())
    hook = None
    if settings.train_mask:
        table = encoder.token_embedding.weight
        only_mask = torch.zeros(len(table), 1, device=table.device)
        only_mask[MASK] = 1
        hook = table.requires_grad_(True).register_hook(lambda gradient: gradient * only_mask)
        trained.append(table)
    # No decay: it would move rows of the table that have no gradient.
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    losses: list[float] = []
    start, batches = clock(), iter(stream.batches())
    while (progress := _progress(settings, len(losses), clock() - start)) < 1:
        batch, _ = next(batches)
        rise, fall = progress / settings.warmup, (1 - progress) / (1 - settings.warmup)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(rise, fall)
        with torch.set_grad_enabled(True):
            loss = model(batch.to(device)).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    if hook is not None:
        hook.remove()
    encoder.token_embedding.weight.requires_grad_(False)
    return Probe(model, len(losses), clock() - start, losses)


def _progress(settings: ProbeSettings, steps: int, seconds: float) -> float:
    """At the middle of a step, so that no step has rate 0; 1 where the training is over."""
    if settings.seconds is not None:
        return min(1.0, seconds / settings.seconds) if steps else 1e-9
    return (steps + 0.5) / settings.steps if steps < settings.steps else 1.0
