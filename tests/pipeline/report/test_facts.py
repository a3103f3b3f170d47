"""What the stages told about words, on the page: escaped, and left out where it is not this run's."""

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.report.collect import collect
from pipeline.report.page import render
from schemas.manifest import write_manifest

HOSTILE = "<img src=x onerror=alert(1)>\u202e\x1b[2J"
COUNT = {
    "words": 90_000,
    "least": {"words": 4, "ngrams": 7},
    "listed": {"words": 1500, "ngrams": 321},
    "heaps": [],
    "heaps_law": [0.0, 0.0],
    "batches": [HOSTILE],
}
ENCODE = {
    "rare_low": 3,
    "rare_high": 15,
    "rare_excluded": {"numeral": 11, HOSTILE: 5},
    "spelling_limits": {HOSTILE: 4.5, "Latin": 5.25},
    "without_window": 17,
}


@pytest.fixture
def told(prepared, tmp_path):
    """Writes the facts of both stages beside the prepared corpus; returns the page."""

    def write(count: dict[str, Any], encode: dict[str, Any], fingerprint: str = "ab" * 32) -> str:
        data = Path(shutil.copytree(prepared.path, tmp_path / "data"))
        prints = {"count": "ab" * 32, "encode": "ab" * 32}
        sources = {HOSTILE: {"train": 40_000, "valid": 100, "test": 9}, "books": {"train": 10_000, "valid": 20}}
        changes = {"fingerprints": prints, "source_tokens": sources}
        write_manifest(data, prepared.manifest.model_copy(update=changes))
        for stage, facts in (("count", count), ("encode", encode)):
            (data / "stages" / stage).mkdir(parents=True)
            done = {"fingerprint": fingerprint, "files": [], "facts": facts, "timing": {}}
            (data / "stages" / stage / "done.json").write_bytes(orjson.dumps(done))
        return render(collect(data))

    return write


def test_all_of_it_is_shown_and_none_of_it_obeyed(told):
    page = told(COUNT, ENCODE)
    for text in (
        "90,000 running words",
        "at least 4 occurrences; there is no curve",
        "321 n-grams of at least 7 occurrences",
        "words of 3 to 15 occurrences",
        "17 of them have no window, since no train document holds them.",
        '<bdi class="m">numerals</bdi></th><td data-v="11">11</td>',
        '<bdi class="m">Latin</bdi> 5.25',
        '<bdi class="m">books</bdi></th><td data-v="10000">10,000</td><td data-v="20">20</td>',
    ):
        assert text in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;⟨U+202E⟩⟨U+001B⟩[2J") == 3
    for obeyed in ("<img src=x", "\u202e", "\x1b"):
        assert obeyed not in page
    assert "another form of the word" not in page


def test_a_curve_and_families(told):
    heaps = {"least": {"words": 1}, "listed": {}, "heaps": [[10, 9], [100, 60], [1000, 300]], "heaps_law": [1.5, 0.77]}
    page = told(COUNT | heaps, ENCODE | {"in_families": 23, "window_by_family": 6})
    assert "about 1.5 · n<sup>0.77</sup> distinct ones" in page
    assert "up to 300 in 1,000; Heaps' law with exponent 0.77." in page.replace("&#39;", "'")
    assert "6 of these have one through another form of the word. 23 have another rare form." in page
    assert "there is no curve" not in page


@pytest.mark.parametrize(
    ("count", "encode", "fingerprint"),
    [(COUNT, ENCODE, "cd" * 32), ({"words": "many"}, {"rare_low": 1}, "ab" * 32)],
)
def test_of_another_run_or_damaged(told, count, encode, fingerprint):
    page = told(count, encode, fingerprint)
    for text in ("running words", "Rare are words of", "get no note"):
        assert text not in page
    assert "Tokens by source and split" in page
