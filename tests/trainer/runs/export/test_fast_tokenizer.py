"""tokenizer.json against SentencePiece: where it is the same, and that text cannot spell a special piece."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from schemas.vocabulary import CLS, MASK, SEP
from trainer.export.fast_tokenizer import fast_tokenizer
from trainer.export.sentencepiece_model import read_facts
from trainer.tokenizer import Tokenizer as Ours
from trainer.tokenizer import TokenizerError

ROOT = Path(__file__).parents[4]
Pair = tuple[Tokenizer, Ours]


def lines() -> list[str]:
    files = sorted((ROOT / "samples" / "moby-dick").glob("*.txt"))
    return [line for path in files for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(**options: object) -> Path:
        prefix = tmp_path_factory.mktemp("vocabulary") / "siliang"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines()), model_prefix=str(prefix), pad_id=0, unk_id=1, bos_id=2, eos_id=3,
            pad_piece="[PAD]", unk_piece="[UNK]", bos_piece="[CLS]", eos_piece="[SEP]", num_threads=1, minloglevel=2,
            control_symbols=["[MASK]", "[NEITHER]"], **({"vocab_size": 600, "byte_fallback": True} | options),
        )  # fmt: skip
        return prefix.with_suffix(".model")

    return make


def both(path: Path) -> Pair:
    return Tokenizer.from_str(json.dumps(fast_tokenizer(path))), Ours(path)


@pytest.fixture(scope="module")
def unigram(train) -> Pair:
    return both(train())


@pytest.fixture(scope="module")
def identity(train) -> Pair:
    """Without normalisation, where graphemes play no part."""
    return both(train(normalization_rule_name="identity", vocab_size=500))


@pytest.fixture(scope="module")
def bpe(train) -> Pair:
    return both(train(model_type="bpe"))


def ids(pair: Pair, text: str) -> list[int]:
    return pair[0].encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("name", ["unigram", "identity", "bpe"])
def test_real_text(name: str, request: pytest.FixtureRequest) -> None:
    pair: Pair = request.getfixturevalue(name)
    texts = lines()
    different = [text for text in texts if ids(pair, text) != pair[1].encode(text)]
    assert len(different) <= len(texts) / 1000
    for text in texts[:50]:
        found = pair[0].encode(text).ids
        assert (found[0], found[-1]) == (CLS, SEP)
        assert pair[0].decode(found) == pair[1].decode(found)
    assert pair[0].encode("the sea", "a ship").ids == [
        CLS, *pair[1].encode("the sea"), SEP, *pair[1].encode("a ship"), SEP,
    ]  # fmt: skip
    assert pair[0].encode("the [MASK] sat").ids.count(MASK) == 1


WORDS = st.sampled_from(
    [
        "the", "whale", " ", "  ", "▁", "<0x41>", "<0xFF>", "[NEITHER]", "中文", "🐋", "\t", "\n", "Ａ", "é", "1,000",
        "(", "<0", "[N",
    ]
)  # fmt: skip


@pytest.mark.parametrize("name", ["unigram", "identity", "bpe"])
@given(parts=st.lists(WORDS, max_size=7))
def test_pieces_that_text_cannot_make(name: str, parts: list[str], request: pytest.FixtureRequest) -> None:
    """Bytes and reserved pieces written out, ▁ written out, spaces at the ends and in runs."""
    pair: Pair = request.getfixturevalue(name)
    text = "".join(parts)
    assert ids(pair, text) == pair[1].encode(text)


def test_no_text_makes_a_special_piece(unigram: Pair) -> None:
    for text in ("［ＣＬＳ］", "［ＭＡＳＫ］ [NEITHER]", "<0x00>"):
        assert min(ids(unigram, text), default=6) > 5


def test_facts_of_a_model(train, tmp_path: Path) -> None:
    path = train(model_type="bpe", byte_fallback=False, add_dummy_prefix=False)
    facts = read_facts(path)
    assert (facts.kind, facts.byte_fallback, facts.dummy_prefix, facts.escape_spaces) == ("bpe", False, False, True)
    assert len(facts.charsmap) > 1000
    data = path.read_bytes()
    for number, damaged in enumerate((data[: len(data) // 2], b"\xff" * 40, data[:100] + b"\x80")):
        (tmp_path / str(number)).write_bytes(damaged)
        with pytest.raises(TokenizerError):
            read_facts(tmp_path / str(number))
