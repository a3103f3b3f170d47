"""Two audits joined: every move is counted once, whatever the records are called."""

import hashlib
import resource
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.compare.comparing import compare
from pipeline.compare.sides import CompareError
from schemas.manifest import ManifestError


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@pytest.fixture
def pair(tmp_path, audited, audit_row):
    """The first has 100 records; the second keeps some that it dropped, and drops others."""
    first, second = [], []
    for n in range(100):
        name = f"{'web' if n % 2 else 'books'}/f{n % 7}.txt#{n + 1}"
        first.append(audit_row(name, digest(name)))
        second.append(audit_row(name, digest(name)))
    for n in range(0, 10):  # kept -> filtered
        second[n].update(verdict="filtered", rule="words")
    for n in range(10, 14):  # filtered -> kept
        first[n].update(verdict="filtered", rule="words")
    for n in range(14, 16):  # duplicate -> filtered
        first[n].update(verdict="duplicate", rule="near", kind="near", duplicate_record="books/f0.txt#1", jaccard=0.9)
        second[n].update(verdict="filtered", rule="words")
    second[20]["doc_id"] = digest("changed")
    second[21]["language"] = "de"
    for n in range(30, 33):  # renamed
        second[n]["record"] = f"web/moved.txt#{n}"
    del second[40:42]
    second.append(audit_row("new/x.txt#1", digest("new"), "quarantined", rule="bad_json", scores=[], language=None))
    second[50].update(chars_out=5000)
    config = {"rules": {"sets": ["siliang"], "limit": 3}}
    return audited(tmp_path / "one", first), audited(tmp_path / "two", second, batch=7, file=33, config=config)


def test_every_move_is_found(pair):
    found = compare(*pair, examples=2)
    assert (found.lost, found.gained, found.other) == (10, 4, 2)
    assert (found.matching.by_record, found.matching.changed, found.matching.by_doc_id) == (95, 1, 3)
    assert found.matching.only_first == {"kept": 2}
    assert found.matching.only_second == {"quarantined": 1}
    told = [(m.before.verdict, m.before.rule, m.after.verdict, m.after.rule, m.records) for m in found.moves]
    assert told == [
        ("kept", None, "filtered", "words", 10),
        ("filtered", "words", "kept", None, 4),
        ("duplicate", "near", "filtered", "words", 2),
    ]
    lost = found.moves[0]
    assert lost.lost
    assert [example.doc_id for example in lost.examples] == sorted(e.doc_id for e in lost.examples)
    names = {f"{'web' if n % 2 else 'books'}/f{n % 7}.txt#{n + 1}" for n in range(10)}
    least = sorted(digest(name) for name in names)[:2]
    assert [example.doc_id for example in lost.examples] == least
    assert lost.examples[0].record in names
    assert lost.examples[0].excerpt == f"The text of {lost.examples[0].record}."
    assert lost.examples[0].before.startswith("was kept")
    assert lost.examples[0].after == "was filtered: rule words decided, its score 40 is below the limit 50"
    assert "near-duplicate of books/f0.txt#1" in found.moves[2].examples[0].before


def test_numbers_of_both_sides(pair):
    found = compare(*pair)
    assert found.first.counts["input"] == 100
    assert found.second.counts["input"] == 99
    assert found.first.characters == 94 * 100
    assert found.second.lengths[-1] == 100
    assert [(setting.key, setting.first, setting.second) for setting in found.settings] == [("rules.limit", None, 3)]
    assert found.versions == ()
    assert {row.name: (row.first, row.second) for row in found.languages} == {"en": (94, 85), "de": (0, 1)}
    new = next(row for row in found.sources if row.name == "new")
    assert new.first is None
    assert new.second["quarantined"] == 1
    assert [(row.name, row.first, row.second) for row in found.rules] == [
        ("words", 4, 12),
        ("near", 2, None),
        ("bad_json", None, 1),
    ]


def test_the_same_bytes_every_time(pair):
    assert compare(*pair) == compare(*pair)


def test_turned_round_it_is_turned_round(pair):
    there, back = compare(*pair), compare(*reversed(pair))
    assert (there.lost, there.gained, there.other) == (back.gained, back.lost, back.other)
    assert there.matching.only_first == back.matching.only_second


STATES = st.tuples(st.sampled_from(["kept", "filtered", "duplicate"]), st.integers(0, 5))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.integers(0, 30), STATES, min_size=1),
    st.dictionaries(st.integers(0, 30), STATES, min_size=1),
)
def test_every_record_is_counted_once(tmp_path_factory, audited, audit_row, one, two):
    """Against a join written out in Python; copies (equal texts under several names) among them."""
    root = tmp_path_factory.mktemp("pairs")
    sides = []
    for name, table in (("one", one), ("two", two)):
        rows = [
            audit_row(f"a/{n}#1", digest(str(text)), verdict, rule=None if verdict == "kept" else "words")
            for n, (verdict, text) in sorted(table.items())
        ]
        sides.append(rows)
        audited(root / name, rows, batch=3, file=8)
    found = compare(root / "one", root / "two", examples=0)
    first, second = ({row["record"]: row for row in rows} for rows in sides)
    pairs = [(first[name], second[name]) for name in first.keys() & second.keys()]
    left = [sorted(rows.keys() - other.keys()) for rows, other in ((first, second), (second, first))]
    for doc_id in {row["doc_id"] for row in first.values()}:
        ones = [first[name] for name in left[0] if first[name]["doc_id"] == doc_id]
        twos = [second[name] for name in left[1] if second[name]["doc_id"] == doc_id]
        pairs += zip(ones, twos, strict=False)
    moved = Counter((a["verdict"], b["verdict"]) for a, b in pairs)
    assert found.lost == sum(n for (a, b), n in moved.items() if a == "kept" != b)
    assert found.gained == sum(n for (a, b), n in moved.items() if a != "kept" == b)
    match = found.matching
    assert match.by_record + match.by_doc_id == len(pairs)
    assert match.by_record + match.by_doc_id + sum(match.only_first.values()) == len(first)
    assert match.by_record + match.by_doc_id + sum(match.only_second.values()) == len(second)


def test_what_cannot_be_compared_is_told(pair, tmp_path, audited, audit_row):
    one, two = pair
    with pytest.raises(ManifestError, match=r"no manifest\.json here"):
        compare(one, tmp_path)
    (tmp_path / "link").symlink_to(one)
    with pytest.raises(CompareError, match="are the same directory; name the outputs of two runs"):
        compare(one, tmp_path / "link")
    audited(tmp_path / "bare", [audit_row("a/b#1", digest("x"))])
    next((tmp_path / "bare/audit").iterdir()).unlink()
    with pytest.raises(CompareError, match=r"audit-00000\.arrow is gone; what moved cannot be told without audit/"):
        compare(one, tmp_path / "bare")
    manifest = (two / "manifest.json").read_text().replace("siliang/1", "siliang/2")
    (two / "manifest.json").write_text(manifest)
    with pytest.raises(ManifestError, match="schema siliang/2 is newer than this Siliang reads"):
        compare(one, two)


def test_nothing_is_left_behind(pair, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = {path: path.read_bytes() for side in pair for path in sorted(side.rglob("*")) if path.is_file()}
    compare(*pair)
    assert list(scratch.iterdir()) == []
    assert {path: path.read_bytes() for side in pair for path in Path(side).rglob("*") if path.is_file()} == before


def test_a_full_disk_is_told(pair):
    """The database may not grow beyond 20 kB here."""
    command = [sys.executable, "-m", "pipeline", "compare", *map(str, pair), "--progress", "none"]
    limits = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000))
    done = subprocess.run(
        command, cwd=Path(__file__).parents[3], preexec_fn=limits, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "the temporary database in " in done.stderr
    assert "; let TMPDIR name a larger disk" in done.stderr
    assert "Traceback" not in done.stderr
