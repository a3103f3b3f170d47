"""The words with notes of a fine-tuning's texts, and the file that a classifier keeps them in."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from trainer.checkpoint import CheckpointError
from trainer.data.rare import RareWords
from trainer.tokenizer import Tokenizer
from trainer.word_finder import WordFinder


@dataclass(frozen=True)
class NoteFinder:
    """Finds the words that an encoder's dictionary has."""

    finder: WordFinder
    half_window: int
    """Tokens before and behind a word that its note is the mean over."""

    def find(self, tokens_BT: Tensor, segments_BT: Tensor) -> RareWords:
        return self.finder.find(tokens_BT, segments_BT, self.half_window)

    def to_json(self) -> str:
        words = [[list(pieces), number] for pieces, number in sorted(self.finder.known.items())]
        return json.dumps({"half_window": self.half_window, "words": words})


def read_note_finder(path: Path, tokenizer: Tokenizer, words: int) -> NoteFinder:
    """The inverse of `to_json`. Raises CheckpointError where it is damaged, or names a word that is not in a dictionary
    of `words` words."""
    try:
        raw = json.loads(path.read_bytes())
        half_window, known = raw["half_window"], {tuple(pieces): number for pieces, number in raw["words"]}
        numbers = [half_window, *known.values(), *(piece for pieces in known for piece in pieces)]
        if not all(type(number) is int and number >= 0 for number in numbers) or () in known or half_window > 512:
            raise ValueError("a number that is none, or a word of no piece")
        if max(known.values(), default=0) >= words or max((p for k in known for p in k), default=0) >= len(tokenizer):
            raise ValueError(f"a word beyond the dictionary's {words:,}, or a piece beyond the vocabulary")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged ({error})") from error
    return NoteFinder(WordFinder(known, tokenizer), half_window)
