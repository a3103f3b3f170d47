"""The invariants of a finished output: conservation, explained drops, verified files, no leak."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.config import DeduplicateConfig
from pipeline.dedup.shingles import shingle_sets
from schemas.arrow import AUDIT, TOKEN_FREQUENCY, VERDICTS, WORD_FREQUENCY, example, note
from schemas.manifest import Counts, read_manifest, verify_files
from schemas.shard import open_shard

pytestmark = pytest.mark.xdist_group("prepared")


def read(directory, manifest, below, schema) -> pa.Table:
    tables = [open_shard(directory / entry.path, schema).read_all() for entry in manifest.under(below)]
    return pa.concat_tables(tables) if tables else schema.empty_table()


@pytest.fixture(scope="module")
def manifest(prepared):
    return read_manifest(prepared)


@pytest.fixture(scope="module")
def audit(prepared, manifest):
    return read(prepared, manifest, "audit", AUDIT)


def test_conservation(manifest, audit):
    assert manifest.counts.balanced()
    assert manifest.counts.input == audit.num_rows == len(set(audit["record"].to_pylist()))
    assert manifest.counts.kept > 50
    for verdict in VERDICTS:
        assert getattr(manifest.counts, verdict) == pc.sum(pc.equal(audit["verdict"], verdict)).as_py()
        assert getattr(manifest.counts, verdict) == sum(getattr(c, verdict) for c in manifest.sources.values())
    for name, counts in manifest.sources.items():
        here = audit.filter(pc.equal(audit["source"], name))
        verdicts = here["verdict"].to_pylist()
        assert counts == Counts(input=len(verdicts), **{v: verdicts.count(v) for v in VERDICTS})
        assert counts.balanced()


def test_every_file_is_sound_and_listed(prepared, manifest):
    assert [problem for _, problem in verify_files(prepared, manifest) if problem] == []
    products = {"vocabulary", "frequency", "notes", "train", "valid", "audit"}
    found = {str(p.relative_to(prepared)) for d in products for p in (prepared / d).rglob("*") if p.is_file()}
    assert found == {entry.path for entry in manifest.files}
    assert {entry.path.split("/")[0] for entry in manifest.files} == products


def test_the_manifest_names_no_place_and_no_time(prepared, raw):
    text = (prepared / "manifest.json").read_text()
    assert str(prepared) not in text
    assert str(raw) not in text
    assert "/tmp" not in text


def test_kept_documents_are_the_examples(prepared, manifest, audit):
    shards = {s: read(prepared, manifest, s, example(manifest.vocabulary_size)) for s in ("train", "valid")}
    kept = audit.filter(pc.equal(audit["verdict"], "kept"))["doc_id"].to_pylist()
    ids = [i for table in shards.values() for i in table["doc_id"].to_pylist()]
    assert sorted(ids) == sorted(kept)
    assert shards["valid"].num_rows > 0
    tokens = sum(pc.sum(pc.list_value_length(t["tokens"])).as_py() for t in shards.values())
    assert tokens == manifest.tokens == sum(entry.tokens for entry in manifest.files)
    assert len(manifest.under("train")) > 2


def test_frequencies_are_exact(prepared, manifest):
    shards = [read(prepared, manifest, s, example(manifest.vocabulary_size)) for s in ("train", "valid")]
    frequency = open_shard(prepared / "frequency/tokens.arrow", TOKEN_FREQUENCY).read_all()
    assert frequency["token_id"].to_pylist() == list(range(manifest.vocabulary_size))
    count, documents = [0] * manifest.vocabulary_size, [0] * manifest.vocabulary_size
    for table in shards:
        for tokens in table["tokens"].to_pylist():
            for token in tokens:
                count[token] += 1
            for token in set(tokens):
                documents[token] += 1
    assert frequency["count"].to_pylist() == count
    assert frequency["documents"].to_pylist() == documents


def test_rare_spans_and_notes_agree_with_the_words(prepared, manifest):
    words = open_shard(prepared / "frequency/words.arrow", WORD_FREQUENCY).read_all()
    assert words["count"].to_pylist() == sorted(words["count"].to_pylist(), reverse=True)
    total = dict(zip(words["word"].to_pylist(), words["count"].to_pylist(), strict=True))
    notes = read(prepared, manifest, "notes", note(manifest.vocabulary_size))
    assert notes.num_rows > 100
    assert notes["word_id"].to_pylist() == list(range(notes.num_rows))
    seen = [0] * notes.num_rows
    train_ids = set()
    for split in ("train", "valid"):
        table = read(prepared, manifest, split, example(manifest.vocabulary_size))
        if split == "train":
            train_ids = set(table["doc_id"].to_pylist())
        for spans in table["rare"].to_pylist():
            for span in spans:
                seen[span["word"]] += 1
    for row in notes.to_pylist():
        assert 2 <= row["count"] <= 8
        assert row["count"] == total[row["word"]] == seen[row["word_id"]]
        assert len(row["contexts"]) <= 3
        for context in row["contexts"]:
            assert context["doc_id"] in train_ids, "a held-out document gives no window"
            assert 0 <= context["start"] < context["end"] <= len(context["tokens"])


def test_every_duplicate_names_a_kept_document_it_resembles(prepared, audit):
    """Exact Jaccard computed again, from the text, against what the audit says."""
    texts = {}
    for path in sorted((prepared / "stages/clean/documents").glob("*.arrow")):
        for row in pa.ipc.open_file(path).read_all().to_pylist():
            texts[row["record"]] = row["text"]
    rows = audit.to_pylist()
    verdicts = {row["record"]: row for row in rows}
    duplicates = [row for row in rows if row["verdict"] == "duplicate"]
    assert {row["rule"] for row in duplicates} >= {"exact"}
    for row in duplicates:
        twin = verdicts[row["duplicate_record"]]
        assert twin["verdict"] == "kept"
        assert twin["doc_id"] == row["duplicate_of"]
        sets = shingle_sets(pa.array([texts[row["record"]], texts[twin["record"]]]), DeduplicateConfig())
        a, b = (set(sets.values[sets.offsets[i] : sets.offsets[i + 1]].tolist()) for i in (0, 1))
        if a | b:
            assert row["jaccard"] == len(a & b) / len(a | b)
        assert row["jaccard"] >= 0.8


def test_bad_records_are_quarantined_with_reason_and_place(audit):
    found = {row["record"]: row for row in audit.to_pylist() if row["source"] == "broken"}
    assert found["broken/rows.jsonl#2"]["rule"] == "not_text"
    assert found["broken/rows.jsonl#3"]["rule"] == "invalid_json"
    assert found["broken/rows.jsonl#1"]["verdict"] == "filtered"
    cut = [row for name, row in found.items() if name.startswith("broken/cut.txt.gz")]
    assert [row["verdict"] for row in cut] == ["quarantined"] * len(cut)
    assert cut
    assert all(row["detail"] for row in found.values())


def test_every_dropped_record_says_why(audit):
    for row in audit.to_pylist():
        if row["verdict"] != "kept":
            assert row["rule"]
        if row["verdict"] in ("kept", "filtered"):
            assert len(row["scores"]) > 5
