"""[notes]: Taking Notes on the Fly, a dictionary of what rare words were seen as."""

from typing import Literal

from pydantic import Field, model_validator

from trainer.model.note_config import NoteConfig, Place, Scale
from trainer.sections.section import Section


class NotesSection(Section):
    """Off by default. The shards' rare words get notes; see docs/methods/notes.md."""

    enabled: bool = False
    share: float = Field(default=0.5, ge=0, le=1)
    """lambda: a rare word's token enters as (1 - lambda) x + lambda note."""
    gamma: float = Field(default=0.1, gt=0, le=1)
    """Share of a new occurrence in the note's moving average."""
    half_window: int = Field(default=16, ge=0, le=512)
    """Tokens before and behind a word that its note is the mean over."""
    start: Literal["zero", "random", "warm"] = "zero"
    """What the dictionary holds at first: zeros, N(0, start_std), or notes that the encoder takes at `warm_step` of the
    windows of the shards' notes table."""
    start_std: float = Field(default=0.02, gt=0)
    filled_only: bool | None = None
    """A word of which no note was taken yet enters as if it were not rare, and its first note is taken whole. By
    default so but for a random start, where every word has a note from the start as in the paper."""
    place: Place = "before"
    """Whether notes enter before or after the embedding norm; all the same in a model without one."""
    scale: Literal["auto", "none", "input"] = "auto"
    """'input': a note is brought to the norm of what it is mixed with; 'none' as in the paper. 'auto': 'input', but
    behind an embedding norm, where both have about the same. (A note's norm is about sqrt(width), an embedding's a
    fiftieth of it at the start.)"""
    warm_step: int = Field(default=0, ge=0)
    """Steps before the windows are encoded. Right at the start the encoder knows nothing."""
    refresh_steps: list[int] = []
    """Steps after which they are encoded anew, by the encoder as it is then."""
    warm_windows: int = Field(default=4, ge=1, le=64)
    """Windows of each word that are encoded, at most; the cost of warming is in proportion to it."""

    @property
    def warm_steps(self) -> frozenset[int]:
        """Steps done before the windows are encoded."""
        return frozenset([self.warm_step, *self.refresh_steps]) if self.start == "warm" else frozenset()

    @property
    def fills_before_use(self) -> bool:
        """`filled_only`, decided."""
        return self.start != "random" if self.filled_only is None else self.filled_only

    def model(self, words: int, embedding_norm: bool) -> NoteConfig:
        """Of a dictionary of so many words, in an encoder with an embedding norm or without."""
        scale: Scale = "none" if self.place == "after" and embedding_norm else "input"
        if self.scale != "auto":
            scale = self.scale
        return NoteConfig(
            words=words, share=self.share, place=self.place, scale=scale, filled_only=self.fills_before_use
        )

    @model_validator(mode="after")
    def _start(self) -> "NotesSection":
        if self.start == "random" and self.filled_only:
            raise ValueError("start = 'random' with filled_only = true: the random notes would never be used")
        if self.start != "warm" and (self.warm_step or self.refresh_steps):
            raise ValueError("warm_step and refresh_steps need start = 'warm'")
        steps = [self.warm_step, *self.refresh_steps]
        if steps != sorted(set(steps)):
            raise ValueError(f"warm_step and refresh_steps must rise, not {steps}")
        return self
