"""The tokenizer: special pieces, and gaps in a text."""

from pathlib import Path

import pytest
import sentencepiece

from schemas.vocabulary import MASK, SPECIAL_PIECES, UNKNOWN
from trainer.tokenizer import Tokenizer, TokenizerError

SAMPLES = Path(__file__).parents[2] / "samples"


def train_vocabulary(path: Path, lines: list[str], size: int, **options: object) -> Path:
    """A unigram model with Siliang's special pieces."""
    settings = {"byte_fallback": True, "hard_vocab_limit": False, **options}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(path.with_suffix("")), vocab_size=size,
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="[PAD]", unk_piece="[UNK]", bos_piece="[CLS]",
        eos_piece="[SEP]", control_symbols=["[MASK]", "[NEITHER]"], minloglevel=2, num_threads=1, **settings,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return (SAMPLES / "moby-dick" / "chapter_1.txt").read_text(encoding="utf-8").split("\n")


@pytest.fixture(scope="module")
def tokenizer(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer(train_vocabulary(tmp_path_factory.mktemp("vocabulary") / "siliang.model", lines, 700))


@pytest.fixture(scope="module")
def without_bytes(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("plain") / "siliang.model"
    return Tokenizer(train_vocabulary(path, lines, 400, byte_fallback=False))


def test_a_gap_stands_for_a_word_with_its_space(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_masked("I thought I would [MASK] about a little")
    assert ids.count(MASK) == 1
    before, after = ids[: ids.index(MASK)], ids[ids.index(MASK) + 1 :]
    assert before == tokenizer.encode("I thought I would")
    assert after == tokenizer.encode("about a little")


def test_text_glued_to_a_gap_gets_no_space(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_masked("the whale [MASK].")
    assert tokenizer.piece(ids[-1]) == "."
    assert ids[-2] == MASK
    ids = tokenizer.encode_masked("the sea[MASK] is")
    assert tokenizer.decode(ids[: ids.index(MASK)]) == "the sea"


@pytest.mark.parametrize("text", ["[MASK]", "[MASK] [MASK]", "[MASK][MASK] sea", "a[MASK]b [MASK]", "é[MASK]☃[MASK] x"])
def test_every_gap_is_kept(tokenizer: Tokenizer, without_bytes: Tokenizer, text: str) -> None:
    for one in (tokenizer, without_bytes):
        assert one.encode_masked(text).count(MASK) == text.count("[MASK]")


def test_unknown_characters_are_no_gaps(without_bytes: Tokenizer) -> None:
    ids = without_bytes.encode_masked("the ☃ [MASK] sea")
    assert (ids.count(UNKNOWN), ids.count(MASK)) == (1, 1)
    assert without_bytes.encode_masked("the ☃☃ sea") == without_bytes.encode("the ☃☃ sea")


def test_special_pieces_cannot_be_typed(tokenizer: Tokenizer) -> None:
    for piece in SPECIAL_PIECES:
        assert min(tokenizer.encode(f"the {piece} sea")) >= len(SPECIAL_PIECES)


def test_other_vocabularies_are_refused(lines: list[str], tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(foreign.with_suffix("")), vocab_size=400, minloglevel=2
    )
    with pytest.raises(TokenizerError, match=r"first pieces are <unk>.*expected \[PAD\], \[UNK\]"):
        Tokenizer(foreign)
    (tmp_path / "text.model").write_text("not a model", encoding="utf-8")
    with pytest.raises(TokenizerError, match="not a SentencePiece model"):
        Tokenizer(tmp_path / "text.model")
    with pytest.raises(TokenizerError, match="no vocabulary here"):
        Tokenizer(tmp_path / "none.model")
