"""The sets of rules beside Gopher's quality rules and C4: what each drops, and what they keep."""

import json

import pytest

SENTENCE = "The cat sat on the mat and looked at the moon with great care. "
PAGE = SENTENCE * 5

WORDS = ("river", "stone", "window", "garden", "morning", "letter", "summer", "castle", "thunder", "silver", "market")
VARIED = " ".join(f"{a} {b}" for a in WORDS for b in WORDS[::-1] if a != b)


@pytest.mark.parametrize(
    ("sets", "text", "rule", "detail"),
    [
        (
            ("gopher-repetition",),
            "A line of its own.\n\n" + "The same line again.\n" * 2 + VARIED,
            None,
            None,
        ),
        (
            ("gopher-repetition",),
            "A line of its own.\n" + "The same line again.\n" * 9,
            "repetition.max_duplicate_lines",
            "0.8 of lines are copies, at most 0.3 wanted",
        ),
        (
            ("gopher-repetition",),
            f"{VARIED}\n\nBe well.\n\nBe well.\n\nBe well.\n",
            "repetition.max_duplicate_lines",
            "0.5 of lines are copies, at most 0.3 wanted",
        ),
        (
            ("gopher-repetition",),
            f"{VARIED[:400]}\n{VARIED[400:1200]}\n{VARIED[:400]}\n{VARIED[1200:1300]}",
            "repetition.max_duplicate_line_characters",
            "0.2353 of characters are in copied lines, at most 0.2 wanted",
        ),
        (
            ("gopher-repetition",),
            "very much " * 40 + "more",
            "repetition.max_top_2gram_characters",
            "0.9877 of characters are in the most frequent 2-gram, at most 0.2 wanted",
        ),
        (
            ("gopher-repetition",),
            VARIED + " " + VARIED[: len(VARIED) // 3],
            "repetition.max_duplicate_5gram_characters",
            "0.2469 of characters are in copied 5-grams, at most 0.15 wanted",
        ),
        (
            ("fineweb",),
            "No end mark at the end of these lines at all\n" * 9,
            "fineweb.min_terminal_lines",
            "0 of lines end with terminal punctuation, at least 0.12 wanted",
        ),
        (
            ("fineweb",),
            "".join(f"Line {number}.\n" for number in range(9)),
            "fineweb.max_short_lines",
            "1 of lines are short, at most 0.67 wanted",
        ),
        (
            ("fineweb",),
            f"{SENTENCE}\n{VARIED[:1200]}\n{SENTENCE}",
            "fineweb.max_duplicate_line_characters",
            "0.04683 of characters are in copied lines, at most 0.01 wanted",
        ),
        (
            ("fineweb",),
            "".join(f"Supercalifragilisticexpialidocious{number}.\n" for number in range(9)),
            "fineweb.max_newline_ratio",
            "0.8889 line feeds per word, at most 0.3 wanted",
        ),
        (("siliang",), "Next topic: more", "siliang.min_words", "3 words, at least 10 wanted"),
        (
            ("siliang",),
            "床前明月光，疑是地上霜。" * 20,
            "siliang.max_duplicate_10gram_characters",
            "0.95 of characters are in copied 10-grams, at most 0.65 wanted",
        ),
        (
            ("siliang",),
            "".join(f"Row {number}: buy now and save.\n" for number in range(40)),
            "siliang.max_compression",
            None,
        ),
        (
            ("siliang",),
            VARIED[:200] + "\n" + "Home and garden\n" * 30,
            "siliang.max_duplicate_line_characters",
            None,
        ),
        (("siliang",), "1066 1077 and 1099 then " * 9 + VARIED[:50], "siliang.min_alphabetic_words", None),
        (("c4-datatrove",), PAGE[:-1].replace(". ", ", ", 1), "c4-datatrove.min_sentences", None),
    ],
)
def test_rules_of_the_further_sets_decide_and_say_so(clean, sets, text, rule, detail):
    (row,) = clean(text, sets=sets)
    assert row["rule"] == rule, row["detail"]
    if detail is not None:
        assert row["detail"] == detail
    (row,) = clean(text, sets=())
    assert row["verdict"] == "kept"


def test_siliang_keeps_real_text_of_every_script(samples, clean):
    pages = sorted((samples / "udhr-html").glob("*.html"))
    rows = clean(*(path.read_text(encoding="utf-8") for path in pages), media="html", sets=("siliang",))
    books = [path.read_text(encoding="utf-8") for path in sorted(samples.glob("*/*.txt"))]
    pieces = [book[at : at + 3000] for book in books for at in range(0, len(book), 3000)]
    poems = json.loads((samples / "zh-classics/tangshisanbaishou.json").read_text(encoding="utf-8"))
    verses = ["\n".join(poem["paragraphs"]) for kind in poems["content"] for poem in kind["content"]]
    assert len(verses) > 200
    rows += clean(*books, *pieces, *verses, sets=("siliang",))
    assert [(row["rule"], row["detail"]) for row in rows if row["verdict"] != "kept"] == []


def test_custom_rules_are_scored_and_decide(clean):
    own = {"name": "few_lines", "statistic": "lines", "comparison": "min", "limit": 2, "scripts": ["latin"]}
    one, two, chinese = clean(PAGE, f"{PAGE}\n{PAGE}", "床前明月光，疑是地上霜。", sets=(), custom=[own])
    assert (one["verdict"], one["rule"], one["detail"]) == (
        "filtered",
        "custom.few_lines",
        "1 lines, at least 2 wanted",
    )
    assert two["verdict"] == chinese["verdict"] == "kept"
    assert two["scores"][-1] == {"rule": "custom.few_lines", "score": 2, "limit": 2}
    assert "custom.few_lines" not in {score["rule"] for score in chinese["scores"]}


def test_c4_datatrove_cuts_by_its_own_limits(clean):
    text = "Only three words. \nTwo words.\nno end mark at all here\n" + SENTENCE * 5
    (strict,) = clean(text, sets=("c4",))
    assert strict["text"] == (SENTENCE * 5).strip()
    (loose,) = clean(text, sets=("c4-datatrove",))
    assert loose["text"] == f"Only three words.\n{(SENTENCE * 5).strip()}"
    assert loose["detail"] == "2 of 4 lines cut by the C4 line rules"
    (looser,) = clean(text, sets=("c4-datatrove",), limits={"c4-datatrove.min_line_words": 2})
    assert (looser["c4_datatrove_lines_left"], looser["c4_lines_left"]) == (3, 1)
    assert looser["text"].startswith("Only three words.\nTwo words.\nThe cat")
