"""How an encoder uses notes of rare words (trainer.model.notes)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Place = Literal["before", "after"]
Scale = Literal["none", "input"]


class NoteConfig(BaseModel):
    """What decides what an encoder does with notes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: int = Field(ge=1)
    """Words in the dictionary."""
    share: float = Field(default=0.5, ge=0, le=1)
    """lambda: a rare word's token enters as (1 - lambda) x + lambda note."""
    place: Place = "before"
    """Of the embedding norm. Without such a norm both are the same."""
    scale: Scale = "none"
    """'input': each note is brought to the L2 norm of the x that it is mixed with. Notes are final states of norm about
    sqrt(width), embeddings far shorter: without a norm behind the mixture, notes alone would be seen."""
    filled_only: bool = True
    """A word that no note was taken of enters as if it were not rare; else with the note it started from."""
