"""The page: every section, hostile names and texts, the same bytes every time."""

import html
import json
import re

import pytest

from trainer.report.history import read_history
from trainer.report.page import write_page
from trainer.report.samples import chosen, samples_of

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> \u202edcba \x00\x1b[31m {{ 7*7 }} </style>"


def sample(step: int, filled: str, number: int = 0) -> dict:
    gaps = [
        {"truth": "▁whale", "filled": filled, "probability": 0.5, "truth_probability": 0.1},
        {"truth": "s", "filled": "s", "probability": None, "truth_probability": None},
    ]
    return {"kind": "sample", "step": step, "sample": number, "text": ["the", " swim", " home"], "gaps": gaps}


@pytest.fixture
def two(make_run):
    first = [
        *make_run.records(40, data_wait=0.02),
        {
            "kind": "growth",
            "step": 21,
            "layers_before": 2,
            "layers": 4,
            "loss_before": 3.0,
            "loss_after": 3.5,
            "tokens": 20000,
        },
        {
            "kind": "recovery",
            "step": 24,
            "layers": 4,
            "steps": 4,
            "loss": 2.9,
            "loss_before": 3.0,
            "tokens": 1,
            "seconds": 1,
        },
        {"kind": "notes", "step": 10, "filled": 7, "mean_norm": 1.5, "share": 0.02},
        {"kind": "notes", "step": 20, "filled": 9, "mean_norm": 1.6, "share": 0.03},
        {"kind": "skipped", "step": 3, "total": 1},
        {"kind": "skipped", "step": 4, "total": 2},
        *(sample(step, "▁whale" if step > 20 else "▁ship") for step in (0, 10, 20, 30, 40)),
    ]
    second = make_run.records(20, scale=2.0, replaced_accuracy=0.4, difficulty=1.25)
    result = {"parameters": 1_234_567, "layers": 4, "tokens_per_second": 2500.0, "mfu": 0.31}
    config = '[model]\npreset = "tiny"\n[task]\nkind = "multiple-choice"\n[data]\nbatch_rows = 8\n'
    return [make_run("first", first, result=result), make_run("second", second, config=config)]


def test_every_section(two) -> None:
    page = write_page(two)
    for text in (
        "2 runs",
        "Held out and training",
        "Learning rate",
        "Gradient norm",
        "Tokens per second",
        "MFU",
        "Data wait",
        "Replaced accuracy",
        "Difficulty",
        "Notes filled",
        "grew",
        "Filled gaps",
        "Keys that are not the same in all runs",
        "data.batch_rows",
    ):
        assert text in page, text
    # Masked LM's only part is its loss; the log of a run without data_wait is not missed.
    assert "Masked lm" not in page
    assert len(re.findall('<svg class="chart"', page)) % 3 == 0
    row = re.search(r'<tr><th scope="row"><label><input type="checkbox" id="r0".*?</tr>', page, re.DOTALL)[0]
    cells = [html.unescape(re.sub("<[^>]+>", "", cell)) for cell in re.findall("<td[^>]*>(.*?)</td>", row)]
    assert cells[:6] == ["finished", "masked-lm", "tiny, 4 layers", "1.235M", "40", "40k"]
    assert cells[6:] == ["20", "–", "0.1707", "0.1707, 40", "2,500", "31\u00a0%", "2"]
    assert "its FLOPs are not known" in page
    assert "No run tells it against FLOPs." in page


def test_samples(two) -> None:
    (found,) = samples_of(read_history(two[0]))
    assert [(fill.step, fill.right, fill.gaps) for fill in found.fills] == [
        (0, 1, 2), (10, 1, 2), (20, 1, 2), (30, 2, 2), (40, 2, 2)
    ]  # fmt: skip
    assert "".join(word.text for word in found.truth) == "the whale swims home"
    assert "".join(word.text for word in found.fills[0].words) == "the ship swims home"
    page = write_page(two)
    assert "<mark><bdi> ship</bdi><small>50\u00a0%</small></mark>" in page
    assert '<mark class="hit"><bdi>s</bdi><small>–</small></mark>' in page


def test_of_many_evaluations_some_are_shown() -> None:
    assert chosen(3) == [0, 1, 2]
    assert chosen(100) == [0, 16, 33, 50, 66, 82, 99]
    assert all(chosen(n)[-1] == n - 1 and len(chosen(n)) == min(n, 7) for n in range(1, 60))


def test_hostile_texts_are_text(make_run) -> None:
    lines = [
        *make_run.records(10, **{HOSTILE: 0.5}),
        {**sample(5, HOSTILE), "text": [HOSTILE, HOSTILE * 50, ""]},
        {"kind": "growth", "step": 5, "layers": HOSTILE, "layers_before": None},
        {"kind": HOSTILE, "step": 3},
    ]
    config = f"[model]\npreset = {json.dumps(HOSTILE)}\n"
    page = write_page([make_run("<img src=x onerror=alert(1)>", lines, config), make_run("b")])
    assert "<script" not in page
    assert "<img" not in page
    assert not set("\x00\x1b\u202e") & set(page)
    assert "⟨U+202E⟩" in page
    tags = re.sub("(?s)<(bdi|text|title)[ >].*?</\\1>", "", page)
    assert re.findall(r"\s(?:src|href|style|on\w+)=", tags) == []


def test_it_loads_nothing_and_is_the_same_every_time(two) -> None:
    page = write_page(two)
    assert page == write_page(two)
    assert "default-src 'none'; style-src 'sha256-" in html.unescape(page)
    assert not re.search(r"<(?:script|link|img|iframe|object)|https?://|url\(", page)
    assert len(page) < 400_000
