import subprocess
import sys
from pathlib import Path

import pytest
import sentencepiece

from pipeline.config import VocabularyConfig
from pipeline.words.vocabulary import (
    LINE_CHARACTERS,
    VocabularyError,
    check_vocabulary,
    lines,
    load_model,
    train_vocabulary,
)
from schemas.vocabulary import SPECIAL_PIECES


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_same_texts_same_bytes_wherever_it_is_written(texts, tmp_path, model):
    config = VocabularyConfig(size=2048, model=model, threads=2)
    some = [text for name, text in texts.items() if name.endswith(".txt")][::3]
    first, second = tmp_path / "a.model", tmp_path / "another" / "directory" / "b.model"
    assert train_vocabulary(some, first, config) == train_vocabulary(iter(some), second, config)
    assert first.read_bytes() == second.read_bytes()
    assert str(tmp_path).encode() not in first.read_bytes()
    assert [path.name for path in second.parent.iterdir()] == ["b.model"]


def test_same_bytes_in_another_process(texts, tmp_path):
    config = VocabularyConfig(size=1024)
    train_vocabulary([texts["chapter_1.txt"], texts["chapter_2.txt"]], tmp_path / "a.model", config)
    samples = Path(__file__).parents[3] / "samples" / "moby-dick"
    code = (
        "import sys; from pathlib import Path; from pipeline.config import VocabularyConfig\n"
        "from pipeline.words.vocabulary import train_vocabulary\n"
        "texts = [Path(name).read_bytes().decode() for name in sys.argv[2:]]\n"
        "train_vocabulary(texts, Path(sys.argv[1]), VocabularyConfig(size=1024))\n"
    )
    arguments = [tmp_path / "b.model", samples / "chapter_1.txt", samples / "chapter_2.txt"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=samples.parents[1], capture_output=True, check=True
    )
    assert (tmp_path / "a.model").read_bytes() == (tmp_path / "b.model").read_bytes()
    assert done.stderr == b""  # SentencePiece is quiet


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_special_pieces_have_their_ids_and_text_cannot_make_them(texts, tmp_path, model):
    path = tmp_path / "m.model"
    english = [text for name, text in texts.items() if name.endswith(".txt")][::2]
    trained = train_vocabulary(english, path, VocabularyConfig(size=3000, model=model))
    assert (trained.size, trained.wanted, trained.note) == (3000, 3000, None)
    assert check_vocabulary(path) == 3000
    processor = load_model(path)
    assert tuple(processor.id_to_piece(i) for i in range(6)) == SPECIAL_PIECES
    assert [processor.id_to_piece(i) for i in range(6, 262)] == [f"<0x{value:02X}>" for value in range(256)]
    assert min(processor.encode(" ".join(SPECIAL_PIECES) + "".join(SPECIAL_PIECES))) >= 6
    pieces = [processor.id_to_piece(i) for i in range(262, 3000)]
    assert not [piece for piece in pieces if len(piece) > 1 and any(c in "0123456789" for c in piece)]


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_little_text_lowers_the_size_and_says_so(tmp_path, model):
    text = "the cat sat on the mat\n" * 3 + "hello world of cats"
    trained = train_vocabulary([text], tmp_path / "m.model", VocabularyConfig(size=8000, model=model))
    assert 262 < trained.size < 400
    assert trained.size == check_vocabulary(tmp_path / "m.model")
    assert trained.wanted == 8000
    assert f"from 8000 to {trained.size}" in (trained.note or "")


@pytest.mark.parametrize("nothing", [[], [""], ["\n \n\t\n", "   "]])
def test_no_text_is_an_error_that_says_what_to_do(tmp_path, nothing):
    with pytest.raises(VocabularyError, match=r"no text to learn.*--vocabulary"):
        train_vocabulary(nothing, tmp_path / "m.model", VocabularyConfig())
    assert list(tmp_path.iterdir()) == []


def test_more_characters_than_pieces_is_an_error_that_gives_the_number(texts, tmp_path):
    chinese = [text for name, text in texts.items() if name.endswith(".json")]
    with pytest.raises(VocabularyError, match=r"size = 300 .*above (\d+)") as caught:
        train_vocabulary(chinese, tmp_path / "m.model", VocabularyConfig(size=300))
    needed = int(str(caught.value).split("above ")[1].split(",")[0])
    assert train_vocabulary(chinese, tmp_path / "m.model", VocabularyConfig(size=needed + 1)).size == needed + 1


def test_an_error_while_reading_texts_comes_through(tmp_path):
    def broken():
        yield "some text"
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        train_vocabulary(broken(), tmp_path / "m.model", VocabularyConfig())


def test_lines_are_cut_at_spaces_and_lose_nothing():
    words = " ".join(f"word{i}" for i in range(5000))
    endless = "x" * (2 * LINE_CHARACTERS + 5)
    found = list(lines([f"{words}\n\n{endless}", "short"]))
    assert max(map(len, found)) <= LINE_CHARACTERS
    assert "".join(found) == words + endless + "short"
    assert {part.strip() for part in " ".join(found).split() if part.startswith("word")} == set(words.split())
    assert found[-1] == "short"


def test_missing_special_pieces_are_named(texts, tmp_path):
    english = [text for name, text in texts.items() if name.startswith("chapter")]

    def train(name: str, **options) -> Path:
        path = tmp_path / name
        with path.open("wb") as file:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=lines(english), model_writer=file, vocab_size=500, minloglevel=2, **options
            )
        return path

    with pytest.raises(VocabularyError) as plain:
        check_vocabulary(train("plain.model"))
    for piece in SPECIAL_PIECES:
        assert f"{piece} is missing" in str(plain.value)
    assert "--vocabulary" in str(plain.value)

    ours = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3, "pad_piece": "[PAD]", "unk_piece": "[UNK]"}
    ours |= {"bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    with pytest.raises(VocabularyError, match=r"\[NEITHER\] is missing \(wanted: id 5\)") as partly:
        check_vocabulary(train("no_neither.model", control_symbols=["[MASK]"], **ours))
    assert "[MASK] is" not in str(partly.value)
    with pytest.raises(VocabularyError, match=r"\[MASK\] has id 5 \(wanted: 4\); \[NEITHER\] has id 4"):
        check_vocabulary(train("swapped.model", control_symbols=["[NEITHER]", "[MASK]"], **ours))
    with pytest.raises(VocabularyError, match=r"\[MASK\] is an ordinary piece"):
        check_vocabulary(train("typed.model", user_defined_symbols=["[MASK]", "[NEITHER]"], **ours))


def test_what_is_no_model_is_told(tmp_path):
    (tmp_path / "noise.model").write_bytes(b"no model at all")
    with pytest.raises(VocabularyError, match=r"noise\.model: not a SentencePiece model"):
        check_vocabulary(tmp_path / "noise.model")
    with pytest.raises(VocabularyError, match=r"absent\.model: cannot be read"):
        check_vocabulary(tmp_path / "absent.model")


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_reserved_pieces_stand_at_the_end_and_no_text_makes_them(texts, tmp_path, model):
    english = [text for name, text in texts.items() if name.startswith("chapter")]
    path = tmp_path / "m.model"
    trained = train_vocabulary(english, path, VocabularyConfig(size=1500, model=model, reserved=20))
    assert (trained.size, trained.note) == (1500, None)
    processor = load_model(path)
    reserved = [f"[RESERVED{number}]" for number in range(20)]
    assert [processor.id_to_piece(number) for number in range(1480, 1500)] == reserved
    assert all(processor.is_control(number) for number in range(1480, 1500))
    typed = processor.encode("".join(reserved) + " " + " ".join(reserved))
    assert max(typed) < 1480
    assert processor.decode([1485, *processor.encode("Call me Ishmael."), 1499]) == "Call me Ishmael."

    plain = tmp_path / "plain.model"
    train_vocabulary(english, plain, VocabularyConfig(size=1480, model=model))
    assert load_model(plain).encode(english) == processor.encode(english)


def test_reserved_pieces_leave_room_for_text():
    with pytest.raises(ValueError, match="size 400 less 200 reserved pieces leaves fewer than 300"):
        VocabularyConfig(size=400, reserved=200)


def test_the_room_that_characters_need_counts_the_reserved_pieces(texts, tmp_path):
    chinese = [text for name, text in texts.items() if name.endswith(".json")]
    with pytest.raises(VocabularyError, match=r"above (\d+)") as caught:
        train_vocabulary(chinese, tmp_path / "m.model", VocabularyConfig(size=500, reserved=50))
    needed = int(str(caught.value).split("above ")[1].split(",")[0])
    config = VocabularyConfig(size=needed + 1, reserved=50)
    assert train_vocabulary(chinese, tmp_path / "m.model", config).size == needed + 1


def test_pieces_that_end_with_a_space_are_refused(texts, tmp_path):
    path = tmp_path / "suffix.model"
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines([texts["chapter_1.txt"]]),
            model_writer=file,
            vocab_size=500,
            treat_whitespace_as_suffix=True,
            minloglevel=2,
        )
    with pytest.raises(VocabularyError, match=r"suffix\.model: its pieces end with a space"):
        check_vocabulary(path)
