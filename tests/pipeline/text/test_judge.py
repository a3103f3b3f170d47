import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import RulesConfig
from pipeline.records import with_columns
from pipeline.text.judge import cut_lines, judge
from pipeline.text.language import identify
from pipeline.text.rules import RULE_SETS, RULES
from pipeline.text.script import SCRIPTS
from pipeline.text.statistics import STATISTICS, measure
from schemas.arrow import AUDIT

SENTENCE = "The cat sat on the mat and looked at the moon with great care. "
PAGE = SENTENCE * 5
BOTH = ("gopher-quality", "c4")


def test_every_declaration_is_kept_and_rules_keep_to_their_scripts(samples, clean):
    paths = sorted((samples / "udhr-html").glob("*.html"))
    assert len(paths) == 15
    rows = clean(*(path.read_text(encoding="utf-8") for path in paths), media="html")
    for path, row in zip(paths, rows, strict=True):
        assert row["verdict"] == "kept", (path.name, row["rule"], row["detail"])
        scored = {score["rule"] for score in row["scores"]}
        assert ("gopher.min_stop_words" in scored) == (path.stem == "eng")
        spaced = path.stem not in ("cmn_hans", "cmn_hant", "jpn", "tha", "kor", "vie")
        assert ("gopher.min_mean_word_length" in scored) == spaced
        assert ("c4.terminal_punctuation" in scored) == (path.stem != "tha")
        assert {"siliang.min_characters", "gopher.min_words", "c4.lorem_ipsum"} <= scored


def test_every_declaration_passes_c4_too(samples, clean):
    rows = clean(
        *(path.read_text(encoding="utf-8") for path in sorted((samples / "udhr-html").glob("*.html"))),
        media="html",
        sets=("c4",),
    )
    assert [row["verdict"] for row in rows] == ["kept"] * 15
    assert all(row["repairs"].count("c4_lines") <= 1 and row["text"] for row in rows)


@pytest.mark.parametrize("folder", ["shakespeare", "sotu", "moby-dick", "milton", "rfc"])
def test_books_and_speeches_are_kept(samples, clean, folder):
    paths = sorted((samples / folder).glob("*.txt"))[:6]
    for row in clean(*(path.read_text(encoding="utf-8") for path in paths)):
        assert row["verdict"] == "kept", (row["rule"], row["detail"])
        assert row["rule"] is None
        assert row["detail"] is None


def test_navigation_stub_is_filtered(samples, clean):
    page = (samples / "python-tutorial-html/appetite.html").read_text(encoding="utf-8")
    start, end = page.index('<div class="body" role="main">'), page.index('<div class="sphinxsidebar"')
    whole, stub = clean(page, page[:start] + page[end:], media="html")
    assert whole["verdict"] == "kept"
    assert (stub["verdict"], stub["rule"]) == ("filtered", "siliang.min_characters")
    # Without elements to go by, the links themselves are too few words.
    (links,) = clean(re.sub(r"</?(nav|footer|div)[^>]*>", " ", page[:start]), media="html")
    assert "Next topic" in links["text"]
    assert (links["verdict"], links["rule"]) == ("filtered", "gopher.min_words")


@pytest.mark.parametrize(
    ("text", "rule", "detail"),
    [
        ("", "siliang.min_characters", "0 characters, at least 1 wanted"),
        ("\u00ad\f\n ", "siliang.min_characters", "0 characters, at least 1 wanted"),
        (" ".join(["word"] * 31), "gopher.min_words", "31 words, at least 50 wanted"),
        ("床前明月光，疑是地上霜。举头望明月，低头思故乡。", "gopher.min_words", "20 words, at least 50 wanted"),
        ("a b " * 60, "gopher.min_mean_word_length", "1 characters per word on average, at least 3 wanted"),
        (
            "incomprehensibilities " * 60,
            "gopher.max_mean_word_length",
            "21 characters per word on average, at most 10 wanted",
        ),
        (PAGE + "# " * 20, "gopher.max_hash_ratio", "0.2222 hash signs per word, at most 0.1 wanted"),
        (PAGE + "... " * 20, "gopher.max_ellipsis_ratio", "0.2222 ellipses per word, at most 0.1 wanted"),
        (
            "\n".join("- " + SENTENCE for _ in range(9)),
            "gopher.max_bullet_lines",
            "1 of lines start with a bullet, at most 0.9 wanted",
        ),
        (
            "\n".join([SENTENCE[:-2] + "..."] * 9),
            "gopher.max_ellipsis_lines",
            "1 of lines end with an ellipsis, at most 0.3 wanted",
        ),
        (PAGE + "1066 " * 30, "gopher.min_alphabetic_words", "0.7 of words hold a letter, at least 0.8 wanted"),
        (
            "price list garden chairs wooden tables kitchen sinks " * 9,
            "gopher.min_stop_words",
            "0 different English stop words, at least 2 wanted",
        ),
    ],
)
def test_each_gopher_rule_decides_and_says_so(clean, text, rule, detail):
    (row,) = clean(text)
    assert (row["verdict"], row["rule"], row["detail"]) == ("filtered", rule, detail)


@pytest.mark.parametrize(
    ("text", "rule", "detail"),
    [
        (SENTENCE * 3200, "c4.max_characters", "201599 characters, at most 190000 wanted"),
        (
            PAGE + "\nLorem ipsum dolor sit amet, consectetur.",
            "c4.lorem_ipsum",
            "1 lines with lorem ipsum, at most 0 wanted",
        ),
        (PAGE + "\nA sentence that holds a { in it.", "c4.curly_bracket", "1 curly brackets, at most 0 wanted"),
        (SENTENCE * 2 + "\nno end mark here\n" * 9, "c4.min_sentences", "2 sentences after cutting, at least 3 wanted"),
        (
            "สวัสดี Privacy Policy ครับ สวัสดี ครับ สวัสดี ครับ" * 9,
            "c4.min_lines",
            "0 lines left after cutting, at least 1 wanted",
        ),
    ],
)
def test_each_c4_rule_decides_and_says_so(clean, text, rule, detail):
    (row,) = clean(text, sets=("c4",))
    assert (row["verdict"], row["rule"], row["detail"]) == ("filtered", rule, detail)
    # Scored all the same where another set decides.
    (row,) = clean(text, sets=())
    assert row["verdict"] == "kept"
    assert rule in {score["rule"] for score in row["scores"]}


def test_every_rule_that_applies_is_scored_with_the_limit_in_force(clean):
    (row,) = clean(PAGE, limits={"gopher.min_words": 1000, "c4.min_line_words": 3})
    assert row["language"] == "en"
    always = {name: rule for name, rule in RULES.items() if not rule.on_demand}
    assert [score["rule"] for score in row["scores"]] == list(always)
    limits = {score["rule"]: score["limit"] for score in row["scores"]}
    assert limits == {name: rule.limit for name, rule in always.items()} | {
        "gopher.min_words": 1000,
        "c4.min_line_words": 3,
    }
    assert row["scores"][1]["score"] == row["words"] == 70
    assert (row["rule"], row["detail"]) == ("gopher.min_words", "70 words, at least 1000 wanted")


def test_first_broken_rule_names_the_reason_and_disabled_rules_do_not(clean):
    text = "a b # # # " * 5
    broken = ["gopher.min_words", "gopher.min_mean_word_length", "gopher.max_hash_ratio", "gopher.min_alphabetic_words"]
    for count, rule in enumerate(broken):
        (row,) = clean(text, disable=tuple(broken[:count]))
        assert row["rule"] == rule
    (row,) = clean(text, disable=tuple(broken))
    assert (row["verdict"], row["rule"], row["detail"]) == ("kept", None, None)


def test_french_and_swahili_need_no_english_stop_words(samples, clean):
    for name in ("fra", "swh"):
        html = (samples / f"udhr-html/{name}.html").read_text(encoding="utf-8")
        (row,) = clean(html, media="html")
        assert row["stop_words"] < 2
        assert row["verdict"] == "kept"


def test_quarantined_rows_pass_through(batch_of):
    batch = batch_of(PAGE, None)
    out = cut_lines(judge(measure(identify(batch)), RulesConfig(sets=BOTH)), RulesConfig(sets=BOTH))
    assert out.schema.field("scores").type == AUDIT.field("scores").type
    kept, quarantined = out.to_pylist()
    assert kept["verdict"] == "kept"
    assert quarantined["verdict"] == "quarantined"
    assert quarantined["rule"] == "invalid-utf8"
    assert quarantined["detail"] == "byte 7"
    assert quarantined["scores"] == []
    assert quarantined["text"] == ""
    assert quarantined["repairs"] == []
    assert all(quarantined[name] is None for name in STATISTICS)
    for name in batch.schema.names:
        assert out.column(name).to_pylist()[1] == batch.column(name).to_pylist()[1]


def test_c4_cuts_lines_of_kept_rows_alone(clean):
    page = PAGE.strip()
    text = f"Menu\n\n{page}\n\nRead our privacy policy before you go on.\n{page}[7]"
    kept, short = clean(text, "Menu\nHome", sets=BOTH)
    assert kept["text"] == f"{page}\n\n{page}"
    assert kept["repairs"] == ["c4_lines"]
    assert kept["detail"] == "2 of 4 lines cut by the C4 line rules"
    assert (short["verdict"], short["text"], short["repairs"]) == ("filtered", "Menu\nHome", [])
    (whole,) = clean(text)
    assert (whole["text"], whole["repairs"], whole["detail"]) == (text, [], None)


def test_c4_statistics_follow_the_line_limits(clean):
    text = "Three words here. \nAnd four words here.\nFive words are in here.\n" + "no end mark at all\n" * 2
    (default,) = clean(text, sets=("c4",))
    assert (default["c4_lines_left"], default["c4_lines_short"], default["verdict"]) == (1, 2, "filtered")
    (short,) = clean(text, sets=("c4",), limits={"c4.min_line_words": 3})
    assert (short["c4_lines_left"], short["c4_sentences"], short["verdict"]) == (3, 3, "kept")
    assert short["text"] == "Three words here.\nAnd four words here.\nFive words are in here."
    (loose,) = clean(text, sets=("c4",), disable=("c4.min_line_words", "c4.terminal_punctuation"))
    assert loose["c4_lines_left"] == 5
    assert "c4_lines" not in loose["repairs"]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none()
            | st.lists(st.sampled_from([SENTENCE, "same. ", "人权。", "\n", "# ", "...", "7 ", "a "]), max_size=9).map(
                "".join
            ),
            st.sampled_from([None, *SCRIPTS[:6], "han", "thai"]),
            st.sampled_from(["en", "fr", "vi", "und"]),
        ),
        max_size=6,
    ),
    st.lists(st.sampled_from(RULE_SETS), max_size=3).map(tuple),
    st.dictionaries(
        st.sampled_from([name for name, rule in RULES.items() if rule.unit == "page"]), st.just(3), max_size=3
    ),
    st.lists(st.sampled_from(list(RULES)), max_size=3).map(tuple),
)
def test_equals_judging_row_by_row(reference, batch_of, records, sets, limits, disable):
    disable = tuple(name for name in disable if RULES[name].unit == "page")
    config = RulesConfig(sets=sets, limits=limits, disable=disable)
    batch = batch_of(*(text for text, _, _ in records))
    columns = {
        "script": pa.array(
            [script or "other" if text is not None else None for text, script, _ in records], pa.string()
        ),
        "language": pa.array([language if text is not None else None for text, _, language in records], pa.string()),
    }
    measured = measure(with_columns(batch, columns))
    out = judge(measured, config)
    told = zip(*(out.column(name).to_pylist() for name in ("scores", "verdict", "rule", "detail")), strict=True)
    # `judge` adds the statistics on demand, and details.
    rows = with_columns(out, {"detail": batch["detail"]}).to_pylist()
    assert list(told) == [reference.judged(row, config) for row in rows]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.text(max_size=20)
        | st.sampled_from(
            ["<p>", "{", "\n", "lorem ipsum", "javascript", "[1]", SENTENCE, "人权。", "#", "...", "\u0301"]
        ),
        max_size=12,
    ).map("".join),
    st.sampled_from(["text", "html"]),
    st.sampled_from([(), ("gopher-quality",), ("c4",), BOTH, RULE_SETS[1:3]]),
)
def test_any_text_gets_one_verdict(clean, text, media, sets):
    rows = clean(text, None, text, media=media, sets=sets)
    row = rows[0]
    assert unicodedata.is_normalized("NFC", row["text"])
    assert row["verdict"] in ("kept", "filtered")
    assert (row["rule"] is None) == (row["verdict"] == "kept")
    assert bool(row["text"]) or row["verdict"] == "filtered"
    for score in row["scores"]:
        rule = RULES[score["rule"]]
        assert score["score"] == row[rule.statistic]
        assert score["limit"] == rule.limit
    assert {key: value for key, value in rows[2].items() if key not in ("record", "doc_id")} == {
        key: value for key, value in row.items() if key not in ("record", "doc_id")
    }
    assert rows[1]["verdict"] == "quarantined"


def test_limits_of_a_language_are_in_force_and_in_the_scores(batch_of):
    batch = identify(batch_of("word " * 40, "word " * 40, None))
    batch = measure(with_columns(batch, {"language": pa.array(["fi", "en", None])}))
    config = RulesConfig(
        sets=("gopher-quality",), limits={"gopher.min_words": 45}, language_limits={"fi": {"gopher.min_words": 41}}
    )
    rows = judge(batch, config).to_pylist()
    assert [row["detail"] for row in rows[:2]] == [
        "40 words, at least 41 wanted",
        "40 words, at least 45 wanted",
    ]
    limits = [{score["rule"]: score["limit"] for score in row["scores"]} for row in rows[:2]]
    assert [found["gopher.min_words"] for found in limits] == [41, 45]
    assert limits[0] | {"gopher.min_words": 45} == {
        name: limits[1].get(name, limit) for name, limit in limits[0].items()
    }
    passing = RulesConfig(
        sets=("gopher-quality",), limits={"gopher.min_words": 45}, language_limits={"fi": {"gopher.min_words": 40}}
    )
    assert [row["rule"] for row in judge(batch, passing).to_pylist()][:2] == [None, "gopher.min_words"]
