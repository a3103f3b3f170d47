"""Words of ids, beside those that the pipeline counts."""

from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluate.words import Unit, WordFinder, normalise_word

SAMPLES = Path(__file__).parents[3] / "samples"


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("vocabulary") / "siliang.model"
    texts = [path.read_text(encoding="utf-8") for path in sorted((SAMPLES / "moby-dick").glob("*.txt"))[:6]]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in texts for line in text.split("\n") if line]),
        model_prefix=str(model.with_suffix("")), vocab_size=500, byte_fallback=True,
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="[PAD]", unk_piece="[UNK]", bos_piece="[CLS]",
        eos_piece="[SEP]", control_symbols=["[MASK]", "[NEITHER]"], minloglevel=2, num_threads=1,
    )  # fmt: skip
    return model


@pytest.fixture(scope="module")
def finder(vocabulary: Path) -> tuple[WordFinder, sentencepiece.SentencePieceProcessor]:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary))

    class Pieces:
        def piece(self, token: int) -> str:
            return processor.id_to_piece(token)

    return WordFinder(Pieces()), processor


def words(finder, text: str) -> list[str]:
    found, processor = finder
    return [unit.word for unit in found.units(processor.encode(text)) if unit.word]


def test_words_of_text(finder) -> None:
    assert words(finder, "The whale--the WHALE's tail, 3 feet; naïve sea-faring 'men'.") == [
        "the", "whale", "the", "whale's", "tail", "feet", "naïve", "sea-faring", "men",
    ]  # fmt: skip
    assert words(finder, "1851 ... 42") == []
    assert words(finder, "鲸鱼 is a whale") == ["is", "a", "whale"]  # spelt in bytes


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("abé ñ-'’.,1鲸\u0301☃"), max_size=40))
def test_units_cover_every_piece_once(finder, text: str) -> None:
    found, processor = finder
    ids = processor.encode(text)
    units = found.units(ids)
    assert [k for unit in units for k in range(unit.start, unit.end)] == list(range(len(ids)))
    assert all(unit.word or unit.end == unit.start + 1 for unit in units)


def test_the_pipeline_finds_the_same_words(finder, vocabulary: Path) -> None:
    from pipeline.words.frequency import distinct_words
    from pipeline.words.frequency import normalise_word as theirs
    from pipeline.words.spans import word_spans
    from pipeline.words.tokenizer import Tokenizer

    tokenizer = Tokenizer(vocabulary)
    chapters = sorted((SAMPLES / "moby-dick").glob("*.txt"))[:3]
    texts = [path.read_text(encoding="utf-8") for path in chapters]
    encoded = tokenizer.encode(texts)
    spans = word_spans(encoded, tokenizer.piece_kinds)
    names, index = distinct_words(tokenizer, encoded, spans)
    expected = {(int(s), int(e)): names[k] for s, e, k in zip(spans.start, spans.end, index, strict=True) if k >= 0}
    found = {}
    for document in range(len(encoded)):
        offset = int(encoded.offsets[document])
        for unit in finder[0].units(encoded.document(document).tolist()):
            if unit.word:
                found[offset + unit.start, offset + unit.end] = unit.word
    same = sum(found.get(span) == word for span, word in expected.items())
    assert same / len(expected) > 0.995
    assert sum(span in expected for span in found) / len(found) > 0.995
    for word in set(expected.values()):
        assert normalise_word(word) == theirs(word)


def test_special_pieces_end_words(finder) -> None:
    found, processor = finder
    ids = processor.encode("whale")
    assert found.units([2, *ids, 3])[0] == Unit(0, 1, "")
    assert [u.word for u in found.units([2, *ids, 3, *ids, 3]) if u.word] == ["whale", "whale"]
