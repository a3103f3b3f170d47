"""Siliang's SentencePiece vocabulary as a tokenizer of transformers, with exactly the ids of the model's training.

    AutoTokenizer.from_pretrained(DIR, trust_remote_code=True)

It needs transformers and sentencepiece. A tokenizer.json would not be the same: it adds scores in fp64, SentencePiece
in fp32, so of two cuts of a long text with all but equal scores they may take different ones.

In a text only "[MASK]" is special; "[SEP]" and the others, written out, are text. With split_special_tokens=True so is
"[MASK]".
"""

import os
import re
import shutil

import sentencepiece
from transformers import PreTrainedTokenizer

BOUNDARY = "▁"
# A character of the private use area takes the place of each [MASK] while the text is cut: no normaliser changes it and
# no piece holds it.
STAND_IN = "\ue0f4"


class SiliangTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "siliang.model"}
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(
        self,
        vocab_file: str,
        pad_token: str = "[PAD]",
        unk_token: str = "[UNK]",
        cls_token: str = "[CLS]",
        sep_token: str = "[SEP]",
        mask_token: str = "[MASK]",
        **kwargs,
    ) -> None:
        self.vocab_file = vocab_file
        self.sentencepiece = sentencepiece.SentencePieceProcessor(model_file=vocab_file)
        ids = self.sentencepiece.encode(STAND_IN)
        unknown = self.sentencepiece.unk_id()
        self.stand_in = [i for i in ids if self.sentencepiece.id_to_piece(i) != BOUNDARY and i != unknown]
        super().__init__(
            pad_token=pad_token,
            unk_token=unk_token,
            cls_token=cls_token,
            sep_token=sep_token,
            mask_token=mask_token,
            **kwargs,
        )

    def __getstate__(self) -> dict:
        state = self.__dict__.copy()
        state["sentencepiece"] = None
        return state

    def __setstate__(self, state: dict) -> None:
        self.__dict__ = state
        self.sentencepiece = sentencepiece.SentencePieceProcessor(model_file=self.vocab_file)

    @property
    def vocab_size(self) -> int:
        return len(self.sentencepiece)

    def get_vocab(self) -> dict[str, int]:
        return {self._convert_id_to_token(i): i for i in range(self.vocab_size)} | self.added_tokens_encoder

    def tokenize(self, text: str, **kwargs) -> list[str]:
        if kwargs.get("split_special_tokens", self.split_special_tokens) or self.mask_token not in text:
            return self._tokenize(text)
        marked = text.replace(STAND_IN, " ").replace(self.mask_token, STAND_IN)
        return self._masked(marked) if self.stand_in else self._masked_unknown(marked)

    def _tokenize(self, text: str, **kwargs) -> list[str]:
        # By id: a run of unknown characters would be its own text, which may read like a special piece.
        return [self.sentencepiece.id_to_piece(i) for i in self.sentencepiece.encode(text)]

    def _masked(self, marked: str) -> list[str]:
        """The stand-in is the pieces of its bytes."""
        ids, tokens, at = self.sentencepiece.encode(marked), [], 0
        while at < len(ids):
            if ids[at : at + len(self.stand_in)] == self.stand_in:
                self._add_mask(tokens)
                at += len(self.stand_in)
            else:
                tokens.append(self.sentencepiece.id_to_piece(ids[at]))
                at += 1
        return tokens

    def _masked_unknown(self, marked: str) -> list[str]:
        """A vocabulary without bytes: one [UNK] is a whole run of unknown characters, the stand-in among them."""
        tokens: list[str] = []
        encoded = self.sentencepiece.encode
        for i, surface in zip(encoded(marked), encoded(marked, out_type=str), strict=True):
            if i != self.sentencepiece.unk_id():
                tokens.append(self.sentencepiece.id_to_piece(i))
                continue
            for part in re.split(f"({STAND_IN})", surface):
                if part == STAND_IN:
                    self._add_mask(tokens)
                elif part:
                    tokens.append(self.unk_token)
        return tokens

    def _add_mask(self, tokens: list[str]) -> None:
        # The space before the gap belongs to the piece that is sought.
        if tokens and tokens[-1] == BOUNDARY:
            tokens.pop()
        tokens.append(self.mask_token)

    def _convert_token_to_id(self, token: str) -> int:
        return self.sentencepiece.piece_to_id(token)

    def _convert_id_to_token(self, index: int) -> str:
        return self.sentencepiece.id_to_piece(index)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Special tokens as they are written, all others as SentencePiece decodes them."""
        parts, held = [], []
        for token in tokens:
            if token in self.all_special_tokens:
                parts += [self._decoded(held), token]
                held = []
            else:
                held.append(token)
        return " ".join(part for part in [*parts, self._decoded(held)] if part)

    def _decoded(self, tokens: list[str]) -> str:
        return self.sentencepiece.decode([self.sentencepiece.piece_to_id(token) for token in tokens])

    def build_inputs_with_special_tokens(self, first: list[int], second: list[int] | None = None) -> list[int]:
        ids = [self.cls_token_id, *first, self.sep_token_id]
        return ids if second is None else [*ids, *second, self.sep_token_id]

    def truncate_sequences(
        self, ids, pair_ids=None, num_tokens_to_remove: int = 0, truncation_strategy="longest_first", stride: int = 0
    ):
        """Of a pair the longer text gives way, of equal ones the first: as the model was trained."""
        strategy = getattr(truncation_strategy, "value", truncation_strategy)
        if pair_ids is None or strategy != "longest_first" or self.truncation_side != "right":
            return super().truncate_sequences(ids, pair_ids, num_tokens_to_remove, truncation_strategy, stride)
        first, second = list(ids), list(pair_ids)
        for _ in range(num_tokens_to_remove):
            (first if len(first) >= len(second) else second).pop()
        return first, second, []

    def get_special_tokens_mask(self, first, second=None, already_has_special_tokens: bool = False) -> list[int]:
        if already_has_special_tokens:
            return super().get_special_tokens_mask(first, second, already_has_special_tokens=True)
        return [1, *[0] * len(first), 1, *([] if second is None else [*[0] * len(second), 1])]

    def create_token_type_ids_from_sequences(self, first: list[int], second: list[int] | None = None) -> list[int]:
        """The model tells the texts of a pair by [SEP] alone."""
        return [0] * len(self.build_inputs_with_special_tokens(first, second))

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        path = os.path.join(save_directory, f"{prefix}siliang.model")
        if os.path.abspath(path) != os.path.abspath(self.vocab_file):
            shutil.copyfile(self.vocab_file, path)
        return (path,)
