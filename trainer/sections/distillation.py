"""[distillation]: a trained model that a smaller one learns from while it is pre-trained."""

from pydantic import Field, model_validator

from trainer.sections.section import Section


class DistillationConfig(Section):
    """LightPAFF's first stage (Song et al. 2020, arXiv 2004.12817); docs/light.md."""

    teacher: str = ""
    """A run (its directory) of task masked-lm on the same vocabulary. Empty: no teacher."""
    logits: str = ""
    """What `siliang-trainer compress teach` wrote, in place of a teacher that runs along."""
    weight: float = Field(default=0.5, ge=0, le=1)
    """Share of KL(teacher || student) on the predicted positions; the rest is the masked LM's cross-entropy."""
    temperature: float = Field(default=1.0, gt=0, le=100)
    """Of both distributions; the divergence is multiplied by its square (Hinton et al. 2015)."""
    top_k: int = Field(default=0, ge=0, le=1000)
    """Pieces of the teacher's distribution that count each by itself, all others as one; 0: each does."""
    layers: list[int] = []
    """Layers of the teacher, counted from 0, that the student's layers start as, one for each; embeddings, positions,
    norms and head come along. The widths must be equal. Empty: a fresh start."""
    hidden: float = Field(default=0.0, ge=0)
    """Weight of the mean squared difference between normalised states (layer norms without gain) of paired layers; a
    linear map, which is thrown away later, leads from the student's width to the teacher's where they differ
    (TinyBERT)."""
    attention: float = Field(default=0.0, ge=0)
    """Weight of the divergence between attention relations of the last pair of layers: softmax of q q', k k' and v v'
    (MiniLMv2, Wang et al. 2021, arXiv 2012.15828)."""
    layer_map: list[int] = []
    """For each layer of the student the teacher's layer that it is compared with, counted from 0. Empty: `layers`, or
    else evenly spread ones, the last with the last."""
    relation_heads: int = Field(default=0, ge=0)
    """Heads that relations are taken over, whatever the two models' own; 0: the student's."""

    @property
    def enabled(self) -> bool:
        return bool(self.teacher or self.logits)

    @property
    def matches(self) -> bool:
        """Whether the teacher's states are needed."""
        return bool(self.hidden or self.attention)

    @model_validator(mode="after")
    def _options(self) -> "DistillationConfig":
        changed = [
            name for name in type(self).model_fields if getattr(self, name) != type(self).model_fields[name].default
        ]
        if changed and not self.enabled:
            raise ValueError(f"distillation.{changed[0]} does nothing without distillation.teacher or .logits")
        if self.logits and self.matches:
            raise ValueError("distillation.hidden and .attention need a teacher that runs along, not stored logits")
        if self.logits and self.layers and not self.teacher:
            raise ValueError("distillation.layers are the teacher's: set distillation.teacher beside .logits")
        if self.layer_map and not self.matches:
            raise ValueError("distillation.layer_map does nothing without distillation.hidden or .attention")
        if any(layer < 0 for layer in (*self.layers, *self.layer_map)):
            raise ValueError("distillation.layers and .layer_map count the teacher's layers from 0")
        return self

    def pairs(self, student: int, teacher: int) -> list[int]:
        """The teacher's layer of each of the student's, for models of so many layers. Raises ValueError."""
        told = self.layer_map or self.layers
        if not told:
            return [max((number + 1) * teacher // student - 1, 0) for number in range(student)]
        name = "layer_map" if self.layer_map else "layers"
        if len(told) != student or max(told) >= teacher:
            raise ValueError(
                f"key 'distillation.{name}': {told}: must be {student} numbers, one for each of the student's layers, "
                f"below the teacher's {teacher}"
            )
        return told
