import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.language import identify
from pipeline.text.script import RANGES, UNSPACED
from pipeline.text.statistics import C4_COLUMNS, STATISTICS, measure, statistics


def of(text, *names):
    values = statistics(text)
    return tuple(values[name] for name in names)


@pytest.mark.parametrize(
    ("text", "words", "mean", "alphabetic"),
    [
        ("", 0, 0, 0),
        ("word", 1, 4, 1),
        ("Hello, world! (yes)", 3, 13 / 3, 1),
        ("don't well-known", 2, (5 + 10) / 2, 1),
        ("one -- two", 2, 3, 2 / 3),
        ("3.14 apples & 7 pears", 4, (4 + 6 + 1 + 5) / 4, 2 / 5),
        ("... !!! ---", 0, 0, 0),
        ("人权宣言。", 4, 0, 1),
        ("人 权", 2, 0, 1),
        ("用Python3写的", 4, 7, 1),
        ("หนัง", 3, 0, 1),  # one letter carries a vowel sign
        ("किताब है", 2, (5 + 2) / 2, 1),
        ("인권 선언", 2, 2, 1),
        ("cafe\u0301 x", 2, (5 + 1) / 2, 1),
    ],
)
def test_words(text, words, mean, alphabetic):
    assert of(text, "words", "mean_word_length", "alphabetic_words") == pytest.approx((words, mean, alphabetic))


def test_fractions_of_lines_leave_blank_lines_out():
    text = "• one\n\n\n- two\n  * three\n**bold**\n-5 degrees\n\n"
    assert of(text, "bullet_lines") == (3 / 5,)
    assert of("a...\n\nb…\n\nc.\nd", "ellipsis_lines") == (2 / 4,)
    assert of("\n\n", "bullet_lines", "ellipsis_lines") == (0, 0)


def test_symbols_per_word():
    assert of("# one two ## three", "hash_ratio") == (3 / 5,)
    assert of("well... then…  so", "ellipsis_ratio") == (2 / 3,)
    assert of("####", "hash_ratio") == (4,)


def test_stop_words_are_distinct_and_in_any_case():
    assert of("The the THE cat", "stop_words") == (1,)
    assert of("To be, or not to be: that is the question, and of with have", "stop_words") == (8,)
    assert of("theory tobacco land", "stop_words") == (0,)


def test_a_word_longer_than_a_block_is_one_word():
    assert of("a" * 200_000 + " b\n" + "c " * 100_000, "words") == (100_002,)


def _slow(text):
    """Words, mean length, words with letters and symbols by the definitions, character by character."""
    ranges = [span for name in UNSPACED for span in RANGES[name]]

    def kind(character):
        category = unicodedata.category(character)[0]
        solo = category == "L" and any(first <= ord(character) <= last for first, last in ranges)
        return "S" if solo else category if category in "LMN" else "-"

    lengths, spaced, letters, symbols = [], [], 0, 0
    for chunk in text.split():
        runs, inside_solo = [""], False
        for character in chunk:
            what = kind(character)
            if what == "S" or (inside_solo and what != "M"):
                runs.append("")
            runs[-1] += character
            inside_solo = what == "S" or (inside_solo and what == "M")
        before = len(lengths)
        for run in runs:
            at = [index for index, character in enumerate(run) if kind(character) != "-"]
            if at:
                lengths.append(at[-1] - at[0] + 1)
                spaced.append(0 if kind(run[at[0]]) == "S" else lengths[-1])
                letters += any(kind(character) in "LS" for character in run)
        symbols += len(lengths) == before
    return len(lengths), sum(spaced) / max(1, sum(map(bool, spaced))), letters, symbols


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.text(max_size=4)
        | st.sampled_from(["word", " ", "\n", "人权", "ก็", "ที่", "か\u3099", "- ", "…", "'", "7", "한", "\u0301"]),
        max_size=12,
    ).map("".join)
)
def test_words_equal_their_definition(text):
    words, mean, letters, symbols = _slow(text)
    values = statistics(text)
    assert values["words"] == words
    assert values["mean_word_length"] == pytest.approx(mean)
    assert values["alphabetic_words"] == pytest.approx(letters / max(1, words + symbols))
    assert values["characters"] == len(text)


def test_one_column_per_statistic_and_nulls_for_quarantined_rows(batch_of):
    batch = identify(batch_of("One two three four five. Six!", None, ""))
    out = measure(batch)
    assert out.schema.names == [*batch.schema.names, *STATISTICS]
    for name, statistic in STATISTICS.items():
        column = out.column(name)
        assert column.type == statistic.type
        assert column.is_null().to_pylist() == [False, True, False]
        assert statistic.unit
        assert statistic.meaning
    assert out.column("words").to_pylist() == [6, None, 0]
    assert out.column("c4_sentences").to_pylist() == [2, None, 0]
    assert set(C4_COLUMNS) < set(STATISTICS)
