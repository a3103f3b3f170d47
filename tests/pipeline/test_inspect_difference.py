"""What a repair changed: found, bounded, and shown where it is."""

import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inspect.difference import SHOWN_CHARACTERS, SHOWN_LINES, difference


def test_changed_lines_with_one_line_of_context() -> None:
    found = difference("a\nb\nc\nd\ne", "a\nb\nC\nd\ne\nf")
    assert found.lines == ("@@ -2,4 +2,5 @@", " b", "-c", "+C", " d", " e", "+f")
    assert not found.cut


def test_long_lines_are_shown_from_their_first_difference_on() -> None:
    head = "".join(random.Random(1).choices("abc ", k=500_000))
    found = difference(head + "“quoted” end" + head, head + '"quoted" end' + head)
    assert [line[0] for line in found.lines[1:]] == ["-", "+"]
    assert all("quoted" in line and line.endswith("…") for line in found.lines[1:])
    assert all(len(line) <= SHOWN_CHARACTERS + 1 for line in found.lines[1:])


def test_unlike_texts_take_no_time_and_little_space() -> None:
    draw = random.Random(2)
    one, two = ("\n".join(str(draw.randrange(9)) for _ in range(200_000)) for _ in range(2))
    begun = time.monotonic()
    found = difference(one, two)
    assert time.monotonic() - begun < 20
    assert found.cut
    assert len(found.lines) == SHOWN_LINES


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=12))
def test_the_lines_lead_from_one_text_to_the_other(one: list[str], two: list[str]) -> None:
    found = difference("\n".join(one), "\n".join(two))
    old, new = ("\n".join(one).split("\n"), "\n".join(two).split("\n"))
    assert bool(found.lines) == (old != new)
    result, at = [], 0
    for line in found.lines:
        if line[0] == "@":
            start = int(line.split(" ")[1][1:].split(",")[0]) - 1
            result += old[at:start]
            at = start
        elif line[0] == "+":
            result.append(line[1:])
        else:
            assert old[at] == line[1:]
            at += 1
            result += [line[1:]] if line[0] == " " else []
    assert result + old[at:] == new
    assert not found.cut
