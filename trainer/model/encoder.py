"""The encoder: token ids to one hidden state per token.

Shape suffixes: B rows, T tokens of a row, D width, M positions whose states are asked for.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from schemas.vocabulary import PAD
from trainer.model.attention import AttentionPlan, SelfAttention, at, plan_attention
from trainer.model.choice import choose_attention
from trainer.model.config import NORM_EPSILON, ModelConfig
from trainer.model.note_config import Place
from trainer.model.notes import NoteTable
from trainer.model.positions import AbsolutePositions, SinusoidalPositions, TupeAbsolutePositions
from trainer.model.reference import reference_plan
from trainer.model.relative import AlibiPositions, BertRelativePositions, TupeRelativePositions
from trainer.model.rotary import RotaryPositions
from trainer.model.term import Positions

POSITIONS: Final[dict[str, Callable[[ModelConfig], Positions]]] = {
    "absolute": AbsolutePositions,
    "sinusoidal": SinusoidalPositions,
    "tupe-a": TupeAbsolutePositions,
    "tupe-r": TupeRelativePositions,
    "bert-r": BertRelativePositions,
    "rope": RotaryPositions,
    "alibi": AlibiPositions,
}

if TYPE_CHECKING:
    from trainer.data.rare import RareWords


def initialise(module: nn.Module, std: float) -> None:
    """Linear and Embedding weights N(0, std), biases 0, norms 1 and 0, the padding row 0 (BERT)."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            nn.init.zeros_(part.weight[part.padding_idx])
        if isinstance(part, nn.LayerNorm):
            part.reset_parameters()


def _norm(width: int, wanted: bool) -> nn.Module:
    return nn.LayerNorm(width, eps=NORM_EPSILON) if wanted else nn.Identity()


class FeedForward(nn.Module):
    """d -> feed_forward -> GELU (exact) -> d, on each token alone; NormFormer's norm behind the GELU."""

    def __init__(self, config: ModelConfig, inner: int) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, inner)
        self.down = nn.Linear(inner, config.width)
        self.norm = _norm(inner, config.norm == "pre-extra")

    def forward(self, h_BTD: Tensor) -> Tensor:
        return self.down(self.norm(F.gelu(self.up(h_BTD))))


class Layer(nn.Module):
    """Attention, then feed-forward, each with its residual and layer norm."""

    def __init__(self, config: ModelConfig, number: int) -> None:
        super().__init__()
        shape = config.shape(number)
        self.norm_first = config.norm != "post"
        self.attention = SelfAttention(config, shape.heads)
        self.attention_norm = _norm(config.width, True)
        self.attention_out_norm = _norm(config.width, config.norm == "pre-extra")
        """NormFormer's."""
        self.feed_forward = FeedForward(config, shape.feed_forward)
        self.feed_forward_norm = _norm(config.width, True)
        self.dropout = nn.Dropout(config.dropout)

    def qkv(self, h_BTD: Tensor) -> Tensor:
        """qkv_BTE that the attention makes of the layer's input."""
        return self.attention.qkv(self.attention_norm(h_BTD) if self.norm_first else h_BTD)

    def forward(
        self, h_BTD: Tensor, plan: AttentionPlan, read_M: Tensor | None = None, around: list[Tensor] | None = None
    ) -> Tensor:
        """h_BTD, or h_MD at the flat positions `read_M`: what comes behind the attention looks at no other position.
        `around` is given the states of all positions without a graph, for a third of what they cost with one."""
        o_BTE = self.attention.mix(self.attention_norm(h_BTD) if self.norm_first else h_BTD, plan)
        h = self.behind(o_BTE, h_BTD) if read_M is None else self.behind(at(o_BTE, read_M), at(h_BTD, read_M))
        if around is not None:
            # Behind the other: autocast keeps the weights it rounded, and must not have made them without a graph.
            with torch.no_grad():
                around.append(self.behind(o_BTE, h_BTD))
        return h

    def behind(self, o_BTE: Tensor, h: Tensor) -> Tensor:
        """From what the attention gathered and the layer's input to its output, on each position alone."""
        attended = self.attention.project(o_BTE)
        if self.norm_first:
            h = h + self.dropout(self.attention_out_norm(attended))
            return h + self.dropout(self.feed_forward(self.feed_forward_norm(h)))
        h = self.attention_norm(h + self.dropout(attended))
        return self.feed_forward_norm(h + self.dropout(self.feed_forward(h)))


class Encoder(nn.Module):
    """A bidirectional Transformer encoder over packed or padded rows."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary_size, config.width, padding_idx=PAD)
        self.positions = POSITIONS[config.positions](config)
        self.embedding_norm = _norm(config.width, config.embedding_norm)
        self.notes = None if config.notes is None else NoteTable(config.notes, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.layers))
        self.final_norm = _norm(config.width, config.norm != "post")
        self.recompute = False
        """Activation checkpointing: layers keep their input alone and are run again in the backward."""
        self.whole = False
        """Every layer at every position, also where less is read: for who looks into the layers."""
        initialise(self, config.init_std)
        self._rescale()

    @torch.no_grad()
    def _rescale(self) -> None:
        """Weights that start at another size than `init_std`; no further draws, so all others stay as they were."""
        config = self.config
        for layer in self.layers:
            assert isinstance(layer, Layer)
            for linear in (layer.attention.out, layer.feed_forward.down):
                linear.weight.mul_(config.residual_std / config.init_std)
        if config.position_std is not None and isinstance(self.positions, AbsolutePositions):
            self.positions.embedding.weight.mul_(config.position_std / config.init_std)
        if config.position_start == "sinusoidal":
            assert isinstance(self.positions, TupeAbsolutePositions)
            self.positions.start_smooth()

    def forward(
        self,
        tokens_BT: Tensor,
        segments_BT: Tensor,
        positions_BT: Tensor,
        words: "RareWords | None" = None,
        states: list[Tensor] | None = None,
        read_M: Tensor | None = None,
        around: list[Tensor] | None = None,
    ) -> Tensor:
        """h_BTD, the last layer's states; or h_MD of the positions `read_M`.

        Args:
            tokens_BT: int64 piece ids.
            segments_BT: int64; 0 is padding, 1, 2, ... the document inside the row. Documents never see one another.
            positions_BT: int64; 0 at the [CLS] of each document, then 1, 2, ...; below `max_length`, padding included.
            words: rare words whose notes enter the input, where the encoder has notes.
            states: given the first layer's input and then every layer's output, the final norm not applied.
            read_M: int64 positions in the flattened B * T. Behind its attention the last layer is then worked out for
                these alone.
            around: given h_BTD without a graph, whatever `read_M` asks for.

        Raises:
            ValueError: a position or token is out of range (checked on CPU, uncompiled).
        """
        if tokens_BT.device.type == "cpu" and not torch.compiler.is_compiling():
            _check_range("position", positions_BT, self.config.max_length, "max_length")
            _check_range("token id", tokens_BT, self.config.vocabulary_size, "vocabulary_size")
        h_BTD = self.embed(tokens_BT, positions_BT, words)
        return self.encode(h_BTD, segments_BT, positions_BT, states, read_M, around)

    def embed(self, tokens_BT: Tensor, positions_BT: Tensor, words: "RareWords | None" = None) -> Tensor:
        """Input of the first layer. TUPE, RoPE and ALiBi put no position into it."""
        h_BTD = self.token_embedding(tokens_BT)
        added_BTD = self.positions.added(positions_BT)
        if added_BTD is not None:
            h_BTD = h_BTD + added_BTD
        h_BTD = self._with_notes(h_BTD, words, "before")
        return self.dropout(self._with_notes(self.embedding_norm(h_BTD), words, "after"))

    def _with_notes(self, h_BTD: Tensor, words: "RareWords | None", place: Place) -> Tensor:
        """With notes mixed in, where there are some and this is their place."""
        if self.notes is None or words is None or self.notes.config.place != place:
            return h_BTD
        return self.notes.mix(h_BTD, words)

    def encode(
        self,
        h_BTD: Tensor,
        segments_BT: Tensor,
        positions_BT: Tensor,
        states: list[Tensor] | None = None,
        read_M: Tensor | None = None,
        around: list[Tensor] | None = None,
    ) -> Tensor:
        """All layers and, but under Post-LN, the final norm."""
        late_M = read_M if states is None and not self.whole else None
        last: list[Tensor] | None = None if around is None or late_M is None else []
        plan = self.plan(segments_BT, positions_BT, h_BTD.dtype)
        if states is not None:
            states.append(h_BTD)
        for number, layer in enumerate(self.layers, 1):
            read, seen = (late_M, last) if number == len(self.layers) else (None, None)
            if self.recompute and self.training:
                h_BTD = checkpoint(layer, h_BTD, plan, read, seen, use_reentrant=False)
            else:
                h_BTD = layer(h_BTD, plan, read, seen)
            if states is not None:
                states.append(h_BTD)
        if around is not None:
            with torch.no_grad():
                around.append(self.final_norm(h_BTD.detach() if last is None else last[0]))
        if read_M is not None and late_M is None:
            h_BTD = at(h_BTD, read_M)
        return self.final_norm(h_BTD)

    def plan(self, segments_BT: Tensor, positions_BT: Tensor, dtype: torch.dtype) -> AttentionPlan:
        """What the layers share: documents' mask and positional scores, made once a forward."""
        device = segments_BT.device
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        config = self.config
        path = choose_attention(
            device, segments_BT.shape[1], config.positions, config.attention, dtype, torch.is_grad_enabled()
        )
        if path == "reference":
            return reference_plan(config, self.positions, segments_BT, positions_BT)
        return plan_attention(path, config, segments_BT, positions_BT, self.positions, dtype)


def _check_range(what: str, values: Tensor, limit: int, key: str) -> None:
    if values.numel() and not (int(values.min()) >= 0 and int(values.max()) < limit):
        raise ValueError(
            f"{what} {int(values.max())} (smallest {int(values.min())}) lies outside [0, {limit}): "
            f"the model was made with {key} = {limit}"
        )
