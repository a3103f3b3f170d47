"""`siliang-pipeline compare`: tables, JSON and page; hostile texts do nothing in any of them."""

import html
import json
import re
import shlex
from pathlib import Path

import pytest

from pipeline.cli import run

HOSTILE = "<script>alert(1)</script> \u202e\x1b[2J\x00 </style> {{ 7*7 }}"


@pytest.fixture
def pair(tmp_path, audited, audit_row):
    names = [f"web/<img src=x onerror=alert(1)>\u202e{n}.html#1" for n in range(12)]
    first = [audit_row(name, f"{n:032x}", excerpt=HOSTILE) for n, name in enumerate(names)]
    second = [dict(row) for row in first]
    for row in second[:5]:
        row.update(verdict="filtered", rule="words", detail=HOSTILE)
    return str(audited(tmp_path / "one", first)), str(audited(tmp_path / "two", second))


def test_tables(pair, capsys):
    assert run(["compare", *pair, "--text", "--progress", "none"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"records: kept +│ +12 │ +7 │ +-5 \(-41\.7 %\)", told)
    assert "5 went from kept to dropped, 0 from dropped to kept" in told
    assert "5 records: kept -> filtered by words" in told
    assert "Config and library versions are the same." in told
    assert not set("\x1b\x00\u202e") & set(told)
    assert "⟨U+202E⟩" in told


def test_json_when_it_is_read_by_a_program(pair, capsys):
    assert run(["compare", *pair, "--examples", "1", "--progress", "none"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["lost"], told["gained"]) == (5, 0)
    assert told["moves"][0]["after"] == {"verdict": "filtered", "rule": "words"}
    assert [example["excerpt"] for example in told["moves"][0]["examples"]] == [HOSTILE]
    assert not set("\x1b\x00\u202e") & set(line)


def test_page(pair, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert run(["compare", *pair, "--html", str(page), "--progress", "none"]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    text = page.read_text(encoding="utf-8")
    assert "<h1>5 lost, 0 gained</h1>" in text
    assert "default-src 'none'; style-src 'sha256-" in html.unescape(text)
    assert len(re.findall("<script", text)) == 1
    assert "<img" not in text
    assert not set("\x1b\x00\u202e") & set(text)
    assert not re.search(r"(src|href)=[\"'](?!#)", text)
    assert run(["compare", *pair, "--html", str(page), "--progress", "none"]) == 0
    assert page.read_text(encoding="utf-8") == text
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_wrong_use_is_one_line(pair, tmp_path, capsys):
    for arguments, code, told in (
        ([pair[0], pair[0]], 2, "are the same directory; name the outputs of two runs"),
        ([pair[0], str(tmp_path)], 1, "no manifest.json here; an unfinished or foreign directory"),
        ([*pair, "--html", str(tmp_path / "no/page.html")], 2, "no such directory"),
    ):
        assert run(["compare", *arguments, "--progress", "none"]) == code
        error = capsys.readouterr().err
        assert told in " ".join(error.split()), error
        assert "Traceback" not in error


def test_commands_of_the_page(pair, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, side in zip(("BEFORE", "AFTER"), pair, strict=True):
        (tmp_path / name).symlink_to(side)
    page = (Path(__file__).parents[3] / "docs/compare.md").read_text(encoding="utf-8")
    commands = [line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "siliang-pipeline"
        assert run([*arguments, "--progress", "none"]) == 0
        assert capsys.readouterr().out
