"""Siliang's encoder for transformers, in one file: config, encoder, and heads for masked LM, texts and words.

    AutoModelForMaskedLM.from_pretrained(DIR, trust_remote_code=True)

It needs torch and transformers alone. Rows are padded to the right; a row holds one text (or pair). Shape suffixes:
B rows, T tokens, D width, H heads, C head width, R = C / 2 planes of a rotation, V vocabulary, K labels.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

LEARNED = ("absolute", "bert-r", "tupe-a", "tupe-r")
UNTIED = ("tupe-a", "tupe-r")
BUCKETED = ("bert-r", "tupe-r")
BUCKET_STARTS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91)
"""Least distance of T5's buckets 1..15 of each direction: from 8 on half an octave each."""


class SiliangConfig(PretrainedConfig):
    model_type = "siliang"

    def __init__(
        self,
        vocab_size: int = 16384,
        hidden_size: int = 256,
        num_hidden_layers: int = 6,
        num_attention_heads: int = 4,
        intermediate_size: int = 1024,
        max_position_embeddings: int = 128,
        positions: str = "tupe-a",
        norm: str = "pre",
        embedding_norm: bool = False,
        head_scale: bool = False,
        hidden_dropout_prob: float = 0.0,
        classifier_dropout: float = 0.1,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-5,
        pad_token_id: int = 0,
        shapes: list[dict] | None = None,
        tie_word_embeddings: bool = True,
        **kwargs,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.max_position_embeddings = max_position_embeddings
        self.positions = positions
        """absolute, sinusoidal, bert-r (absolute and T5's buckets), tupe-a, tupe-r, rope or alibi."""
        self.norm = norm
        """pre, post or pre-extra (NormFormer)."""
        self.embedding_norm = embedding_norm
        self.head_scale = head_scale
        self.hidden_dropout_prob = hidden_dropout_prob
        self.classifier_dropout = classifier_dropout
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.shapes = shapes
        """Of a pruned model: for each layer the heads that it still has, and its intermediate_size as feed_forward."""
        super().__init__(pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs)


def layer_norm(config: SiliangConfig, width: int, wanted: bool = True) -> nn.Module:
    return nn.LayerNorm(width, eps=config.layer_norm_eps) if wanted else nn.Identity()


def alibi_slopes(heads: int) -> list[float]:
    """2^(-8/n), 2^(-16/n), ... of n heads, a power of two; of other numbers some of the next power's between them."""
    power = 1 << (heads.bit_length() - 1)
    slopes = [2 ** (-8 * (k + 1) / power) for k in range(power)]
    return slopes + [2 ** (-4 * (k + 1) / power) for k in range(0, 2 * power, 2)][: heads - power]


def rotate(x_BHTC: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
    """RoPE on the pairs (0, 1), (2, 3), ... of features."""
    even, odd = x_BHTC.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * cos_TR - odd * sin_TR, even * sin_TR + odd * cos_TR], -1)
    return turned.flatten(-2).to(x_BHTC.dtype)


class Positions(nn.Module):
    """What positions 0..T-1 add to the input, to the scores of all layers, or turn queries and keys by."""

    def __init__(self, config: SiliangConfig) -> None:
        super().__init__()
        self.kind, self.heads, self.width = config.positions, config.num_attention_heads, config.hidden_size
        if self.kind in LEARNED:
            self.embedding = nn.Embedding(config.max_position_embeddings, self.width)
        if self.kind in UNTIED:
            self.norm = layer_norm(config, self.width)
            self.query = nn.Linear(self.width, self.width)
            self.key = nn.Linear(self.width, self.width)
        if self.kind in BUCKETED:
            self.relative = nn.ModuleDict({"table": nn.Embedding(32, self.heads)})
        if self.kind == "sinusoidal":
            self.scale = nn.Parameter(torch.ones(1))

    def added(self, length: int, device: torch.device) -> Tensor | None:
        """[T, D], or None."""
        if self.kind in ("absolute", "bert-r"):
            return self.embedding.weight[:length]
        if self.kind != "sinusoidal":
            return None
        rate = 10_000.0 ** (-torch.arange(0, self.width, 2, dtype=torch.float64, device=device) / self.width)
        angle = torch.arange(length, dtype=torch.float64, device=device)[:, None] * rate
        table_TD = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, : self.width]
        return table_TD.to(self.scale.dtype) * self.scale

    def scores(self, length: int, device: torch.device) -> Tensor | None:
        """[H, T, T] that is added to the scaled scores of contents, or None."""
        place_T = torch.arange(length, device=device)
        distance_TT = place_T[None] - place_T[:, None]
        if self.kind == "alibi":
            slope_H = torch.tensor(alibi_slopes(self.heads), device=device)
            return -slope_H[:, None, None] * distance_TT.abs()
        scores_HTT = self.bucketed(distance_TT) if self.kind in BUCKETED else None
        if self.kind not in UNTIED:
            return scores_HTT
        # TUPE: scores of positions apart from the contents'. [CLS] (place 0) is untied: its column is one number a
        # head (q_0 . k_0, row 0 of the table serves for that alone), its row a constant, which softmax removes.
        p_TD = self.norm(self.embedding.weight[:length])
        q_HTC, k_HTC = (f(p_TD).unflatten(-1, (self.heads, -1)).transpose(0, 1) for f in (self.query, self.key))
        untied_HTT = q_HTC @ k_HTC.transpose(1, 2) / math.sqrt(2 * self.width // self.heads)
        both_HTT = untied_HTT if scores_HTT is None else untied_HTT + scores_HTT
        to_cls_H1T = torch.where(place_T == 0, 0.0, untied_HTT[:, :1, 0])[..., None]
        scores_HTT = torch.where(place_T == 0, to_cls_H1T, both_HTT)
        return torch.where(place_T[:, None] == 0, 0.0, scores_HTT)

    def bucketed(self, distance_TT: Tensor) -> Tensor:
        """T5's scores: keys to the left have buckets 0..15, keys to the right 17..31."""
        starts = torch.tensor(BUCKET_STARTS, device=distance_TT.device)
        bucket_TT = torch.bucketize(distance_TT.abs(), starts, right=True) + 16 * (distance_TT > 0)
        return self.relative["table"](bucket_TT).permute(2, 0, 1)

    def rotation(self, length: int, device: torch.device) -> tuple[Tensor, Tensor] | None:
        """(cos [T, R], sin [T, R]), or None."""
        if self.kind != "rope":
            return None
        planes = self.width // self.heads // 2
        rate_R = 10_000.0 ** (-torch.arange(planes, dtype=torch.float64, device=device) / planes)
        angle_TR = torch.arange(length, dtype=torch.float64, device=device)[:, None] * rate_R
        return angle_TR.cos().float(), angle_TR.sin().float()


class Attention(nn.Module):
    def __init__(self, config: SiliangConfig, kept: list[int] | None = None) -> None:
        super().__init__()
        self.kept, self.heads = kept, len(kept or range(config.num_attention_heads))
        untied = 2 if config.positions in UNTIED else 1
        head_width = config.hidden_size // config.num_attention_heads
        self.scale = 1 / math.sqrt(untied * head_width)
        self.qkv = nn.Linear(config.hidden_size, 3 * self.heads * head_width)
        self.out = nn.Linear(self.heads * head_width, config.hidden_size)
        self.head_scale = nn.Parameter(torch.ones(self.heads)) if config.head_scale else None

    def forward(self, h_BTD: Tensor, bias: Tensor | None, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        q, k, v = self.qkv(h_BTD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        if self.kept is not None and bias is not None and bias.shape[1] > 1:
            bias = bias[:, self.kept]
        o_BHTC = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)
        if self.head_scale is not None:
            o_BHTC = o_BHTC * self.head_scale[:, None, None]
        return self.out(o_BHTC.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, config: SiliangConfig, inner: int) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden_size, inner)
        self.norm = layer_norm(config, inner, config.norm == "pre-extra")
        self.down = nn.Linear(inner, config.hidden_size)

    def forward(self, h_BTD: Tensor) -> Tensor:
        return self.down(self.norm(F.gelu(self.up(h_BTD))))


class Layer(nn.Module):
    def __init__(self, config: SiliangConfig, number: int) -> None:
        super().__init__()
        shape = config.shapes[number] if config.shapes else {}
        self.norm_first = config.norm != "post"
        self.attention = Attention(config, shape.get("heads"))
        self.attention_norm = layer_norm(config, config.hidden_size)
        self.attention_out_norm = layer_norm(config, config.hidden_size, config.norm == "pre-extra")
        self.feed_forward = FeedForward(config, shape.get("feed_forward", config.intermediate_size))
        self.feed_forward_norm = layer_norm(config, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, h_BTD: Tensor, bias: Tensor | None, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        if self.norm_first:
            attended = self.attention_out_norm(self.attention(self.attention_norm(h_BTD), bias, rotation))
            h_BTD = h_BTD + self.dropout(attended)
            return h_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(h_BTD)))
        h_BTD = self.attention_norm(h_BTD + self.dropout(self.attention(h_BTD, bias, rotation)))
        return self.feed_forward_norm(h_BTD + self.dropout(self.feed_forward(h_BTD)))


class SiliangPreTrainedModel(PreTrainedModel):
    config_class = SiliangConfig
    base_model_prefix = "encoder"
    _no_split_modules = ["Layer"]
    _supports_sdpa = True


class SiliangModel(SiliangPreTrainedModel):
    """The encoder alone: last_hidden_state [B, T, D]."""

    _keys_to_ignore_on_load_unexpected = [r"^head\.", r"^dense\.", r"^out\."]

    def __init__(self, config: SiliangConfig) -> None:
        super().__init__(config)
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.positions = Positions(config)
        self.embedding_norm = layer_norm(config, config.hidden_size, config.embedding_norm)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.num_hidden_layers))
        self.final_norm = layer_norm(config, config.hidden_size, config.norm != "post")
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.token_embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.token_embedding = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> BaseModelOutput | tuple:
        """attention_mask [B, T]: 0 at padding, which must stand at the right. Other arguments are ignored."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give input_ids or inputs_embeds, one of them")
        h_BTD = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        length, device = h_BTD.shape[1], h_BTD.device
        if length > self.config.max_position_embeddings:
            raise ValueError(f"{length} tokens; this model reads {self.config.max_position_embeddings}: truncate")
        added_TD = self.positions.added(length, device)
        h_BTD = h_BTD if added_TD is None else h_BTD + added_TD
        h_BTD = self.dropout(self.embedding_norm(h_BTD))
        bias = self.positions.scores(length, device)
        bias = None if bias is None else bias[None].to(h_BTD.dtype)
        if attention_mask is not None:
            # The lowest finite number and not -inf: a row that is all padding must not become NaN.
            lowest = torch.finfo(h_BTD.dtype).min
            hidden_B11T = (attention_mask == 0)[:, None, None]
            bias = torch.zeros_like(hidden_B11T, dtype=h_BTD.dtype) if bias is None else bias
            bias = torch.where(hidden_B11T, lowest, bias)
        rotation = self.positions.rotation(length, device)
        states = [h_BTD]
        for layer in self.layers:
            h_BTD = layer(h_BTD, bias, rotation)
            states.append(h_BTD)
        h_BTD = self.final_norm(h_BTD)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        hidden_states = (*states[:-1], h_BTD) if wanted else None
        if return_dict is False:
            return (h_BTD,) if hidden_states is None else (h_BTD, hidden_states)
        return BaseModelOutput(last_hidden_state=h_BTD, hidden_states=hidden_states)


class MaskedLMHead(nn.Module):
    def __init__(self, config: SiliangConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = layer_norm(config, config.hidden_size)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, h_BTD: Tensor) -> Tensor:
        return self.decoder(self.norm(F.gelu(self.dense(h_BTD))))


def answered(loss: Tensor | None, logits: Tensor, encoded: BaseModelOutput, form: type, return_dict: bool | None):
    """The form that transformers' callers want."""
    if return_dict is False:
        return tuple(part for part in (loss, logits, encoded.hidden_states) if part is not None)
    return form(loss=loss, logits=logits, hidden_states=encoded.hidden_states)


class SiliangForMaskedLM(SiliangPreTrainedModel):
    """logits [B, T, V]."""

    _tied_weights_keys = {"head.decoder.weight": "encoder.token_embedding.weight"}

    def __init__(self, config: SiliangConfig) -> None:
        super().__init__(config)
        self.encoder = SiliangModel(config)
        self.head = MaskedLMHead(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.head.decoder

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.head.decoder = value

    def forward(self, input_ids=None, attention_mask=None, labels=None, return_dict=None, **kwargs):
        """labels [B, T]: pieces that are to be predicted, -100 elsewhere."""
        encoded = self.encoder(input_ids, attention_mask, **kwargs)
        logits_BTV = self.head(encoded.last_hidden_state)
        loss = None if labels is None else F.cross_entropy(logits_BTV.flatten(0, 1).float(), labels.flatten())
        return answered(loss, logits_BTV, encoded, MaskedLMOutput, return_dict)


class SiliangForSequenceClassification(SiliangPreTrainedModel):
    """logits [B, K]: [CLS] -> dense -> tanh -> dropout -> out; with one label a value (problem_type "regression")."""

    def __init__(self, config: SiliangConfig) -> None:
        super().__init__(config)
        self.encoder = SiliangModel(config)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.out = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, labels=None, return_dict=None, **kwargs):
        """labels [B]: classes, or values."""
        encoded = self.encoder(input_ids, attention_mask, **kwargs)
        logits_BK = self.out(self.dropout(torch.tanh(self.dense(encoded.last_hidden_state[:, 0]))))
        loss = None
        if labels is not None and self.config.num_labels == 1:
            loss = F.mse_loss(logits_BK.float()[:, 0], labels.float())
        elif labels is not None:
            loss = F.cross_entropy(logits_BK.float(), labels)
        return answered(loss, logits_BK, encoded, SequenceClassifierOutput, return_dict)


class SiliangForTokenClassification(SiliangPreTrainedModel):
    """logits [B, T, K]; it was trained on the first piece of each word."""

    def __init__(self, config: SiliangConfig) -> None:
        super().__init__(config)
        self.encoder = SiliangModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.out = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, labels=None, return_dict=None, **kwargs):
        """labels [B, T]: classes of first pieces, -100 elsewhere."""
        encoded = self.encoder(input_ids, attention_mask, **kwargs)
        logits_BTK = self.out(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else F.cross_entropy(logits_BTK.flatten(0, 1).float(), labels.flatten())
        return answered(loss, logits_BTK, encoded, TokenClassifierOutput, return_dict)
