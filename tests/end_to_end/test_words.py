"""Frequencies, notes, splits and mixtures of whole runs over two sources, with near-copies among the documents."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.config import ConfigError, DeduplicateConfig, PipelineConfig, make_config
from pipeline.dedup.shingles import shingle_sets
from pipeline.run import Request, prepare
from schemas.arrow import AUDIT, NGRAM_FREQUENCY, WORD_FREQUENCY, example, note
from schemas.manifest import Manifest, read_manifest
from schemas.shard import open_shard
from trainer.data.shards import Corpus

VALUES = {
    "input": {"split_characters": 1500, "unit_bytes": 60_000},
    "rules": {"sets": []},
    "vocabulary": {"size": 1500, "sample_bytes": 300_000, "threads": 1},
    "shards": {"valid_share": 0.2, "test_share": 0.2, "shard_tokens": 20_000},
    "words": {"rare_low": 2, "rare_high": 8, "contexts": 3, "ngrams": 2, "ngram_min_count": 3, "families": True},
    "mixture": {"sotu": 1.0, "moby-dick": 3.0},
}


def config(**words: object) -> PipelineConfig:
    return make_config(VALUES | {"words": VALUES["words"] | words})


def prepared(raw: Path, output: Path, settings: PipelineConfig) -> tuple[Path, Manifest]:
    prepare(Request((str(raw),), str(output), settings))
    return output, read_manifest(output)


@pytest.fixture(scope="module")
def raw(root, tmp_path_factory) -> Path:
    """Two sources; of every third file of one a copy with a changed word in every 30: below 0.8, or dropped."""
    raw = tmp_path_factory.mktemp("raw")
    for pattern in ("sotu/18*.txt", "moby-dick/chapter_1*.txt"):
        for path in sorted((root / "samples").glob(pattern)):
            target = raw / path.parent.name / path.name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
    for step, path in zip((200, 30) * 9, sorted((raw / "moby-dick").glob("*.txt"))[::3], strict=False):
        words = path.read_text().split(" ")
        words[::step] = ["other"] * len(words[::step])
        (path.parent / f"changed_{path.name}").write_text(" ".join(words))
    return raw


@pytest.fixture(scope="module")
def whole(raw, tmp_path_factory) -> tuple[Path, Manifest]:
    return prepared(raw, tmp_path_factory.mktemp("words") / "whole", config())


@pytest.fixture(scope="module")
def bounded(raw, tmp_path_factory) -> tuple[Path, Manifest]:
    return prepared(raw, tmp_path_factory.mktemp("words") / "bounded", config(max_distinct=2048))


def rows(found: tuple[Path, Manifest], top: str, schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([open_shard(found[0] / e.path, schema).read_all() for e in found[1].under(top)])


def frequency(found: tuple[Path, Manifest], name: str, schema: pa.Schema) -> pa.Table:
    return open_shard(found[0] / f"frequency/{name}.arrow", schema).read_all()


@pytest.mark.parametrize(("name", "schema"), [("words", WORD_FREQUENCY), ("ngrams", NGRAM_FREQUENCY)])
def test_bounded_counts_are_the_frequent_ones_exactly(whole, bounded, name, schema):
    every, frequent = frequency(whole, name, schema), frequency(bounded, name, schema)
    least = pc.min(frequent["count"])
    assert len(frequent) < len(every)
    assert len(frequent) <= 2048
    assert frequent.equals(every.filter(pc.greater_equal(every["count"], least)))
    assert pc.min(every["count"]).as_py() == (1 if name == "words" else 3)


def test_rare_spans_do_not_depend_on_how_words_were_counted(whole, bounded):
    """What is listed in both is the same word in the same places."""
    least = pc.min(frequency(bounded, "words", WORD_FREQUENCY)["count"]).as_py()
    schema = note(whole[1].vocabulary_size)
    columns = ["word", "count", "documents", "contexts"]
    expected = [row for row in rows(whole, "notes", schema).select(columns).to_pylist() if row["count"] >= least]
    found = rows(bounded, "notes", schema).select(columns)
    assert found["word"].to_pylist() == [row["word"] for row in expected]
    assert found.select(columns[:3]).to_pylist() == [{k: row[k] for k in columns[:3]} for row in expected]


def test_every_shard_of_a_mixture_is_of_one_source(whole):
    directory, manifest = whole
    audit = rows(whole, "audit", AUDIT)
    source = dict(zip(audit["doc_id"].to_pylist(), audit["source"].to_pylist(), strict=True))
    schema = example(manifest.vocabulary_size)
    assert {name: part.weight for name, part in manifest.mixture.items()} == VALUES["mixture"]
    assert sorted(path for part in manifest.mixture.values() for path in part.files) == [
        entry.path for entry in manifest.under("train")
    ]
    for name, part in manifest.mixture.items():
        tables = [open_shard(directory / path, schema).read_all() for path in part.files]
        assert {source[doc_id] for table in tables for doc_id in table["doc_id"].to_pylist()} == {name}
        assert (
            sum(len(t) for table in tables for t in table["tokens"].to_pylist())
            == (manifest.source_tokens[name]["train"])
        )
    for split in ("train", "valid", "test"):
        tokens = sum(entry.tokens for entry in manifest.under(split))
        assert tokens == sum(source[split] for source in manifest.source_tokens.values()) > 0
    assert manifest.tokens == sum(entry.tokens for entry in manifest.files)


def test_held_out_documents_give_no_window(whole):
    schema, notes = example(whole[1].vocabulary_size), rows(whole, "notes", note(whole[1].vocabulary_size))
    train = rows(whole, "train", schema)
    inside = {span["word"] for spans in train["rare"].to_pylist() for span in spans}
    ids = set(train["doc_id"].to_pylist())
    without = 0
    for row in notes.to_pylist():
        assert {context["doc_id"] for context in row["contexts"]} <= ids
        assert bool(row["contexts"]) == (row["word_id"] in inside)
        without += not row["contexts"]
    assert without > 100


def test_families_name_one_another(whole):
    family = rows(whole, "notes", note(whole[1].vocabulary_size))["family"].to_pylist()
    assert sum(bool(others) for others in family) > 100
    for word, others in enumerate(family):
        assert all(word in family[other] for other in others)


def test_no_near_duplicate_on_the_other_side_of_a_split(whole):
    directory, manifest = whole
    texts = {}
    for path in sorted((directory / "stages/clean/documents").glob("*.arrow")):
        table = pa.ipc.open_file(path).read_all()
        texts |= dict(zip(table["doc_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    sets = {}
    for split in ("train", "valid", "test"):
        ids = rows(whole, split, example(manifest.vocabulary_size))["doc_id"].to_pylist()
        found = shingle_sets(pa.array([texts[doc_id] for doc_id in ids]), DeduplicateConfig())
        sets[split] = [set(found.values[a:b].tolist()) for a, b in zip(found.offsets, found.offsets[1:], strict=False)]
    assert manifest.rules["near"] > 0
    closest = 0.0
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        for a in sets[one]:
            for b in sets[other]:
                closest = max(closest, len(a & b) / max(len(a | b), 1))
    assert 0.2 < closest < DeduplicateConfig().threshold


def test_no_rare_word_at_all(raw, tmp_path):
    settings = make_config({**VALUES, "mixture": {}, "words": {"rare_low": 10**6, "rare_high": 10**6}})
    directory, manifest = prepared(raw / "sotu", tmp_path / "none", settings)
    assert manifest.under("notes") == []
    assert manifest.mixture == {}
    corpus = Corpus(directory)
    assert corpus.documents >= 5
    assert all(len(corpus.rare(i).word) == 0 for i in range(corpus.documents))
    assert Corpus(directory, "valid").documents > 0


def test_a_mixture_names_the_sources_that_are_there(raw, tmp_path):
    settings = make_config(VALUES | {"mixture": {"sotu": 1.0, "moby-duck": 3.0}})
    message = r"no source is called \['moby-duck'\].*no weight is given to \['moby-dick'\].*\['moby-dick', 'sotu'\]"
    with pytest.raises(ConfigError, match=message):
        prepare(Request((str(raw),), str(tmp_path / "out"), settings))
