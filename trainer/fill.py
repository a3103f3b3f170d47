"""Fills the [MASK]s of a text: the likeliest pieces with their probabilities."""

from dataclasses import dataclass
from pathlib import Path

import torch

from schemas.vocabulary import CLS, FIRST_ORDINARY, MASK, SEP
from trainer.run import RunDirectory, load_model
from trainer.tasks.masked_lm import MaskedLM
from trainer.tokenizer import MASK_TEXT, Tokenizer


class FillError(ValueError):
    """The text cannot be filled; the message says why."""


@dataclass(frozen=True)
class Candidate:
    piece: str
    """SentencePiece piece; '▁' stands for a space before it."""
    token_id: int
    probability: float


def fill(run: str | Path, text: str, top: int = 5) -> list[list[Candidate]]:
    """For each '[MASK]' of the text, in order, the `top` likeliest ordinary pieces, likeliest first.

    Each gap is predicted with the others still masked. Raises FillError for a text without [MASK] or one too long, and
    for a run of a task without a masked-LM head,
    RunError and CheckpointError where the run holds no model.
    """
    model = load_model(run)
    if not isinstance(model, MaskedLM):
        raise FillError(f"{run}: was trained on {model.kind}, which leaves no masked-LM head; only masked-lm runs fill")
    tokenizer = Tokenizer(RunDirectory(run).vocabulary)
    if MASK_TEXT not in text:
        raise FillError(f"the text has no {MASK_TEXT}; write one where a word is wanted")
    ids = [CLS, *tokenizer.encode_masked(text), SEP]
    longest = model.config.max_length
    if len(ids) > longest:
        raise FillError(f"the text has {len(ids)} tokens; this model reads {longest}")
    tokens_BT = torch.tensor([ids])
    index_M = (tokens_BT.flatten() == MASK).nonzero().flatten()
    with torch.no_grad():
        logits = model.logits(tokens_BT, torch.ones_like(tokens_BT), torch.arange(len(ids))[None], index_M)
    probabilities = logits.float().softmax(-1)[:, FIRST_ORDINARY:]
    best = probabilities.topk(min(top, probabilities.shape[1]))
    return [
        [
            Candidate(tokenizer.piece(token + FIRST_ORDINARY), token + FIRST_ORDINARY, probability)
            for token, probability in zip(tokens, values, strict=True)
        ]
        for tokens, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
