"""[task]: what the encoder is trained to do."""

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from trainer.model.config import ModelConfig
from trainer.sections.section import Section

LEAST_CANDIDATES = 2
"""`<neither>` and one piece."""

Kind = Literal["masked-lm", "multiple-choice", "replaced-token"]
KINDS: tuple[str, ...] = get_args(Kind)
_CONTROLLED = {"multiple-choice", "replaced-token"}


class TaskConfig(Section):
    """An option that the chosen task or difficulty does not read is an error where it is not its default."""

    kind: Kind = "masked-lm"
    """'masked-lm': predict the pieces behind the masks (BERT). 'multiple-choice': a small controller fills the masks;
    choose at each position among its candidates, or none of them (MC-BERT). 'replaced-token': the controller fills the
    masks; say which pieces are not the original ones (ELECTRA)."""
    weight: float = Field(default=50.0, ge=0)
    """Lambda: of the main network's loss; the controller's has 1."""
    candidates: int = Field(default=10, ge=LEAST_CANDIDATES, le=1000)
    """Of each position, `<neither>` included."""
    sampling: Literal["distinct", "replacement"] = "distinct"
    """'distinct': candidates differ from one another and from the piece that stands there (Gumbel top-k);
    'replacement': independent draws, as published."""
    temperature: float = Field(default=1.0, gt=0, le=100)
    """The controller's logits are divided by it before anything is drawn."""
    controller_layers: int | None = Field(default=None, ge=1)
    """None: as many as the encoder has, also while that grows."""
    controller_width: int | None = Field(default=None, ge=1)
    """None: a quarter of the encoder's, rounded down to a multiple of its head width where it is that wide."""
    controller_heads: int | None = Field(default=None, ge=1)
    """None: heads as wide as the encoder's, at least one."""
    controller_feed_forward: int | None = Field(default=None, ge=1)
    """None: 4 x controller_width."""
    difficulty: Literal["fixed", "temperature", "candidates", "mask-rate"] = "fixed"
    """What is steered, so that the main network succeeds on `difficulty_target` of the replaced positions."""
    difficulty_target: float = Field(default=0.5, gt=0, lt=1)
    difficulty_decay: float = Field(default=0.98, ge=0, lt=1)
    """Of the running mean of the success rate, per step."""
    difficulty_gain: float = Field(default=0.01, gt=0, le=1)
    """Share of the range from easiest to hardest that a step moves by, times (success - target)."""
    difficulty_easiest: float | None = Field(default=None, gt=0)
    """Bound; None: temperature 2, 2 candidates, a third of data.mask_rate."""
    difficulty_hardest: float | None = Field(default=None, gt=0)
    """Bound; None: temperature 0.5, `candidates`, data.mask_rate."""

    @model_validator(mode="after")
    def _options(self) -> "TaskConfig":
        unread = {
            "masked-lm": [name for name in type(self).model_fields if name != "kind"],
            "replaced-token": ["candidates", "sampling"],
        }.get(self.kind, [])
        if self.difficulty == "fixed":
            unread += [name for name in type(self).model_fields if name.startswith("difficulty_")]
        for name in unread:
            if getattr(self, name) != type(self).model_fields[name].default:
                whose = f"kind '{self.kind}'" if not name.startswith("difficulty_") else "this kind and difficulty"
                raise ValueError(f"task.{name} does nothing with {whose}; leave it out")
        if self.kind == "replaced-token" and self.difficulty == "candidates":
            raise ValueError("task.difficulty 'candidates': replaced-token has no candidates; steer another")
        return self

    @property
    def controlled(self) -> bool:
        """Whether there is a controller."""
        return self.kind in _CONTROLLED

    def fixed(self) -> "TaskConfig":
        """Without a steered difficulty: what held-out rows are seen with."""
        unsteered = {name: f.default for name, f in type(self).model_fields.items() if name.startswith("difficulty")}
        return self.model_copy(update=unsteered)

    def controller(self, encoder: ModelConfig) -> ModelConfig:
        """The controller's shape beside this encoder; but for size and notes it is the encoder's. Raises ValueError."""
        width = self.controller_width
        if width is None:
            quarter = max(1, encoder.width // 4)
            width = quarter - quarter % encoder.head_width if quarter >= encoder.head_width else quarter
        if width > encoder.width:
            raise ValueError(f"task.controller_width ({width}) is above the encoder's width ({encoder.width})")
        heads = self.controller_heads or max(1, width // encoder.head_width)
        if width % heads:
            raise ValueError(f"task.controller_width ({width}) must be a multiple of its heads ({heads})")
        changes: dict[str, Any] = {
            "layers": self.controller_layers or encoder.layers,
            "width": width,
            "heads": heads,
            "feed_forward": self.controller_feed_forward or 4 * width,
            "notes": None,
        }
        return ModelConfig.model_validate(encoder.model_dump() | changes)
