"""A trained run that a student learns from: frozen, in eval mode, in no checkpoint of the student's.

Shape suffixes: B rows, T tokens of a row, M predicted positions, D width, E = 3 D, V vocabulary, N tokens that are no
padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from schemas.manifest import file_digest
from trainer.base import decisive
from trainer.checkpoint import CheckpointError, load_newest
from trainer.config import ConfigError, TrainConfig
from trainer.model.attention import at
from trainer.model.config import ModelConfig
from trainer.model.encoder import Layer
from trainer.notes import set_notes
from trainer.run import RunDirectory, RunError, load_model
from trainer.stacking import grow_tensors
from trainer.tasks.encode import encode, encode_at
from trainer.tasks.masked_lm import MaskedLM
from trainer.weights_digest import weights_digest

if TYPE_CHECKING:
    from trainer.data.batch import Batch


@dataclass(frozen=True)
class Told:
    """What a teacher makes of a batch."""

    h_MD: Tensor
    """Final states at the predicted positions; its head makes the logits of them, a part at a time."""
    states: list[Tensor]
    """The first layer's input, then every layer's output; empty where none was asked for."""
    qkv_BTE: Tensor | None = None
    """Query, key and value of one layer."""


class Teacher:
    """The model of a run of task masked-lm."""

    def __init__(self, model: MaskedLM) -> None:
        self.model = model.eval().requires_grad_(False)
        self.digest = weights_digest(model)
        """Of its weights."""

    @property
    def config(self) -> ModelConfig:
        return self.model.config

    @torch.compiler.disable
    @torch.no_grad()
    def tell(self, batch: "Batch", states: bool = False, relation_layer: int | None = None) -> Told:
        """Notes of rare words enter where the teacher has some and the batch tells the words."""
        if not states and relation_layer is None:
            return Told(encode_at(self.model.encoder, batch, batch.target_index_M), [])
        kept: list[Tensor] = []
        h_MD = at(encode(self.model.encoder, batch, states=kept), batch.target_index_M)
        if relation_layer is None:
            return Told(h_MD, kept)
        layer = self.model.encoder.layers[relation_layer]
        assert isinstance(layer, Layer)
        return Told(h_MD, kept, layer.qkv(kept[relation_layer]))

    @torch.no_grad()
    def logits(self, h_MD: Tensor) -> Tensor:
        """logits_MV"""
        return self.model.head(h_MD)

    def start(self, model: ModelConfig, layers: Sequence[int]) -> dict[str, Tensor]:
        """Weights of a student of shape `model` whose layers begin as these of the teacher, by name; the dictionary of
        notes is not among them. Raises ConfigError where the shapes do not fit."""
        key, theirs, ours = "key 'distillation.layers'", decisive(self.config), decisive(model)
        if differing := [name for name in ours if name != "notes" and ours[name] != theirs[name]]:
            told = "; ".join(f"model.{name} is {ours[name]!r}, the teacher has {theirs[name]!r}" for name in differing)
            raise ConfigError(f"{key}: layers can be taken from a teacher of the same shape alone: {told}")
        if len(layers) != model.layers or max(layers) >= self.config.layers:
            raise ConfigError(
                f"{key}: {list(layers)}: must be {model.layers} numbers, one for each of the student's layers, below "
                f"the teacher's {self.config.layers}"
            )
        held = {k: t for k, t in self.model.state_dict().items() if not k.startswith("encoder.notes.")}
        return {name: tensor.clone() for name, tensor in grow_tensors(held, list(layers)).items()}


def load_teacher(config: TrainConfig, model: ModelConfig, data: dict[str, Any]) -> Teacher:
    """`config.distillation.teacher`, for a student of shape `model` on these data (`trainer.resume.data_identity`).

    Its notes of rare words are read where the student takes some of the same corpus. Raises ConfigError naming the key
    and what differs; RunError or CheckpointError where the run cannot be read.
    """
    path = config.distillation.teacher
    key = f"key 'distillation.teacher': {path}"
    try:
        # Building it draws, and a student starts the same with and without a teacher.
        with torch.random.fork_rng(devices=[]):
            found = load_model(path)
    except (RunError, CheckpointError) as error:
        raise type(error)(f"key 'distillation.teacher': {error}") from error
    if not isinstance(found, MaskedLM):
        raise ConfigError(f"{key} was trained by task {found.kind}; a teacher has to be of task masked-lm")
    directory = RunDirectory(path)
    known = file_digest(directory.vocabulary) if directory.vocabulary.is_file() else None
    if known != data["vocabulary"] or found.config.vocabulary_size != model.vocabulary_size:
        raise ConfigError(f"{key} was trained with another vocabulary than these shards have")
    if (longest := found.config.max_length) < config.data.sequence_length:
        raise ConfigError(
            f"{key} reads rows of up to {longest} tokens; data.sequence_length is {config.data.sequence_length}"
        )
    if found.config.notes is not None and (
        model.notes is None or model.notes.words != found.config.notes.words or _shards(directory) != data["train"]
    ):
        set_notes(found.encoder, "drop")
    return Teacher(found)


def _shards(directory: RunDirectory) -> Any:
    """Which training split a run had, by content; None where it does not say."""
    newest = load_newest(directory.checkpoints, warn=lambda text: None)
    return None if newest is None else newest.state.data.get("train")
