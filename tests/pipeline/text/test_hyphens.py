import pytest

from pipeline.text.hyphens import join_hyphens


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("An exam-\nple. That example.", "An example.\nThat example."),
        ("An exam-\nple, and\nmore: EXAMPLE", "An example,\nand\nmore: EXAMPLE"),
        ("an exam-\nple\nexample", "an example\nexample"),
        ("an example, exam-\n   ple", "an example, example"),
        ("Prüf-\nung der Prüfung", "Prüfung\nder Prüfung"),
        # Not shown whole, shown with its hyphen more often, a name, a suffix, numbers, a longer chain, a list.
        ("an exam-\nple alone", "an exam-\nple alone"),
        ("well-\nknown, well-known, well-known, wellknown", "well-\nknown, well-known, well-known, wellknown"),
        ("Jean-\nPaul and JeanPaul", "Jean-\nPaul and JeanPaul"),
        ("x-\ny and xy", "x-\ny and xy"),
        ("1990-\n1995 19901995", "1990-\n1995 19901995"),
        ("out-\nof-date outof", "out-\nof-date outof"),
        ("word -\nple wordple", "word -\nple wordple"),
        ("", ""),
    ],
)
def test_joined_only_where_the_text_shows_the_word(text, joined):
    assert join_hyphens(text) == joined
