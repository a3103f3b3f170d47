"""Shared runs of words through a whole run: cut from what is kept, told in the audit, and nothing lost on the way."""

import pyarrow as pa

from pipeline.config import make_config
from pipeline.run import Request, prepare
from schemas.manifest import read_manifest

NAMES = ["harbour", "orchard", "railway", "theatre", "quarry", "library", "garrison", "vineyard"]


def page(number: int) -> str:
    first, second, third = (NAMES[(number // 8**k) % 8] for k in range(3))
    return (
        f"The {first} number {number} was built near the {second} {number} of the valley {number}, and the {third} "
        f"{number} stood there before. Number {number} is hard to miss for those who know the {first}."
    )


QUOTE = (
    "It is a truth that every town remembers its flood better than its founding, and that the oldest men at the table "
    "will tell of the water as if they had seen it rise. They point at the wall, name the year, and they are wrong "
    "by ten of them, but nobody at the table would ever think of telling them so before the bread is gone."
)


def test_cut_once_and_told(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(24):
        quote = f"\n\n\u201c{QUOTE}\u201d\n\n" if number in (3, 7, 20) else "\n"
        (raw / f"{number:02d}.txt").write_text(f"{page(number)}{quote}{page(number + 100)}\n")
    (raw / "30.txt").write_text(f"{QUOTE}\n")
    values = {"rules": {"sets": []}, "vocabulary": {"size": 300}, "input": {"unit_bytes": 3000}}
    config = make_config(values | {"substrings": {"min_words": 40}})
    manifest = prepare(Request((str(raw),), str(tmp_path / "out"), config))
    assert manifest.counts.balanced()
    assert manifest.counts.input == 25
    paths = sorted((tmp_path / "out" / "audit").glob("*.arrow"))
    rows = pa.concat_tables([pa.ipc.open_file(str(path)).read_all() for path in paths]).to_pylist()
    cut = [row for row in rows if "substrings" in row["repairs"]]
    assert len(cut) == 3  # of four, one keeps it
    named = {row["detail"].split(" words shared with ")[1].split(" ")[0] for row in cut}
    kept = {"03.txt#1", "07.txt#1", "20.txt#1", "30.txt#1"} - {row["record"] for row in cut}
    assert kept <= named
    assert all(row["detail"].endswith(" cut") and row["chars_out"] < row["chars_in"] for row in cut)
    emptied = [row for row in rows if row["rule"] == "substrings.empty"]
    assert [row["record"] for row in emptied] == ["30.txt#1"] * ("30.txt#1" not in kept)
    assert manifest.counts.filtered == len(emptied)
    # The words are counted once: the cut texts are what vocabulary, counts and shards are made of.
    words = pa.ipc.open_file(str(tmp_path / "out" / "frequency" / "words.arrow")).read_all().to_pydict()
    assert dict(zip(words["word"], words["count"], strict=True))["remembers"] == 1
    assert read_manifest(tmp_path / "out") == manifest
