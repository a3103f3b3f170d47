import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.furniture import cut_page_furniture

WORDS = ("oak", "elm", "ash", "fir", "yew", "bay", "fig")
LETTERS = "abcdefghijklmn"


def body(page):
    return [
        f"   {letter} {WORDS[page]} line, which goes on for some words and ends in none of the marks"
        for letter in LETTERS
    ]


def pages(footer, header, count=4, feed="\f", body=body):
    """Pages of 14 lines, each as no other; `footer` and `header` take the number of the page."""
    out = []
    for number in range(1, count + 1):
        if number > 1 and header is not None:
            out += [header.format(number), "", ""]
        out += body(number)
        if footer is not None:
            out += ["", "", footer.format(number)]
        if number < count:
            out += [feed] if feed else [""]
    return "\n".join(out)


@pytest.mark.parametrize("name", ["rfc2305", "rfc2549", "rfc3965"])
def test_rfcs(samples, name):
    text = (samples / f"rfc/{name}.txt").read_text(encoding="utf-8")
    clean = cut_page_furniture(text)
    gone = re.compile(r".*\[Page [0-9]+\]$|^RFC [0-9]{4}  .* [0-9]{4}$|\f")
    assert not any(gone.match(line) for line in clean.split("\n"))
    # Nothing but furniture goes, in order.
    assert [line for line in clean.split("\n") if line.strip()] == [
        line for line in text.split("\n") if line.strip() and not gone.match(line)
    ]
    assert cut_page_furniture(clean) == clean


def test_the_torn_paragraph_is_joined(samples):
    clean = cut_page_furniture((samples / "rfc/rfc3965.txt").read_text(encoding="utf-8"))
    assert "as failing, per [Processing failure] below.\n\n" in clean
    text = pages(
        "Author    [Page {}]",
        "RFC 1   Title   1999",
        body=lambda page: [f"   then {WORDS[page]} was the", *body(page)[:12], "   middle of a"],
    )
    clean = cut_page_furniture(text)
    assert "   middle of a\n   then fir was" in clean
    assert "[Page" not in clean
    whole = pages("A [Page {}]", "Title of all", body=lambda page: [*body(page), "   The end of it."])
    assert "   The end of it.\n\n   a ash line" in cut_page_furniture(whole)


@pytest.mark.parametrize(
    ("footer", "header", "feed"),
    [
        ("Author et al.     [Page {}]", "RFC 1       Title        May 1999", "\f"),
        ("Author et al.     [Page {}]", "RFC 1       Title        May 1999", ""),
        ("Author et al.     [Page {}]", None, "\f"),
        (None, "The Running Title of the Book", "\f"),
        ("            - {} -", None, "\f"),
        ("{}", "The Running Title", "\f"),
    ],
)
def test_furniture_is_cut(footer, header, feed):
    clean = cut_page_furniture(pages(footer, header, feed=feed))
    assert clean == "\n".join(line for number in range(1, 5) for line in body(number))


@pytest.mark.parametrize(
    "text",
    [
        pages("[Page {}]", "Title", count=2),
        pages(None, None),
        pages(None, "CHAPTER {}"),
        pages(None, "Chapter {}. On whales", feed="\f"),
        pages("the end of part {}", None),
        "\n".join(f"{n}. Introduction . . . . . . . [Page {n}]" for n in range(1, 30)),
        "\f\n".join(["}", "}", "}", "}", "}"]),
        "one [Page 1]\ntwo\n\n[Page 2]\n\n[Page 3]",
        "",
        "\f" * 10,
        "\n\f\n" * 10,
    ],
)
def test_what_is_no_furniture_stays(text):
    assert cut_page_furniture(text) == text


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["\f\n", "\f", "\n", "", "Header of all\n", "A [Page 1]\n", "A [Page 2]\n", "A [Page 3]\n"])
        | st.integers(9, 12).map(lambda count: "text of a line\n" * count),
        max_size=20,
    ).map("".join)
)
def test_only_whole_lines_go(text):
    clean = cut_page_furniture(text)
    left = iter(line for line in text.replace("\f", "\f\n").split("\n"))
    for line in clean.replace("\f", "\f\n").split("\n"):
        assert not line.strip() or line in left
