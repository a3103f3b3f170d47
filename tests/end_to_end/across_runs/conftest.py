"""Two small real corpora that share text, and what comes of them apart and together."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from pipeline.config import load_config
from pipeline.run import Request, prepare

SAMPLES = Path(__file__).parent.parent.parent.parent / "samples"
TOML = """
[input]
split_characters = 1200
unit_bytes = 15_000
[vocabulary]
size = 400
sample_bytes = 50_000
[shards]
shard_tokens = 30_000
"""
EDITED = ("sotu/1790*.txt", "sotu/1791*.txt", "moby-dick/chapter_10.txt")
A = (*EDITED, "moby-dick/chapter_1.txt")
B = ("sotu/1941*.txt", "moby-dick/chapter_11.txt", "moby-dick/chapter_12.txt")


def _copy(root: Path, patterns: tuple[str, ...], edit=lambda text: text) -> None:
    for pattern in patterns:
        for path in sorted(SAMPLES.glob(pattern)):
            target = root / path.relative_to(SAMPLES)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")


def _edited(text: str) -> str:
    """Every 46th word is another one of the same length: a Jaccard of about .8, above and below the threshold."""
    place = iter(range(1, len(text)))
    return re.sub(r"[a-z]+", lambda word: "q" * len(word[0]) if next(place) % 46 == 0 else word[0], text)


@pytest.fixture(scope="session")
def halves(tmp_path_factory) -> SimpleNamespace:
    """a: two addresses and two chapters. b: others, with copies and near-copies of all of a but a chapter."""
    root = tmp_path_factory.mktemp("halves")
    _copy(root / "a", A)
    _copy(root / "b", B)
    _copy(root / "b/edited", EDITED, _edited)
    _copy(root / "b/copied", A[:1])
    return SimpleNamespace(a=root / "a", b=root / "b")


@pytest.fixture(scope="session")
def across_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("across") / "across.toml"
    path.write_text(TOML)
    return path


@pytest.fixture(scope="session")
def settings(across_file):
    return load_config(across_file)


@pytest.fixture(scope="session")
def first(halves, settings, tmp_path_factory) -> Path:
    """The output of a alone."""
    output = tmp_path_factory.mktemp("first") / "old-run"
    prepare(Request((f"a={halves.a}",), str(output), settings))
    return output


@pytest.fixture
def first_copy(first, tmp_path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "old-run"))


def audit_of(output: Path) -> dict[str, dict]:
    """Record -> its audit row."""
    rows = [row for p in sorted((output / "audit").iterdir()) for row in pa.ipc.open_file(p).read_all().to_pylist()]
    assert len({row["record"] for row in rows}) == len(rows)
    return {row["record"]: row for row in rows}


def texts_of(output: Path) -> dict[str, str]:
    """Record -> the text that was compared, of every document that clean passed on."""
    found = {}
    for path in sorted((output / "stages/clean/documents").glob("*.arrow")):
        found |= {row["record"]: row["text"] for row in pa.ipc.open_file(path).read_all().to_pylist()}
    return found


def shingles(text: str) -> set[tuple[str, ...]]:
    """Plain Python: 5 words in a row, case and punctuation aside (symbols count)."""
    words = re.sub(r"[^\w$+<=>^`|~]|_", " ", text.lower()).split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / max(len(a | b), 1)


@pytest.fixture(scope="session")
def outputs() -> SimpleNamespace:
    """Readers of a finished output."""
    return SimpleNamespace(audit=audit_of, texts=texts_of, jaccard=jaccard)
