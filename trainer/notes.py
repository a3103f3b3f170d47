"""Taking notes on the fly (Wu et al., ICLR 2021, arXiv 2008.01466): how the dictionary of notes is written.

What a rare word was seen as, the mean of the final states around it, goes into a moving average; reading it is the
encoder's part (trainer.model.notes). Shape suffixes: N occurrences of words, U different words among them, W words of
the dictionary, D width.

For those who take a trained encoder on, to fine-tune it:

    model = load_model(RUN)              notes come with it; `model.encoder.notes` is None where there are none
    set_notes(model.encoder, "drop")     TNF's default: rare words enter as their embeddings alone
    set_notes(model.encoder, "frozen")   the dictionary is read as it is
    taker = set_notes(model.encoder, "update")     ... and read and written: after each step of the optimiser
    taker.update([(batch, notes_ND)])              with notes_ND = window_means(h_BTD, batch.words)

The encoder reads notes of the words that it is given as its fourth argument (`Batch.words`). `trainer.word_finder`
finds them in texts that come without.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.distributed import World
from trainer.model.notes import NoteTable
from trainer.sections.notes import NotesSection

if TYPE_CHECKING:
    from trainer.data.batch import Batch
    from trainer.model.encoder import Encoder

Mode = Literal["drop", "frozen", "update"]


@torch.no_grad()
def average_in(notes: NoteTable, word_N: Tensor, notes_ND: Tensor, gamma: float) -> None:
    """Moves the notes of words that occurred: n times in the batch, with the mean m of what they were seen as, is

        note <- (1 - gamma)^n note + (1 - (1 - gamma)^n) m

    Equal to n steps of the average, each with m. A word without a note gets m where the table says so (`filled_only`).
    Occurrences are summed in the order in which they are given, one bag a word, so without atomic additions: the same
    bits on every device of a kind, whatever its threads.
    """
    if not len(word_N):
        return
    order_N = torch.argsort(word_N, stable=True)
    word_U, n_U = torch.unique_consecutive(word_N[order_N], return_counts=True)
    mean_UD = F.embedding_bag(order_N, notes_ND.float(), n_U.cumsum(0) - n_U, mode="mean")
    kept_U = (1 - gamma) ** n_U.double()
    if notes.config.filled_only:
        kept_U = torch.where(notes.taken_W[word_U] > 0, kept_U, 0.0)
    kept_U1 = kept_U.float().unsqueeze(-1)
    notes.table_WD[word_U] = kept_U1 * notes.table_WD[word_U] + (1 - kept_U).float().unsqueeze(-1) * mean_UD
    notes.taken_W[word_U] += n_U


class NoteTaker:
    """Writes the dictionary of an encoder, the same on every process."""

    def __init__(self, notes: NoteTable, gamma: float, world: World | None = None) -> None:
        self.notes, self.gamma, self.world = notes, gamma, world or World()
        self._noted, self._tokens = torch.zeros((), dtype=torch.int64, device=notes.taken_W.device), 0

    @torch.no_grad()
    def update(self, taken: Sequence[tuple["Batch", Tensor | None]]) -> None:
        """Once after each step of the optimiser, with its micro-batches and their notes_ND (`TaskOutput.notes_ND`).

        Every process gets all occurrences, in the order of the global batch's rows: the dictionary is the same on all
        of them, and depends on their number only through what the encoder computes.
        """
        word, place, seen, world = [], [], [], self.world
        for number, (batch, notes_ND) in enumerate(taken):
            if batch.words is None or notes_ND is None:
                raise ValueError("a batch without rare words, or a task that does not tell what they were seen as")
            seen.append(notes_ND.float())
            rows, length = batch.tokens_BT.shape
            first = (number * world.size + world.rank) * rows
            word.append(batch.words.word_N)
            place.append((first + batch.words.row_N) * length + batch.words.start_N)
            self._noted += self.notes.noted(batch.words.word_P).sum()
            self._tokens += batch.token_count
        notes_ND = world.gather(torch.cat(seen))
        order_N = torch.argsort(world.gather(torch.cat(place)))
        word_N = world.gather(torch.cat(word))
        average_in(self.notes, word_N[order_N], notes_ND[order_N], self.gamma)

    def numbers(self) -> dict[str, float]:
        """For the log: words with a note, the mean L2 norm of their notes, and the share of this process's tokens that
        a note entered at since the last call."""
        filled = self.notes.taken_W > 0
        norms = self.notes.table_WD[filled].norm(dim=-1)
        share = int(self._noted) / max(self._tokens, 1)
        self._noted.zero_()
        self._tokens = 0
        return {"filled": len(norms), "mean_norm": float(norms.mean()) if len(norms) else 0.0, "share": share}


def start_notes(notes: NoteTable, section: NotesSection, seed: int) -> None:
    """The dictionary of a new run: zeros, or N(0, start_std), drawn beside torch's own generator so that the weights
    are those of a run without notes."""
    notes.table_WD.zero_()
    notes.taken_W.zero_()
    if section.start == "random":
        draws = torch.empty(notes.table_WD.shape).normal_(
            0, section.start_std, generator=torch.Generator().manual_seed(seed)
        )
        notes.table_WD.copy_(draws)


def set_notes(encoder: "Encoder", mode: Mode, gamma: float = 0.1, world: World | None = None) -> NoteTaker | None:
    """What becomes of an encoder's notes when it is trained on; the taker where they are to be written as well.

    Raises ValueError where notes are to be kept of an encoder that has none.
    """
    if mode == "drop":
        encoder.notes = None
        encoder.config = encoder.config.model_copy(update={"notes": None})
        return None
    if encoder.notes is None:
        raise ValueError(f"notes.mode '{mode}': this encoder was trained without notes; 'drop' is all there is")
    return NoteTaker(encoder.notes, gamma, world) if mode == "update" else None
