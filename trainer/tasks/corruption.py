"""What the tasks with a meta controller share: it fills the masks, and the encoder reads what it filled in.

Shape suffixes: B rows, T tokens of a row, M masked positions, N positions that are not padding, C width of the
controller, E one more, D width of the encoder, V vocabulary.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.data.counter import Purpose
from trainer.data.held_out import HELD_OUT_SEED
from trainer.difficulty import Difficulty
from trainer.method import Method
from trainer.model.config import ModelConfig
from trainer.model.controller import MetaController
from trainer.model.encoder import Encoder
from trainer.model.flops import BACKWARD, flops_per_token
from trainer.sections.task import LEAST_CANDIDATES, TaskConfig
from trainer.tasks.candidates import draw_one
from trainer.tasks.chunks import summed
from trainer.tasks.draws import gumbel, position_bits
from trainer.tasks.encode import encode, encode_at
from trainer.tasks.task import Task, TaskOutput, Term

if TYPE_CHECKING:
    from trainer.data.batch import Batch

HEAD_LOGITS = 1 << 24
"""Controller logits with a gradient that are held at once (64 MB in fp32), as of the masked LM's head."""

SAMPLED_LOGITS = {"cpu": 1 << 19, "cuda": 1 << 24}
"""Logits that are drawn from at once: 2 MB on CPU, which its cache holds."""


@dataclass(frozen=True)
class Corrupted:
    """A batch as the controller filled it in."""

    tokens_BT: Tensor
    """What the encoder reads: a draw at masked positions, the original elsewhere."""
    original_BT: Tensor
    x_NC: Tensor
    """The controller's output features, detached."""
    matrix_VC: Tensor
    """Its output matrix, detached."""
    index_N: Tensor
    """Positions that are not padding, in the flattened B * T."""
    loss: Tensor
    """The controller's mean cross-entropy over the masked positions, nats."""


class CorruptionTask(Task):
    """The controller is trained as a masked LM on the masked positions alone; no gradient of the main network's loss
    reaches it, since a drawn piece has none. The shared token embeddings learn from both losses.

    At predicted positions it reads what the loader put there, as a masked LM does (ELECTRA's code keeps 15 % of the
    pieces; MC-BERT's data have [MASK] alone: `data.mask_share = 1`, `data.random_share = 0`). Pieces that are kept lead
    a small controller off the entropy of word frequencies, where it stands for thousands of steps without them
    (docs/methods/multiple_choice.md).

    Parts of both tasks: `controller_loss` (nats, over the masked positions), `controller_accuracy` (share of these
    whose draw is the original), `main_loss` (before its weight, over all positions but padding), `replace_rate` (share
    of these that are not the original), and in training `difficulty`, the steered value, where there is one.
    """

    def __init__(self, config: ModelConfig, task: TaskConfig, seed: int = 0, mask_rate: float = 0.15) -> None:
        """`mask_rate`: the loader's, which a steered one cannot exceed. Raises ValueError for a bad difficulty."""
        super().__init__(config)
        self.settings = task
        self.encoder = Encoder(config)
        self.controller = MetaController(task.controller(config), self.encoder.token_embedding)
        self.seed = seed
        self.mask_rate = mask_rate
        self.difficulty = build_difficulty(task, mask_rate)

    def methods(self) -> dict[str, Method]:
        return {} if self.difficulty is None else {"difficulty": self.difficulty}

    def growing(self) -> tuple[str, ...]:
        """The controller's as well, where it has as many layers as the encoder by default."""
        alone = super().growing()
        return alone if self.settings.controller_layers else (*alone, "controller.encoder.layers.")

    def sharded(self) -> list[nn.Module]:
        return [*self.encoder.layers, *self.controller.encoder.layers]

    def set_recompute(self, recompute: bool) -> None:
        self.encoder.recompute = self.controller.encoder.recompute = recompute

    def set_output_bias(self, log_unigram_V: Tensor) -> None:
        with torch.no_grad():
            self.controller.bias.copy_(log_unigram_V)

    def steered(self, what: str, otherwise: float) -> float:
        """The value in force of what may be steered; held-out rows always have the config's."""
        difficulty = self.difficulty
        if difficulty is None or difficulty.steers != what:
            return otherwise
        return difficulty.value if self.training else difficulty.start

    def prepare(self, batch: "Batch") -> "Batch":
        """With random bits by address. A steered mask rate takes a subset of the loader's positions: that of a lower
        rate lies in that of a higher one."""
        seed = self.seed if self.training else HELD_OUT_SEED
        length = batch.tokens_BT.shape[1]
        tokens, index, target = batch.tokens_BT, batch.target_index_M, batch.target_M
        share = self.steered("mask-rate", self.mask_rate) / self.mask_rate
        if share < 1:
            bits = position_bits(batch.source, length, Purpose.SUBSETS, seed).flatten()[index].long() + (1 << 31)
            kept = bits < round(share * (1 << 32))
            tokens = tokens.flatten().index_copy(0, index[~kept], target[~kept]).view_as(tokens)
            index, target = index[kept], target[kept]
        return replace(
            batch,
            tokens_BT=tokens,
            target_index_M=index,
            target_M=target,
            draws_BT=position_bits(batch.source, length, Purpose.CANDIDATES, seed),
        )

    def counts(self, batch: "Batch") -> tuple[int, ...]:
        return len(batch.target_M), int((batch.segments_BT != 0).sum())

    def corrupt(self, batch: "Batch") -> Corrupted:
        """One pass of the controller: its loss, and a draw at each masked position. Needs a prepared batch."""
        if batch.draws_BT is None:
            raise ValueError("the batch has no random bits; call task.prepare(batch) first")
        h_PC = encode(self.controller.encoder, batch).flatten(0, 1)
        matrix_VC = self.controller.matrix()
        target_M, index_M = batch.target_M, batch.target_index_M
        part = max(1, HEAD_LOGITS // self.config.vocabulary_size)

        def loss_sum(h_MC: Tensor, target_M: Tensor) -> Tensor:
            logits_MV = self.controller.logits(self.controller.features(h_MC), matrix_VC)
            return F.cross_entropy(logits_MV, target_M, reduction="sum")

        total = summed(loss_sum, part, h_PC.index_select(0, index_M), target_M)
        with torch.no_grad():
            index_N = (batch.segments_BT != 0).flatten().nonzero().flatten()
            x_PC = self.controller.features(h_PC)
            drawn_M = self._fill(x_PC.index_select(0, index_M), matrix_VC, batch.draws_BT.flatten()[index_M])
            tokens_BT = batch.tokens_BT.flatten().index_copy(0, index_M, drawn_M).view_as(batch.tokens_BT)
            original_BT = batch.tokens_BT.flatten().index_copy(0, index_M, target_M).view_as(batch.tokens_BT)
        return Corrupted(
            tokens_BT,
            original_BT,
            x_PC.index_select(0, index_N),
            matrix_VC.detach(),
            index_N,
            total / max(target_M.shape[0], 1),
        )

    def fill_logits(self, batch: "Batch") -> Tensor:
        """The controller's, at temperature 1."""
        h_MC = encode_at(self.controller.encoder, batch, batch.target_index_M)
        return self.controller.logits(self.controller.features(h_MC), self.controller.matrix())

    @torch.compiler.disable
    @torch.no_grad()
    def _fill(self, x_MC: Tensor, matrix_VC: Tensor, bits_M: Tensor) -> Tensor:
        """drawn_M."""
        part, vocabulary = self.sampling_part(x_MC.device), self.config.vocabulary_size
        x_ME, matrix_EV = self.sampling_factors(x_MC, matrix_VC)
        drawn = [
            draw_one(gumbel(bits, vocabulary).addmm_(x, matrix_EV))
            for x, bits in zip(x_ME.split(part), bits_M.split(part), strict=True)
        ]
        return torch.cat(drawn)

    @torch.compiler.disable
    def _difficulty(self, difficulty: Difficulty, like: Tensor) -> Tensor:
        # A number read inside a compiled graph would be a constant of it, and each new value another graph.
        return torch.full_like(like, difficulty.value)

    def sampling_factors(self, x_NC: Tensor, matrix_VC: Tensor) -> tuple[Tensor, Tensor]:
        """(x_NE, matrix_EV), fp32, whose product is the controller's logits over the temperature in force: the bias is
        one more feature. So noise takes one pass over memory, in which the product is added to it."""
        temperature = self.steered("temperature", self.settings.temperature)
        x_NE = F.pad(x_NC.float(), (0, 1), value=1.0) / temperature
        return x_NE, torch.cat([matrix_VC.float(), self.controller.bias.float()[:, None]], 1).T

    def sampling_part(self, device: torch.device) -> int:
        """Positions whose logits are held at once for drawing."""
        return max(1, SAMPLED_LOGITS["cpu" if device.type == "cpu" else "cuda"] // self.config.vocabulary_size)

    def output(
        self,
        corrupted: Corrupted,
        main_loss: Tensor,
        targets: int,
        parts: dict[str, Tensor],
        part_counts: dict[str, Tensor | int],
        notes_ND: Tensor | None,
    ) -> TaskOutput:
        """controller + weight * main, with the parts both tasks have. `parts` are means over N unless counted."""
        count = corrupted.index_N.shape[0]
        # Only masked positions can differ from the original.
        replaced = (corrupted.tokens_BT != corrupted.original_BT).sum()
        parts = {
            "controller_loss": corrupted.loss.detach(),
            "controller_accuracy": 1 - replaced / max(targets, 1),
            "main_loss": main_loss.detach(),
            "replace_rate": replaced / max(count, 1),
            **parts,
        }
        counts: dict[str, Tensor | int] = dict.fromkeys(parts, count)
        counts.update({"controller_loss": targets, "controller_accuracy": targets, **part_counts})
        if self.difficulty is not None and self.training:
            parts["difficulty"] = self._difficulty(self.difficulty, main_loss.detach())
            counts["difficulty"] = count
        main = self.settings.weight * main_loss
        terms = (Term(corrupted.loss, targets), Term(main, count))
        return TaskOutput(corrupted.loss + main, parts, targets, terms, counts, notes_ND)

    def corruption_flops(self, length: int, predicted_share: float) -> float:
        """Per token: the encoder without a head, the controller with its head on masked positions, forward and
        backward; the embeddings' projection, and the draws at masked positions, forward."""
        d, c, vocabulary = self.config.width, self.controller.config.width, self.config.vocabulary_size
        both = flops_per_token(self.config, length, 0, 1) + flops_per_token(
            self.controller.config, length, predicted_share, 1
        )
        return both + (1 + BACKWARD) * 2 * d * c + 2 * c * c + predicted_share * 2 * c * vocabulary

    def head_logits(self, tokens: int, predicted_share: float) -> int:
        return min(int(tokens * predicted_share) * self.config.vocabulary_size, HEAD_LOGITS)


def build_difficulty(task: TaskConfig, mask_rate: float) -> Difficulty | None:
    """The controller of [task], or None where the difficulty is fixed. Raises ValueError."""
    if task.difficulty == "fixed":
        return None
    start, easiest, hardest = {
        "temperature": (task.temperature, 2.0, 0.5),
        "candidates": (float(task.candidates), float(LEAST_CANDIDATES), float(task.candidates)),
        "mask-rate": (mask_rate, mask_rate / 3, mask_rate),
    }[task.difficulty]
    easiest, hardest = task.difficulty_easiest or easiest, task.difficulty_hardest or hardest
    if task.difficulty != "temperature" and max(easiest, hardest) > start:
        most = "task.candidates" if task.difficulty == "candidates" else "data.mask_rate"
        raise ValueError(f"task.difficulty '{task.difficulty}': its bounds must not exceed {most} ({start:g})")
    return Difficulty(
        task.difficulty,
        start,
        easiest,
        hardest,
        task.difficulty_target,
        task.difficulty_decay,
        task.difficulty_gain,
    )
