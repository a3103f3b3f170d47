"""A vocabulary without some of its pieces: text that is made of the others is cut as before, whatever it is."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.vocabulary import SPECIAL_PIECES
from trainer.export.sentencepiece_model import read_facts
from trainer.light.trimming.pieces import SELF_TEST, closure, merges, read_pieces, without
from trainer.tokenizer import Tokenizer, TokenizerError

ROOT = Path(__file__).parents[3]


def passages() -> list[str]:
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "samples" / "moby-dick").glob("*.txt"))[:2]]
    return [passage for text in texts for passage in text.split("\n") if len(passage) > 40]


PASSAGES = passages()


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pieces") / f"{request.param}.model"
    found = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(PASSAGES), model_writer=found, model_type=request.param, vocab_size=700,
        byte_fallback=True, pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="[PAD]", unk_piece="[UNK]",
        bos_piece="[CLS]", eos_piece="[SEP]", control_symbols=["[MASK]", "[NEITHER]"], user_defined_symbols=["<br>"],
        minloglevel=2, num_threads=1, self_test_sample_size=5,
    )  # fmt: skip
    path.write_bytes(found.getvalue())
    return path


def cut(model: Path, kept: list[int], place: Path) -> Tokenizer:
    smaller = place / "smaller.model"
    smaller.write_bytes(without(model, kept))
    return Tokenizer(smaller)


def test_it_reads_what_the_processor_reads(model: Path) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    pieces = read_pieces(model)
    assert [piece.text for piece in pieces] == [processor.id_to_piece(k) for k in range(len(processor))]
    assert [piece.score for piece in pieces] == [processor.get_score(k) for k in range(len(processor))]
    assert tuple(piece.text for piece in pieces[: len(SPECIAL_PIECES)]) == SPECIAL_PIECES
    assert not any(piece.ordinary for piece in pieces[: len(SPECIAL_PIECES) + 1 + 256])


def test_all_pieces_are_the_same_model(model: Path, tmp_path: Path) -> None:
    whole, same = Tokenizer(model), cut(model, list(range(len(read_pieces(model)))), tmp_path)
    assert all(whole.encode(text) == same.encode(text) for text in PASSAGES)
    assert without(model, range(len(whole))) == model.read_bytes()


def test_what_the_trainer_tested_it_with_goes(model: Path, tmp_path: Path) -> None:
    """Of such texts it says how they are cut; they may hold pieces that went."""
    sample = b"\x0a\x03the" + b"\x12\x05wrong"
    message = bytes([0x0A, len(sample)]) + sample
    tested = tmp_path / "tested.model"
    tested.write_bytes(model.read_bytes() + bytes([SELF_TEST << 3 | 2, len(message)]) + message)
    assert without(tested, range(len(Tokenizer(tested)))) == model.read_bytes()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_text_of_kept_pieces_is_cut_as_before(model: Path, tmp_path_factory, data: st.DataObject) -> None:
    """Whatever stays, whatever text: of random pieces, of sentences, of any characters."""
    whole = Tokenizer(model)
    draw = random.Random(data.draw(st.integers(0, 1 << 32)))
    used = draw.sample(range(len(whole)), data.draw(st.integers(50, len(whole) // 2)))
    kept = closure(model, used)
    smaller = cut(model, kept, tmp_path_factory.mktemp("cut"))
    assert len(smaller) == len(kept) < len(whole)
    place = np.full(len(whole), -1)
    place[kept] = np.arange(len(kept))
    texts = [whole.decode(draw.choices(used, k=draw.randint(1, 12))) for _ in range(40)]
    texts += [" ".join(draw.sample(text.split(), min(len(text.split()), 3))) for text in draw.sample(PASSAGES, 20)]
    texts += [data.draw(st.text(max_size=20)), "a<br>b", "  x ", ""]
    compared = 0
    for text in texts:
        ids = place[whole.encode(text)]
        if (ids >= 0).all():
            compared += 1
            assert smaller.encode(text) == ids.tolist(), text
            assert smaller.decode(smaller.encode(text)) == whole.decode(whole.encode(text))
    assert compared >= 2


def test_corpora_are_cut_as_before(model: Path, tmp_path: Path) -> None:
    whole, some = Tokenizer(model), PASSAGES[::25]
    kept = closure(model, {piece for text in some for piece in whole.encode(text)})
    smaller = cut(model, kept, tmp_path)
    assert len(kept) < 0.95 * len(whole)
    for text in some:
        assert [kept[k] for k in smaller.encode(text)] == whole.encode(text)
        assert smaller.encode_masked("the [MASK] sat") is not None
    assert read_facts(tmp_path / "smaller.model") == read_facts(model)


def test_merges() -> None:
    score = {"ab": -1.0, "bc": 0.0, "abc": -2.0, "cd": -1.0}
    assert merges("abc", score) == ["bc", "abc"]
    assert merges("abcd", score) == ["bc", "abc"]
    assert merges("abab", score) == ["ab", "ab"]
    assert merges("xyz", score) == []


def test_what_is_no_model(tmp_path: Path) -> None:
    for content in (b"\x0a\xff\xff\xff\xff", b"\x0a\x05\x0a\x03ab", b"\x0a\x02\x15\x00"):
        path = tmp_path / "bad.model"
        path.write_bytes(content)
        with pytest.raises(TokenizerError, match="not a SentencePiece"):
            read_pieces(path)
