"""The words that differ between two texts: every change found, none invented, bounded on the worst of texts."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inspect import changes
from pipeline.inspect.words import SHOWN_CHARACTERS, SHOWN_HUNKS, word_difference


def marks(first: str, second: str) -> list[list[tuple[str, str]]]:
    return [[(run.mark, run.text) for run in hunk] for hunk in word_difference(first, second).hunks]


def test_changed_words_stand_among_those_around_them():
    first = "one two three four five six seven eight, nine ten eleven twelve thirteen fourteen fifteen sixteen"
    second = first.replace("eight,", "Eight!").replace("sixteen", "sixteen seventeen")
    assert marks(first, second) == [
        [
            ("=", "… two three four five six seven"),
            ("-", "eight,"),
            ("+", "Eight!"),
            ("=", "nine ten eleven twelve thirteen fourteen fifteen sixteen"),
            ("+", "seventeen"),
        ]
    ]
    found = word_difference(first, second)
    assert (found.changes, found.only_first, found.only_second, found.cut) == (2, 2, 3, False)


def test_white_space_is_no_difference():
    assert word_difference("a  b\nc", " a b\n\n c ").hunks == ()
    assert word_difference("", "").changes == 0


def test_scripts_without_spaces_are_compared_by_character():
    assert marks("学而时习之不亦说乎", "学而时习之不亦悦乎") == [
        [("=", "… 而时习之不亦"), ("-", "说"), ("+", "悦"), ("=", "乎")]
    ]


def test_changes_far_apart_are_shown_apart_and_many_are_only_counted():
    filler = " ".join(f"w{number}" for number in range(30))
    pages = [f"{filler} x{number}" for number in range(40)]
    found = word_difference(" ".join(pages), " ".join(page.replace(" x", " y") for page in pages))
    assert (found.changes, len(found.hunks)) == (40, SHOWN_HUNKS)
    assert all(run.mark == "=" for hunk in found.hunks for run in (hunk[0], hunk[-1]))


def test_a_long_run_shows_its_ends():
    (hunk,) = word_difference("begin end", f"begin {'word ' * 10_000}end").hunks
    (run,) = [run for run in hunk if run.mark == "+"]
    assert len(run.text) <= SHOWN_CHARACTERS + 3
    assert run.text.startswith("word word")
    assert " … " in run.text


def test_words_shared_by_chance_do_not_tear_a_change_apart():
    first = "alpha the red fox jumped over it of all those five places omega"
    second = "alpha a blue hare sat under me of which nobody knows anything omega"
    assert marks(first, second) == [
        [
            ("=", "alpha"),
            ("-", "the red fox jumped over it of all those five places"),
            ("+", "a blue hare sat under me of which nobody knows anything"),
            ("=", "omega"),
        ]
    ]
    found = word_difference(first, second)
    assert (found.changes, found.only_first, found.only_second) == (1, 10, 10)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_changes_turn_the_first_text_into_the_second(data: st.DataObject) -> None:
    ids = st.lists(st.integers(0, data.draw(st.sampled_from([1, 5, 60]))), max_size=60)
    one = data.draw(ids)
    two = list(one)
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(two)))
        two[at : at + data.draw(st.integers(0, 5))] = data.draw(ids)[:6]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes, "DIRECT", data.draw(st.sampled_from([0, 6, 1000])))  # by anchors, or by difflib
        found = changes.changes_of(one, two)
    made: list[int] = []
    at = 0
    for start, end, other, other_end in found:
        assert at <= start <= end
        assert (end - start) + (other_end - other) > 0
        made += one[at:start]
        assert len(made) == other
        made += two[other:other_end]
        at = end
    assert made + one[at:] == two
    assert bool(found) == (one != two)


@pytest.mark.parametrize("kind", ["edited", "repeated", "foreign"])
def test_time_stays_near_linear_on_long_texts(kind: str) -> None:
    draw = random.Random(1)
    one = [f"{draw.choice('abcdef')}{draw.randrange(2000)}" for _ in range(100_000)]
    if kind == "edited":
        two = [word if draw.random() > 0.02 else "edited" for word in one]
    elif kind == "repeated":
        one, two = ["a", "b"] * 50_000, ["b", "a", "a"] * 30_000
    else:
        two = [draw.choice("abc") for _ in range(100_000)]
    start = time.process_time()
    found = word_difference(" ".join(one), " ".join(two))
    # 0.5 s on one core; difflib alone needs minutes for the first and the second.
    assert time.process_time() - start < 10
    assert found.changes
    if kind == "edited":
        assert found.only_first == sum(a != b for a, b in zip(one, two, strict=True))
