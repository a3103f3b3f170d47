"""What datatrove decides, repeated: against its own code where it is installed, and always against what it once said.

The tests of the peer need a Python with `pip install 'datatrove==0.10.*' spacy`, named by SILIANG_PEERS_DATATROVE.
"""

import importlib.util
import json
import math
import os
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.datatrove import DATATROVE_STATISTICS, Tokens, count_datatrove, values
from pipeline.text.datatrove_exceptions import exceptions
from pipeline.text.datatrove_marks import PUNCTUATION, TERMINAL_PUNCTUATION
from pipeline.text.rules import ALL_STATISTICS, RULES, describe_rules

GOLDEN = Path(__file__).parent / "golden" / "datatrove.json"
SETS = ("gopher-quality-datatrove", "gopher-repetition-datatrove", "fineweb-datatrove")
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


def _module(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


peer = _module("datatrove_compare")


@pytest.fixture(scope="module")
def python():
    found = peer.interpreter()
    if found is None:
        pytest.skip("no datatrove: set SILIANG_PEERS_DATATROVE to a Python with 'datatrove==0.10.*' and spacy")
    return found


def copies(items):
    seen, count, characters = set(), 0, 0
    for item in items:
        if item in seen:
            count += 1
            characters += len(item)
        seen.add(item)
    return count, characters


def top(words, size):
    grams = [" ".join(words[at : at + size]) for at in range(len(words) - size + 1)]
    if not grams:
        return 0
    gram, count = Counter(grams).most_common(1)[0]
    return len(gram) * count


def duplicate(words, size):
    seen, characters, at = set(), 0, 0
    while at <= len(words) - size:
        gram = "".join(words[at : at + size])
        if gram in seen:
            characters += len(gram)
            at += size
        else:
            seen.add(gram)
            at += 1
    return characters


def plain(text, words):
    """Every statistic once more, slow, from the definitions of datatrove's filters; where they divide by 0, 0."""
    filled = [word for word in words if set(word) - PUNCTUATION]
    split = text.splitlines()
    paragraphs, lines = re.split("\n{2,}", text.strip()), re.split("\n+", text)
    shown = [line for line in text.split("\n") if line.strip()]
    copied_paragraphs, copied_lines = copies(paragraphs), copies(lines)
    below = {"words": max(1, len(words)), "text": max(1, len(text)), "shown": max(1, len(shown))}
    below["split"] = max(1, len(split))
    result = {
        "words": len(filled),
        "mean_word_length": sum(map(len, filled)) / max(1, len(filled)),
        "hash_ratio": text.count("#") / below["words"],
        "ellipsis_ratio": (text.count("...") + text.count("…")) / below["words"],
        "bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in split) / below["split"],
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in split) / below["split"],
        "alphabetic_words": sum(any(map(str.isalpha, word)) for word in words) / below["words"],
        "stop_words": len(STOP_WORDS & set(words)),
        "duplicate_paragraphs": copied_paragraphs[0] / len(paragraphs),
        "duplicate_paragraph_characters": copied_paragraphs[1] / below["text"],
        "duplicate_lines": copied_lines[0] / len(lines),
        "duplicate_line_characters": copied_lines[1] / below["text"],
        **{f"top_{size}gram_characters": top(words, size) / below["text"] for size in (2, 3, 4)},
        **{f"duplicate_{size}gram_characters": duplicate(words, size) / below["text"] for size in range(5, 11)},
        "terminal_lines": sum(line.endswith(TERMINAL_PUNCTUATION) for line in shown) / below["shown"],
        "short_lines": sum(len(line) <= 30 for line in shown) / below["shown"],
        "copied_characters": copies(shown)[1] / max(1, len(text.replace("\n", ""))),
        "newline_ratio": text.count("\n") / below["words"],
    }
    return {f"datatrove_{name}": value for name, value in result.items()}


def measured(texts, tokens=None):
    """One dict per text, and the tokens as strings."""
    counts = count_datatrove(pa.array(texts, pa.string()), tokens)
    columns = [column.tolist() for column in values(counts)]
    rows = [dict(zip(DATATROVE_STATISTICS, row, strict=True)) for row in zip(*columns, strict=True)]
    found = counts.tokens
    spans = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    words = [
        [text[a:b] for a, b in (next(spans) for _ in range(count))]
        for text, count in zip(texts, np.diff(found.offsets).tolist(), strict=True)
    ]
    return rows, words


PIECES = st.sampled_from(
    [
        *(
            "the ",
            "of ",
            "The ",
            "a b ",
            "ab ",
            "b",
            "wide ",
            "open. ",
            "don't ",
            "“so” ",
            "7 ",
            "# ",
            "... ",
            "… ",
            "— ",
        ),
        *("\n", "\n\n", "\n \n", "\r\n", "\x0b", "\u2028", "\t", "same line.\n", "• item\n", " - item\n", "what?\n"),
        *("人人生而自由。", "।\n", "\u0301", "\U0001f600", "\U000e0001", "x" * 31, "\u1680"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=6), max_size=40).map("".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_equals_the_definitions(texts):
    rows, words = measured(texts)
    assert rows == [plain(text, parts) for text, parts in zip(texts, words, strict=True)]
    for text, parts in zip(texts, words, strict=True):
        assert "".join(parts) == "".join(text.split())
        assert all(part and not part[0].isspace() for part in parts)


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=3), st.randoms(use_true_random=False))
def test_takes_tokens_of_others(texts, random):
    spans = [
        [(match.start(), match.end()) for match in re.finditer(r"\S{1,3}", text) if random.random() < 0.9]
        for text in texts
    ]
    tokens = Tokens(
        np.array([a for found in spans for a, _ in found], np.int64),
        np.array([b for found in spans for _, b in found], np.int64),
        np.cumsum([0, *map(len, spans)]).astype(np.int64),
    )
    rows, words = measured(texts, tokens)
    assert words == [[text[a:b] for a, b in found] for text, found in zip(texts, spans, strict=True)]
    assert rows == [plain(text, parts) for text, parts in zip(texts, words, strict=True)]


def test_equals_the_definitions_on_real_text(samples):
    texts = [path.read_text(encoding="utf-8")[:15_000] for path in sorted(samples.glob("*/*")) if path.suffix != ".md"]
    rows, words = measured(texts)
    assert rows == [plain(text, parts) for text, parts in zip(texts, words, strict=True)]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        # An n-gram that occurs once is the most frequent one too.
        ("one two three four", "top_2gram_characters", 7 / 18),
        # Each occurrence counts, overlapping or not, and the spaces between the words.
        ("ha ha ha ha", "top_2gram_characters", 15 / 11),
        # Joined without spaces, "ab c" is "a bc".
        ("ab c d e f a bc d e f", "duplicate_5gram_characters", 6 / 21),
        # A line feed at each end leaves two empty lines, one a copy of the other.
        ("\nabc\n", "duplicate_lines", 1 / 3),
        ("a b\n\na b\n\n\na b ", "duplicate_paragraphs", 2 / 3),
        # Blank lines stand below the fraction line.
        ("• one\n\n• two\n\n", "bullet_lines", 2 / 4),
        ("The end of THE story", "stop_words", 1),
        # White space at the end of a line hides its end mark, and counts.
        ("One. \nTwo.", "terminal_lines", 1 / 2),
        ("x" * 30 + " \nx", "short_lines", 1 / 2),
        ("a , b # !", "words", 2),
        ("", "duplicate_lines", 0),
    ],
)
def test_oddities(text, name, value):
    (row,), _ = measured([text])
    assert row[f"datatrove_{name}"] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I can't, won’t go.", "I ca n't , wo n’t go ."),
        ("(He said: “U.S. troops!”)", "( He said : “ U.S. troops ! ” )"),
        ("Mr. Smith's e.g. well-known--yes... end", "Mr. Smith 's e.g. well - known -- yes ... end"),
        ("$5.00 is 50% of A.B.C. and/or 3-4", "$ 5.00 is 50 % of A.B.C. and/or 3 - 4"),
        ("See http://a-b.com/x,y now", "See http://a-b.com/x,y now"),
        ("one,two cannot 'em, 'tis *** ____", "one , two can not 'em , ' tis * * * _ _ _ _"),
        ("end.Start 3.14 a=b x/y it's", "end . Start 3.14 a = b x / y it 's"),
        ("to a-b@c-d.org, www.x-y.com/a-b", "to a-b@c-d.org , www.x-y.com/a-b"),
        ("mailto:a-b@c.de?s=u x:y@z a-b.C", "mailto:a-b@c.de?s=u x : y@z a - b. C"),
        ("10km, 120.7m. $5bn 3% x9z", "10 km , 120.7 m. $ 5bn 3 % x9z"),
        ("so :-) [: ok):", "so :-) [: ok ):"),
        ("“" * 80, " ".join("“" * 80)),
    ],
)
def test_tokens(text, tokens):
    _, (words,) = measured([text])
    assert words == tokens.split()


def test_exceptions_part_inside():
    assert all(0 <= split < len(chunk) for chunk, split in exceptions().items())
    for chunk, split in exceptions().items():
        _, (words,) = measured([chunk])
        assert words == ([chunk[:split], chunk[split:]] if split else [chunk]), chunk


def test_equals_what_datatrove_said():
    """golden/datatrove.json, written by `datatrove_compare.py --golden`: its tokens, scores and verdicts."""
    places = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len(places) > 100
    texts = [peer.golden_text(place) for place in places]
    results = [{"tokens": peer.unpacked(place["tokens"])} for place in places]
    tokens = peer.handed_over(results)
    rows, _ = measured(texts, tokens)
    _, own = measured(texts)
    dropped, same, whole = Counter(), 0, 0
    for row, (place, text) in enumerate(zip(places, texts, strict=True)):
        for name in DATATROVE_STATISTICS:
            wanted = place["scores"].get(name.removeprefix("datatrove_"), 0)
            assert rows[row][name] == pytest.approx(0 if math.isnan(wanted) else wanted, abs=1e-9), (
                place["file"],
                name,
            )
        spans = results[row]["tokens"]
        theirs = Counter(text[a:b] for a, b in zip(spans[::2], spans[1::2], strict=True))
        whole += theirs.total()
        same += (theirs & Counter(own[row])).total()
    decided = peer.decided(texts, tokens)
    for name in SETS:
        for place, rule in zip(places, decided[name], strict=True):
            reason = place["reasons"][name]
            assert rule == peer.rule_of(name, reason), place
            dropped[rule] += 1
    assert len(dropped) >= 8
    assert same / whole > 0.998


def _demand_equal(found):
    assert found.scores > 20 * found.documents
    assert found.wrong == []
    assert found.largest <= 1e-9
    assert found.given == []
    assert found.unexplained == []
    assert found.same_tokens / found.tokens > 0.99
    assert len(found.own) <= 0.005 * found.verdicts


def test_equals_datatrove_on_the_samples(python, samples, tmp_path):
    texts = peer.passages(samples, 200, 3000)
    assert len(texts) > 150
    _demand_equal(peer.compare(texts, peer.run_peer(python, texts, tmp_path)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_equals_datatrove_on_four_thousand_documents(python, tmp_path):
    """SILIANG_RAW_DATA: a directory of real texts, its first directories the sources to take evenly from."""
    data = os.environ.get("SILIANG_RAW_DATA")
    if not data:
        pytest.skip("set SILIANG_RAW_DATA to a directory with at least 4,000 documents")
    texts = peer.passages(Path(data), 4500)
    assert len(texts) >= 4000
    _demand_equal(peer.compare(texts, peer.run_peer(python, texts, tmp_path)))


PAGE = "The cat sat on the mat, and with great care it looked at the moon of autumn. " * 2


def test_scored_only_where_a_set_or_a_rule_asks(clean):
    (default,) = clean(PAGE)
    assert not DATATROVE_STATISTICS.keys() & default.keys()
    assert not any(RULES[score["rule"]].on_demand for score in default["scores"])
    (asked,) = clean(PAGE, sets=("fineweb-datatrove",))
    assert {RULES[score["rule"]].set for score in asked["scores"] if RULES[score["rule"]].on_demand} == {
        "fineweb-datatrove"
    }
    assert (asked["rule"], asked["detail"]) == (None, None)
    own = {"name": "tokens", "statistic": "datatrove_words", "comparison": "min", "limit": 40}
    (row,) = clean(PAGE, sets=(), custom=[own])
    assert (row["rule"], row["detail"]) == (
        "custom.tokens",
        "34 words that are more than punctuation, at least 40 wanted",
    )


@pytest.mark.parametrize(
    ("name", "text", "rule", "detail"),
    [
        (SETS[0], PAGE, "gopher-datatrove.min_words", "34 words that are more than punctuation, at least 50 wanted"),
        (
            SETS[1],
            PAGE,
            "repetition-datatrove.max_top_4gram_characters",
            "0.183 of characters are in the most frequent 4-gram, at most 0.16 wanted",
        ),
        (
            SETS[2],
            "No end mark\n" * 3,
            "fineweb-datatrove.min_terminal_lines",
            "0 of lines end with terminal punctuation, at least 0.12 wanted",
        ),
    ],
)
def test_each_set_decides_and_says_so(clean, name, text, rule, detail):
    good, bad, missing = clean("", text, None, sets=(name,))
    assert good["rule"] == "siliang.min_characters"
    assert (bad["rule"], bad["detail"]) == (rule, detail)
    assert RULES[rule].set == name
    assert missing["verdict"] == "quarantined"
    assert all(missing[statistic] is None for statistic in DATATROVE_STATISTICS)


def test_described_as_all_others():
    assert DATATROVE_STATISTICS.keys() <= ALL_STATISTICS.keys()
    used = {row["statistic"] for row in describe_rules() if row["on_demand"]}
    assert used == DATATROVE_STATISTICS.keys()
