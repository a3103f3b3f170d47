"""The manifest: round trip, refusal of what cannot be read, verification of files."""

import json
from pathlib import Path

import pytest

from schemas.manifest import (
    Counts,
    FileEntry,
    Manifest,
    ManifestError,
    file_digest,
    parse_manifest,
    read_manifest,
    verify_files,
    write_manifest,
)


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    (tmp_path / "train").mkdir()
    files = []
    for name in ("train/a", "train/b"):
        (tmp_path / name).write_bytes(name.encode() * 100)
        size = (tmp_path / name).stat().st_size
        files.append(FileEntry(path=name, sha256=file_digest(tmp_path / name), bytes=size, rows=3, tokens=50))
    return Manifest(
        config={"input": {"unit_bytes": 1}},
        versions={"siliang": "0"},
        fingerprints={"clean": "0" * 64},
        counts=Counts(input=6, kept=3, filtered=1, duplicate=1, quarantined=1),
        sources={"s": Counts(input=6, kept=3, filtered=1, duplicate=1, quarantined=1)},
        rules={"exact": 1},
        files=files,
        vocabulary_size=300,
        tokens=100,
    )


def test_round_trip(tmp_path, manifest):
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert parse_manifest(manifest.to_bytes()).to_bytes() == manifest.to_bytes()


def test_counts_must_add_up(manifest):
    assert manifest.counts.balanced()
    assert not Counts(input=2, kept=1).balanced()


def test_files_below_a_directory(manifest):
    assert [e.path for e in manifest.under("train")] == ["train/a", "train/b"]
    assert manifest.under("tra") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "siliang/2"}, r"siliang/2 is newer than this Siliang reads \(siliang/1\); upgrade"),
        ({"schema": "other/1"}, "not a Siliang manifest"),
        ({"schema": None}, "not a Siliang manifest"),
        ({"tokens": "many"}, "field 'tokens'"),
        ({"surprise": 1}, "field 'surprise'"),
        ({"files": [{"path": "x"}]}, r"field 'files\.0\.sha256'"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(manifest, change, message):
    raw = json.loads(manifest.to_bytes()) | change
    with pytest.raises(ManifestError, match=message):
        parse_manifest(json.dumps(raw).encode(), "here/manifest.json")


def test_damaged_or_absent(tmp_path):
    with pytest.raises(ManifestError, match=r"no manifest\.json here"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b'{"schema": "siliang/1"')
    with pytest.raises(ManifestError, match="not valid JSON"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"[]")
    with pytest.raises(ManifestError, match="not a Siliang manifest"):
        read_manifest(tmp_path)


def test_verification_names_each_problem(tmp_path, manifest):
    assert [p for _, p in verify_files(tmp_path, manifest)] == [None, None]
    (tmp_path / "train/a").write_bytes(b"x" + (tmp_path / "train/a").read_bytes()[1:])
    (tmp_path / "train/b").unlink()
    found = [problem for _, problem in verify_files(tmp_path, manifest)]
    assert "sha256" in found[0]
    assert found[1] == "missing"
    (tmp_path / "train/b").write_bytes(b"short")
    assert "5 bytes, the manifest says 700" in [p for _, p in verify_files(tmp_path, manifest)][1]


@pytest.mark.parametrize("url", ["gs://bucket/out", "s3://bucket/out/"])
def test_a_url_is_told_to_be_one(url):
    with pytest.raises(ManifestError, match=f"{url.rstrip('/')}: this command reads directories of this machine"):
        read_manifest(Path(url))
