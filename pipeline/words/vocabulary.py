"""The SentencePiece vocabulary: learning one from text, and checking a given one."""

import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import sentencepiece

from pipeline.config import VocabularyConfig
from pipeline.words.model_file import finished, parse_model
from pipeline.words.seeds import distinct_words, normalized, seed_pieces
from schemas.vocabulary import CLS, FIRST_ORDINARY, PAD, SEP, SPECIAL_PIECES, UNKNOWN

LINE_CHARACTERS = 4096
"""Longer lines are cut at a space: SentencePiece leaves out lines above its limit without a word."""

SEEDS, SEEDS_PER_PIECE = 1 << 15, 8
"""Pieces that the unigram trainer begins with: so many at least, and so many for each that will remain."""

_NO_TEXT = (
    "no text to learn a vocabulary from: no kept document lies in the sample; "
    "raise vocabulary.sample_bytes, loosen the rules, or give a ready model with --vocabulary"
)
_REQUIRED = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


class VocabularyError(ValueError):
    """A vocabulary that cannot be learnt or used; the message says what to do."""


@dataclass(frozen=True)
class TrainedVocabulary:
    size: int
    """Pieces of the model, special, byte and reserved pieces included."""
    wanted: int
    """`vocabulary.size` of the config."""
    note: str | None
    """For people: why size < wanted, or None."""


def lines(texts: Iterable[str]) -> Iterator[str]:
    """Non-empty lines of at most LINE_CHARACTERS code points, in order; long ones are cut at their last space."""
    for text in texts:
        for line in text.splitlines():
            start = 0
            while len(line) - start > LINE_CHARACTERS:
                cut = line.rfind(" ", start + 1, start + LINE_CHARACTERS + 1)
                cut = cut if cut > 0 else start + LINE_CHARACTERS
                yield line[start:cut]
                start = cut
            if line[start:].strip():
                yield line[start:]


def train_vocabulary(texts: Iterable[str], target: Path, config: VocabularyConfig) -> TrainedVocabulary:
    """Learns a SentencePiece model from `texts`, in their order, and writes it to `target`.

    The special pieces of schemas.vocabulary have their fixed ids, then come 256 byte pieces, and `config.reserved`
    control pieces stand at the end; digits stand alone. The same texts and config give the same bytes: nothing is
    shuffled or sampled here, and the model stores no path.
    Raises VocabularyError where there is too little text, or more characters than `config.size` has room for.
    """
    words = distinct_words(lines(texts))
    if not words.num_rows:
        raise VocabularyError(_NO_TEXT)
    model = io.BytesIO()
    with TemporaryDirectory() as directory:
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_rows(words),
                input_format="tsv",
                model_writer=model,
                model_type=config.model,
                vocab_size=config.size - config.reserved,
                hard_vocab_limit=False,
                normalization_rule_name=config.normalizer,
                character_coverage=config.character_coverage,
                byte_fallback=True,
                split_digits=True,
                pad_id=PAD,
                unk_id=UNKNOWN,
                bos_id=CLS,
                eos_id=SEP,
                pad_piece=SPECIAL_PIECES[PAD],
                unk_piece=SPECIAL_PIECES[UNKNOWN],
                bos_piece=SPECIAL_PIECES[CLS],
                eos_piece=SPECIAL_PIECES[SEP],
                control_symbols=list(SPECIAL_PIECES[4:]),
                num_threads=config.threads,
                input_sentence_size=0,
                shuffle_input_sentence=False,
                max_sentence_length=4 * LINE_CHARACTERS + 4,  # bytes: a code point takes 4 at most
                minloglevel=2,
                **(_beginning(words, config, Path(directory)) if config.model == "unigram" else {}),
            )
        except RuntimeError as error:
            raise _explained(error, config) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(finished(model.getvalue(), config.reserved))
    os.replace(partial, target)
    size = check_vocabulary(target)
    note = None
    if size < config.size:
        note = (
            f"vocabulary lowered from {config.size} to {size} pieces: the sample holds no more; "
            "give more text, or set vocabulary.size to this number"
        )
    return TrainedVocabulary(size=size, wanted=config.size, note=note)


def _rows(table: pa.Table) -> Iterator[str]:
    return (f"{word}\t{count}" for word, count in zip(*(column.to_pylist() for column in table.columns), strict=True))


def _beginning(words: pa.Table, config: VocabularyConfig, directory: Path) -> dict[str, Any]:
    """The trainer's options about the pieces it begins with, and how fast it drops them.

    On 21 MB of books (vocabulary 8,192, one text in ten held out) SentencePiece by itself took 26 s of CPU and gave
    3.991 bytes a token. With these words and seeds: 12 s, 4.004; with all of 357,000 seeds: 21 s, 3.991; where a round
    keeps half of the pieces in place of three quarters: 7.5 s, 3.999; and from half of the text: 5.3 s, 3.994.
    """
    most = max(SEEDS, SEEDS_PER_PIECE * config.size)
    seeds = seed_pieces(normalized(words, config.normalizer), most)
    path = directory / "seeds.tsv"
    path.write_text("".join(f"{row}\n" for row in _rows(seeds)), encoding="utf-8")
    # The limit counts single characters, too, which the trainer adds itself.
    return {"seed_sentencepieces_file": str(path), "seed_sentencepiece_size": most + (1 << 20), "shrinking_factor": 0.5}


def _explained(error: RuntimeError, config: VocabularyConfig) -> VocabularyError:
    text = str(error)
    if "sentences_.empty()" in text:
        return VocabularyError(_NO_TEXT)
    if found := _REQUIRED.search(text):
        least, coverage = int(found[1]) + config.reserved, config.character_coverage
        return VocabularyError(
            f"vocabulary.size = {config.size} has no room for the characters of the text; "
            f"set it above {least}, or lower vocabulary.character_coverage (now {coverage})"
        )
    return VocabularyError(f"SentencePiece could not learn a vocabulary of {config.size} pieces: {text}")


def load_model(path: str | Path) -> sentencepiece.SentencePieceProcessor:
    """Raises VocabularyError where the file is no SentencePiece model."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise VocabularyError(f"{path}: cannot be read ({error.strerror}); give a SentencePiece model file") from error
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
        raise VocabularyError(
            f"{path}: not a SentencePiece model; give the .model file that its trainer wrote"
        ) from error


def check_vocabulary(path: str | Path) -> int:
    """Number of pieces. Raises VocabularyError naming the special pieces that are missing, misplaced or plain text, or
    where words do not begin with the boundary mark.
    """
    model = load_model(path)
    if parse_model(model.serialized_model_proto()).trainer_spec.treat_whitespace_as_suffix:
        raise VocabularyError(
            f"{path}: its pieces end with a space in place of beginning with one (treat_whitespace_as_suffix); "
            "words would not be found. Train the model without it, or leave --vocabulary out to learn one"
        )
    problems = []
    for wanted, piece in enumerate(SPECIAL_PIECES):
        at = model.piece_to_id(piece)
        if at == model.unk_id() and model.id_to_piece(at) != piece:
            problems.append(f"{piece} is missing (wanted: id {wanted})")
        elif at != wanted:
            problems.append(f"{piece} has id {at} (wanted: {wanted})")
        elif not (model.is_unknown(at) if wanted == UNKNOWN else model.is_control(at)):
            problems.append(f"{piece} is an ordinary piece that text can produce (wanted: a control piece)")
    if problems:
        raise VocabularyError(
            f"{path}: {'; '.join(problems)}. Train the model with these special pieces as ids 0..{FIRST_ORDINARY - 1} "
            f"(pad, unk, bos and eos pieces, then control_symbols), or leave --vocabulary out to learn one"
        )
    return model.get_piece_size()
