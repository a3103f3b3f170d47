"""docs/inputs.md says of formats and reasons what the code does."""

import re
from pathlib import Path

from pipeline.config import InputConfig
from pipeline.io.formats.names import COMPRESSIONS, FORMATS, format_of
from pipeline.io.formats.record import REASONS

ROOT = Path(__file__).parents[3]
SECTIONS = dict(
    part.split("\n", 1) for part in (ROOT / "docs/inputs.md").read_text(encoding="utf-8").split("\n## ")[1:]
)


def first_cells(section: str) -> list[str]:
    rows = [line.split("|")[1].strip() for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return rows[2:]


def test_every_reason_once_and_in_order():
    assert first_cells("Reasons of quarantine") == [f"`{reason}`" for reason in REASONS]


def test_every_reason_is_given_somewhere():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipeline/io").rglob("*.py"))
    for reason in REASONS:
        assert code.count(f'"{reason}"') > 1, reason  # once in REASONS itself


def test_no_other_reason_is_given():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipeline/io").rglob("*.py"))
    given = re.findall(r'(?:ReadError\(|quarantined\([^,()]*, )\s*"(\w+)"', code)
    assert len(given) > 40
    assert set(given) <= set(REASONS)


def test_every_extension():
    named = re.findall(r"`([^`]+)`", " ".join(first_cells("Formats")))
    assert sorted(named) == sorted([*FORMATS, "wiki_NN"])
    packed = re.findall(r"`(\.\w+)`", SECTIONS["Formats"].split("All of them may be compressed")[1].split("\n\n")[0])
    assert set(COMPRESSIONS) <= set(packed)
    assert all(format_of(f"a{suffix}") == "tar" for suffix in packed if suffix not in COMPRESSIONS)


def test_keys_of_the_config_exist():
    text = "".join(SECTIONS.values())
    keys = set(re.findall(r"`(max_\w+|split_\w+|text_fields)`", text))
    assert {"max_members", "max_archive_depth"} <= keys <= set(InputConfig.model_fields)
