import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.language import identify
from pipeline.text.statistics import C4_COLUMNS, STATISTICS, measure


@pytest.fixture(scope="module")
def of(measured):
    """The named statistics of one text."""

    def named(text, *names):
        (values,) = measured(text)
        return tuple(values[name] for name in names)

    return named


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
def test_words(of, text, words, mean, alphabetic):
    assert of(text, "words", "mean_word_length", "alphabetic_words") == pytest.approx((words, mean, alphabetic))


def test_fractions_of_lines_leave_blank_lines_out(of):
    text = "• one\n\n\n- two\n  * three\n**bold**\n-5 degrees\n\n"
    assert of(text, "bullet_lines") == (3 / 5,)
    assert of("a...\n\nb…\n\nc.\nd", "ellipsis_lines") == (2 / 4,)
    assert of("\n\n", "bullet_lines", "ellipsis_lines") == (0, 0)


def test_symbols_per_word(of):
    assert of("# one two ## three", "hash_ratio") == (3 / 5,)
    assert of("well... then…  so", "ellipsis_ratio") == (2 / 3,)
    assert of("####", "hash_ratio") == (4,)


def test_stop_words_are_distinct_and_in_any_case(of):
    assert of("The the THE cat", "stop_words") == (1,)
    assert of("To be, or not to be: that is the question, and of with have", "stop_words") == (8,)
    assert of("theory tobacco land", "stop_words") == (0,)


def test_a_word_longer_than_a_slice_is_one_word(of):
    assert of("a" * 400_000 + " b\n" + "c " * 100_000, "words") == (100_002,)


PIECES = st.sampled_from(
    [
        *(
            "word",
            "the",
            "The",
            "WITH",
            "of,",
            " ",
            "  ",
            "\n",
            "\n\n",
            "\t",
            "\u00a0",
            "\u2028",
            "\u3000",
            "\x85",
            "\x1c",
        ),
        *(
            "人权",
            "ก็",
            "ที่",
            "か\u3099",
            "人。",
            "」",
            "。 a",
            "。」 a",
            "한",
            "है।",
            "\u0301",
            "\u0f0d",
            "¿",
            "٣",
            "Ⅳ",
            "²",
            "_",
        ),
        *("- ", "* ", "•", "-", "…", "...", "..", ".", "?", '!"', "’", "'", "#", "7", "[1]", "[٣]", "[edit]", "[", "]"),
        *("[citation needed]", "{", "javascript", "JavaScript", "javascrİpt", "lorem ipsum", "privacy policy"),
        *("Terms of Use", "uses cookies", "use of coo\u212aies", "use cookies", "cookie policy", "Mr. A", "Mrs. b"),
        *(
            "J. Doe",
            "x_J. Doe",
            "St. P",
            "end. Then",
            'a b. C d e."\n',
            "end.\n",
            "a b c d e.\n",
            "a b c.\n",
            "\U0001f600",
            "\U000e0001",
            "\U000e0100",
        ),
        *("http://", "://x", "www.", "WwW.", "/www.", "NASA ", "ÀB", "Ǆ", "ǅ", "Ⴀ", "Ж", "α", "כ", "x" * 70),
        *("a b c d e f g h i j k ", "a b c d e ", "ha ha ha ha ", "\U00020000", "\U0010ffff"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=24).map("".join)


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.sampled_from(["latin", "thai", "han"]))
def test_kernels_equal_the_definitions(reference, measured, text, script):
    (values,) = measured(text, script=script)
    assert values == reference.statistics(text, script)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, max_size=5), st.integers(0, 3))
def test_documents_do_not_touch_one_another(measured, texts, cut):
    alone = [measured(text)[0] for text in texts]
    assert measured(*texts) == alone
    batch = pa.RecordBatch.from_pydict(
        {
            "text": pa.array(["left out. " * 3] * cut + texts, pa.string()),
            "script": pa.array(["latin"] * (cut + len(texts)), pa.string()),
            "quarantine": pa.nulls(cut + len(texts), pa.string()),
        }
    ).slice(cut)
    assert measure(batch).select(list(STATISTICS)).to_pylist() == alone


@pytest.mark.parametrize("text", ["", *"aA#.…-•\n \t7人ก{'_?[]٣\u0301\U0010ffff"])
def test_empty_and_one_character(reference, measured, text):
    assert measured(text) == [reference.statistics(text)]


def test_equal_the_definitions_on_real_text(reference, measured, samples):
    texts = [path.read_text(encoding="utf-8")[:20_000] for path in sorted(samples.glob("*/*")) if path.suffix != ".md"]
    assert len(texts) > 50
    assert measured(*texts) == [reference.statistics(text) for text in texts]


def test_ten_megabytes_in_one_document(measured):
    sentence = "The quick brown fox jumps over the lazy dog and runs away with it.\n"
    times = 10_000_000 // len(sentence)
    (values,) = measured(sentence * times)
    assert (values["words"], values["lines"], values["c4_sentences"]) == (14 * times, times, times)
    assert values["characters"] == len(sentence) * times
    assert values["mean_word_length"] == sum(map(len, sentence.strip(".\n").split())) / 14
    assert values["duplicate_lines"] == (times - 1) / times
    assert values["duplicate_10gram_characters"] == pytest.approx(1 - 1 / times)
    assert values["top_2gram_characters"] == pytest.approx(7 / sum(map(len, sentence.strip(".\n").split())), abs=0.1)
    assert values["compression"] > 0.999
    assert values["median_word_length"] == 4
    (values,) = measured("x" * 10_000_000)
    assert (values["words"], values["mean_word_length"], values["c4_lines_long_word"]) == (1, 10_000_000, 1)


def test_nothing_else_lowers_to_the_letters_that_c4_looks_for():
    letters = set("abcdefghijklmnopqrstuvwxyz") - set("i")
    lowering = {point for point in range(128, 0x110000) if letters & set(chr(point).lower())}
    assert lowering == {0x212A}
    # Its dot stands behind the i, and no phrase and no stop word ends in i.
    assert "\u0130".lower() == "i\u0307"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        # Copies are those after the first; peers that count all say 2/3.
        ("Hello, World.\nHello, World.\n\nHello", "duplicate_lines", 1 / 3),
        ("Hello, World.\nHello, World.\n\nHello", "duplicate_line_characters", 13 / 31),
        # Blank lines are no copies of one another (datatrove issue 273).
        ("a\n\n\n\nb\n\n", "duplicate_lines", 0),
        ("a\nb\n\n\nc\n \na\n  b \n", "duplicate_paragraphs", 1 / 3),
        ("a\nb\n\n\nc\n \na\n  b \n", "duplicate_paragraph_characters", 2 / 5),
        # A sum over occurrences says 1.36.
        ("ha ha ha ha", "top_2gram_characters", 1),
        ("ha ha ha ha ha ha", "duplicate_5gram_characters", 10 / 12),
        # Seen once: no top n-gram.
        ("one two three four five six", "top_2gram_characters", 0),
        ("to be or not to be", "top_2gram_characters", 8 / 13),
        # Two of them twice each: the larger share, whichever comes first.
        ("a b. wide open. a b. wide open.", "top_2gram_characters", 16 / 20),
        ("wide open. a b. wide open. a b.", "top_2gram_characters", 16 / 20),
        ("a b c d e f, a b c d e", "duplicate_5gram_characters", 5 / 11),
        ("a b c d e f, a b c d e", "duplicate_6gram_characters", 0),
        ("one two", "top_4gram_characters", 0),
        ("人人生而自由人人生而自由", "duplicate_5gram_characters", 6 / 12),
        ("What? Yes. No\nmaybe\n", "terminal_lines", 0),
        ("x" * 30 + "\n" + "x" * 31, "short_lines", 1 / 2),
        ("a b\n\nc d\n", "newline_ratio", 3 / 4),
    ],
)
def test_repetition_and_lines(measured, text, name, value):
    assert measured(text)[0][name] == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("a bb cccc", "median_word_length", 2),
        ("a bb cccc dddd", "median_word_length", 3),
        ("人权 abc", "median_word_length", 3),
        ("x" * 100, "median_word_length", 63),
        ("NASA and ESA, I say 42", "upper_case_words", 2 / 6),
        ("B2B U.S. 42", "upper_case_words", 2 / 3),
        ("Abc 人", "upper_case", 1 / 4),
        ("a1٣ ²", "digits", 2 / 4),
        ("a1٣ ²!", "non_alphabetic", 4 / 5),
        ("a1٣ ²!", "punctuation", 1 / 5),
        ("a b\n", "white_space", 2 / 4),
        ("f(){{}", "curly_brackets", 2),
        ("See http://www.a.org, www.b.org and ftp://c", "urls", 3),
        ("://x 1://x xwww.a .www. www", "urls", 0),
        ("one www.b.org", "url_ratio", 1 / 2),
        ("abcж", "script_share", 3 / 4),
        ("abcж", "second_script_share", 1 / 4),
        ("日本のカメラ x", "scripts", 3),
        ("a" * 39 + "ж", "scripts", 1),
        ("123", "script_share", 0),
        ("e\u0301\u0301", "script_share", 1),
        ("abab", "entropy", 1),
        ("abcd" * 5, "entropy", 2),
        ("aaaa", "entropy", 0),
        ("no two alike", "compression", 0),
    ],
)
def test_characters(measured, text, name, value):
    assert measured(text)[0][name] == pytest.approx(value)


def test_compression_ranks_texts_as_zlib_does(samples, measured):
    texts = [path.read_text(encoding="utf-8") for path in sorted(samples.glob("*/*")) if path.suffix != ".md"]
    pieces = [text[at : at + 4000] for text in texts for at in range(0, min(len(text), 40_000) - 4000, 4000)]
    ours = np.array([values["compression"] for values in measured(*pieces)])
    saved = [1 - len(zlib.compress(piece.encode())) / len(piece.encode()) for piece in pieces]
    ranks = [np.argsort(np.argsort(column)) for column in (ours, np.array(saved))]
    assert len(pieces) > 200
    assert np.corrcoef(*ranks)[0, 1] > 0.75
    assert ours.max() <= 1
    assert measured("The same line over again.\n" * 200)[0]["compression"] > 0.95


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
