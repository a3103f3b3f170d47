import numpy as np
import pytest

from pipeline.words.frequency import count_words
from pipeline.words.rare import is_note_word
from pipeline.words.rubbish import LEAST_TAUGHT, Spelling, is_markup, is_numeral, judged_script


@pytest.mark.parametrize("word", ["ii", "iiii", "xvii", "lxiv", "mdcccxlviii", "cc", "ix"])
def test_numerals(word):
    assert is_numeral(word)


@pytest.mark.parametrize("word", ["", "i", "civil", "livid", "mild", "ill", "dim", "ivx", "whale", "vivid"])
def test_no_numerals(word):
    assert not is_numeral(word)


def test_markup():
    assert is_markup("nbsp")
    assert is_markup("font-size")
    assert not is_markup("table")


@pytest.mark.parametrize(
    ("word", "script"),
    [("whale", "LATIN"), ("été-là", "LATIN"), ("слово", "CYRILLIC"), ("cat", ""), ("先生先生先生", "")],
)
def test_scripts_that_are_judged(word, script):
    assert judged_script(word) == script


@pytest.fixture(scope="module")
def words(corpus, tokenizer) -> list[str]:
    table = count_words(tokenizer, corpus.encoded, corpus.spans)
    return [word for word in table["word"].to_pylist() if is_note_word(word) and judged_script(word) == "LATIN"]


def test_limit_leaves_the_share_that_it_is_given(words):
    """Half of the words teach; of the other half, which are as much words, about that share is above the limit."""
    chosen = np.random.default_rng(0).permutation(words).tolist()
    taught, others = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
    for share in (0.01, 0.1):
        spelling = Spelling(taught, share)
        assert share / 2 < np.mean([spelling.is_rubbish(word) for word in others]) < 2 * share


def test_random_letters_are_above_the_limit(words):
    rng = np.random.default_rng(1)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    random = ["".join(rng.choice(letters, rng.integers(6, 11))) for _ in range(300)]
    spelling = Spelling(words, 0.01)
    assert np.mean([spelling.is_rubbish(word) for word in random]) > 0.9
    assert spelling.rarity("xqzvkj") > spelling.limits["LATIN"] > spelling.rarity("shining")


def test_accents_and_order_of_the_words_change_nothing(words):
    one, other = Spelling(words, 0.01), Spelling(reversed(words), 0.01)
    assert one.limits == other.limits
    assert one.rarity("naïveté") == other.rarity("naivete") == one.rarity("naivete")
    assert one.rarity("mediæval") == one.rarity("mediaeval")


def test_scripts_with_few_words_are_not_judged(words):
    spelling = Spelling(words[: LEAST_TAUGHT - 1], 0.01)
    assert spelling.limits == {}
    assert not spelling.is_rubbish("xqzvkj")
    assert spelling.rarity("xqzvkj") == 0
