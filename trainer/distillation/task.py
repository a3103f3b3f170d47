"""Masked language modelling with a teacher (LightPAFF, Song et al. 2020, arXiv 2004.12817, its pre-training stage).

Shape suffixes: B rows, T tokens of a row, M predicted positions, D width, K pieces kept, N tokens that are no padding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.checkpoint import CheckpointError
from trainer.distillation.losses import (
    divergence_sum,
    relation_divergence_sum,
    state_difference_sum,
    top_divergence_sum,
    top_shares,
)
from trainer.distillation.store import Store
from trainer.distillation.teacher import Teacher, Told
from trainer.method import Method
from trainer.model.attention import at
from trainer.model.config import ModelConfig
from trainer.model.encoder import Layer, initialise
from trainer.model.flops import BACKWARD, flops_per_token
from trainer.sections.distillation import DistillationConfig
from trainer.tasks.chunks import summed
from trainer.tasks.encode import encode, encode_and_see, seen
from trainer.tasks.masked_lm import HEAD_LOGITS, MaskedLM
from trainer.tasks.task import TaskOutput, Term

if TYPE_CHECKING:
    from trainer.data.batch import Batch


@dataclass(frozen=True)
class Source:
    """The method whose state is which teacher the run has: another one would make it another run."""

    digest: str

    def state(self) -> dict[str, Any]:
        return {"teacher": self.digest}

    def load(self, state: dict[str, Any]) -> None:
        """Raises CheckpointError for another teacher's."""
        if state.get("teacher") != self.digest:
            raise CheckpointError(
                "this run has learnt from another teacher than distillation.teacher (or .logits) names: the digest of "
                f"its weights was {str(state.get('teacher'))[:16]}, here it is {self.digest[:16]}; name the one it "
                "began with, or another --output"
            )

    def observe(self, step: int, parts: Mapping[str, float]) -> None:
        """Nothing changes."""


class DistilledMaskedLM(MaskedLM):
    """(1 - weight) cross-entropy + weight KL(teacher || student) over the predicted positions; where states are matched
    a second term over all tokens but padding.

    On held-out rows the loss is the cross-entropy alone, which compares with runs that have no teacher. Parts beside
    `masked_lm`: `divergence` (nats, times the temperature's square; not of held-out rows where logits are stored), and
    `hidden` and `attention` where they are matched, before their weights.
    """

    shown = ("masked_lm", "divergence")

    def __init__(
        self, config: ModelConfig, settings: DistillationConfig, teacher: Teacher | None, store: Store | None = None
    ) -> None:
        """With a `store` the teacher is not read. Raises ValueError where layers cannot be paired."""
        super().__init__(config)
        self.settings = settings
        # In a tuple, so that it is no part of this module.
        self._teacher = (teacher,)
        self._store = store
        self.pairs = [] if teacher is None or store else settings.pairs(config.layers, teacher.config.layers)
        self.heads = settings.relation_heads or config.heads
        self.training_only = nn.ModuleList()
        if self.settings.matches:
            assert teacher is not None
            _check_relations(settings, self.heads, config, teacher.config)
            if settings.hidden and config.width != teacher.config.width:
                self.training_only.extend(nn.Linear(config.width, teacher.config.width) for _ in self.pairs)
            initialise(self.training_only, config.width**-0.5)

    @property
    def teacher(self) -> Teacher | None:
        """None where its logits are stored."""
        return self._teacher[0] if self._store is None else None

    def methods(self) -> dict[str, Method]:
        source = self._store or self._teacher[0]
        assert source is not None
        return {"distillation": Source(source.digest)}

    def beside(self) -> list[nn.Module]:
        return [] if self.teacher is None else [self.teacher.model]

    def prepare(self, batch: "Batch") -> "Batch":
        """With what is stored of its rows. Raises CorpusError where that is nothing, or belongs to other masks."""
        return self._store.fill(batch) if self._store is not None and self.training else batch

    def counts(self, batch: "Batch") -> tuple[int, ...]:
        return (len(batch.target_M), batch.token_count) if self.settings.matches else (len(batch.target_M),)

    def forward(self, batch: "Batch") -> TaskOutput:
        settings, teacher = self.settings, self.teacher
        states: list[Tensor] | None = [] if settings.matches else None
        if states is None:
            h_MD, notes_ND = encode_and_see(self.encoder, batch, batch.target_index_M)
        else:
            h_BTD = encode(self.encoder, batch, states=states)
            h_MD, notes_ND = at(h_BTD, batch.target_index_M), seen(h_BTD, batch)
        told = None
        if teacher is not None:
            relation_layer = self.pairs[-1] if settings.attention else None
            told = teacher.tell(batch, bool(settings.hidden), relation_layer)
        targets = batch.target_M.shape[0]
        sums_2 = self._sums(h_MD, batch, told)
        masked_lm, divergence = sums_2 / max(targets, 1)
        share = settings.weight if self.training else 0.0
        terms = [Term((1 - share) * masked_lm + share * divergence, targets)]
        known = told is not None or batch.pieces_MK is not None
        parts = {"masked_lm": masked_lm.detach(), "divergence": divergence.detach()}
        part_counts: dict[str, Tensor | int] = {"divergence": targets if known else 0}
        if states is not None and told is not None:
            total = masked_lm.new_zeros(())
            for name, weight, found in self._matches(batch, states, told):
                mean = found / max(batch.token_count, 1)
                total = total + weight * mean
                parts[name], part_counts[name] = mean.detach(), batch.token_count
            terms.append(Term(total if self.training else total * 0, batch.token_count))
        loss = torch.stack([term.mean for term in terms]).sum()
        return TaskOutput(loss, parts, targets, tuple(terms), part_counts, notes_ND)

    def _sums(self, h_MD: Tensor, batch: "Batch", told: Told | None) -> Tensor:
        """[summed cross-entropy, summed divergence], nats; 0 where nothing is known of the teacher."""
        temperature = self.settings.temperature
        # Both models' logits are held at once.
        part = max(1, HEAD_LOGITS // (2 * self.config.vocabulary_size))
        if told is not None:

            def both(h_MD: Tensor, target_M: Tensor, told_MD: Tensor) -> Tensor:
                logits_MV, told_MV = self.head(h_MD).float(), self._told_logits(told_MD)
                if self.settings.top_k:
                    kept = top_shares(told_MV, self.settings.top_k, temperature)
                    divergence = top_divergence_sum(*kept, logits_MV, temperature)
                else:
                    divergence = divergence_sum(told_MV, logits_MV, temperature)
                return torch.stack([F.cross_entropy(logits_MV, target_M, reduction="sum"), divergence])

            return summed(both, part, h_MD, batch.target_M, told.h_MD)
        if batch.pieces_MK is not None and batch.log_shares_MK is not None:

            def stored(h_MD: Tensor, target_M: Tensor, pieces_MK: Tensor, log_shares_MK: Tensor) -> Tensor:
                logits_MV = self.head(h_MD).float()
                divergence = top_divergence_sum(pieces_MK, log_shares_MK, logits_MV, temperature)
                return torch.stack([F.cross_entropy(logits_MV, target_M, reduction="sum"), divergence])

            return summed(stored, part, h_MD, batch.target_M, batch.pieces_MK, batch.log_shares_MK)
        alone = summed(self._loss_sum, 2 * part, h_MD, batch.target_M)
        return torch.stack([alone, torch.zeros_like(alone)])

    def _told_logits(self, told_MD: Tensor) -> Tensor:
        assert self.teacher is not None
        return self.teacher.logits(told_MD).float()

    def _matches(self, batch: "Batch", states: list[Tensor], told: Told) -> list[tuple[str, float, Tensor]]:
        """(name, weight, sum over tokens) of what is matched."""
        settings, found = self.settings, []
        if settings.hidden:
            index_N = (batch.segments_BT != 0).flatten().nonzero().flatten()
            differences = []
            for number, theirs in enumerate(self.pairs):
                own_ND = states[number + 1].flatten(0, 1).index_select(0, index_N)
                own_ND = self.training_only[number](own_ND) if len(self.training_only) else own_ND
                differences.append(
                    state_difference_sum(told.states[theirs + 1].flatten(0, 1).index_select(0, index_N), own_ND)
                )
            found.append(("hidden", settings.hidden, torch.stack(differences).mean()))
        if settings.attention:
            assert told.qkv_BTE is not None
            layer = self.encoder.layers[-1]
            assert isinstance(layer, Layer)
            own_BTE = layer.qkv(states[-2])
            divergence = relation_divergence_sum(told.qkv_BTE, own_BTE, batch.segments_BT, self.heads)
            found.append(("attention", settings.attention, divergence))
        return found

    def flops_per_token(self, length: int, predicted_share: float) -> float:
        """With the teacher's forward pass, where it runs along."""
        share = 1.0 if self.settings.matches else None
        own = flops_per_token(self.config, length, predicted_share, share)
        if self.teacher is None:
            return own
        return own + flops_per_token(self.teacher.config, length, predicted_share, share) / (1 + BACKWARD)


def _check_relations(settings: DistillationConfig, heads: int, student: ModelConfig, teacher: ModelConfig) -> None:
    if settings.attention and (student.width % heads or teacher.width % heads):
        raise ValueError(
            f"key 'distillation.relation_heads': {heads} heads must divide both widths, the student's {student.width} "
            f"and the teacher's {teacher.width}"
        )
