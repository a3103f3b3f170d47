import os

import numpy as np
import pyarrow as pa
import pytest

import schemas.arrow
from schemas.manifest import ManifestError, read_manifest, write_manifest
from trainer.data.shards import Corpus, CorpusError

DOCUMENTS = [[6 + (7 * d + k) % 500 for k in range(n)] for d, n in enumerate([3, 0, 5, 1, 9, 4, 0, 2, 6, 8, 1])]


@pytest.mark.parametrize(("vocabulary_size", "dtype"), [(512, np.uint16), (65_536, np.uint16), (65_537, np.uint32)])
def test_documents_come_back(tmp_path, make_corpus, vocabulary_size, dtype):
    corpus = Corpus(make_corpus(tmp_path, DOCUMENTS, vocabulary_size, shards=3, batch_rows=2))
    assert corpus.documents == len(DOCUMENTS)
    assert corpus.lengths.tolist() == [len(d) for d in DOCUMENTS]
    assert corpus.tokens_total == sum(map(len, DOCUMENTS))
    assert corpus.token_dtype == dtype
    for i, document in enumerate(DOCUMENTS):
        assert corpus.tokens(i).tolist() == document
        assert corpus.tokens(i).dtype == dtype


def test_views_point_into_the_mapping(tmp_path, make_corpus):
    corpus = Corpus(make_corpus(tmp_path, DOCUMENTS, batch_rows=2))
    before = pa.total_allocated_bytes()
    views = [corpus.tokens(i) for i in range(corpus.documents)]
    assert pa.total_allocated_bytes() == before
    addresses, _ = corpus.locate(np.arange(corpus.documents))
    for view, address, length in zip(views, addresses, corpus.lengths, strict=True):
        assert not view.flags.writeable
        assert length == 0 or view.ctypes.data == address


def test_rare_spans(tmp_path, make_corpus):
    rare = [[(0, 2, d), (2, 3, 90 + d)] if len(tokens) > 2 else [] for d, tokens in enumerate(DOCUMENTS)]
    corpus = Corpus(make_corpus(tmp_path, DOCUMENTS, rare=rare, batch_rows=3))
    for i, spans in enumerate(rare):
        found = corpus.rare(i)
        assert [tuple(int(x) for x in span) for span in zip(*found, strict=True)] == spans
        assert found.word.dtype == np.uint32


def test_places_are_named(tmp_path, make_corpus):
    corpus = Corpus(make_corpus(tmp_path, DOCUMENTS, shards=2))
    assert corpus.where(0) == "train/shard-00000-of-00002.arrow, row 0"
    assert corpus.where(5) == "train/shard-00001-of-00002.arrow, row 0"
    assert corpus.where(10) == "train/shard-00001-of-00002.arrow, row 5"
    for i in (-1, len(DOCUMENTS)):
        with pytest.raises(IndexError, match="of 11"):
            corpus.tokens(i)


def test_digest_tells_corpora_and_splits_apart(tmp_path, make_corpus):
    a = make_corpus(tmp_path / "a", DOCUMENTS, valid=DOCUMENTS[:3])
    b = make_corpus(tmp_path / "b", DOCUMENTS, valid=DOCUMENTS[:4])
    assert Corpus(a).digest == Corpus(b).digest
    assert len({Corpus(a, "train").digest, Corpus(a, "valid").digest, Corpus(b, "valid").digest}) == 3


def test_an_empty_split_opens(tmp_path, make_corpus):
    corpus = Corpus(make_corpus(tmp_path, DOCUMENTS), "valid")
    assert corpus.documents == corpus.tokens_total == 0
    assert corpus.lengths.shape == corpus.locate(np.arange(0))[0].shape == (0,)


def test_a_shard_without_rows_opens(tmp_path, make_corpus):
    make_corpus(tmp_path, DOCUMENTS[:1], shards=1)
    path = tmp_path / "train" / "shard-00000-of-00001.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schemas.arrow.example(512)) as writer:
        writer.write_batch(_none())
    _relist(tmp_path, bytes=path.stat().st_size, rows=0, tokens=0)
    assert Corpus(tmp_path).documents == 0


def _none() -> pa.RecordBatch:
    schema = schemas.arrow.example(512)
    return pa.record_batch([pa.array([], type=field.type) for field in schema], schema=schema)


def _relist(directory, **changes):
    manifest = read_manifest(directory)
    entry = manifest.files[0].model_copy(update=changes)
    write_manifest(directory, manifest.model_copy(update={"files": [entry, *manifest.files[1:]]}))


class TestDamage:
    @pytest.fixture
    def shard(self, tmp_path, make_corpus):
        make_corpus(tmp_path, DOCUMENTS)
        return tmp_path / "train" / "shard-00001-of-00002.arrow"

    def check(self, shard, *words):
        with pytest.raises(CorpusError) as caught:
            Corpus(shard.parent.parent)
        for word in (str(shard), "siliang-pipeline verify", *words):
            assert word in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_missing(self, shard):
        shard.unlink()
        self.check(shard, "no such shard")

    def test_truncated(self, shard):
        os.truncate(shard, shard.stat().st_size - 100)
        self.check(shard, "not a complete Arrow file")

    def test_not_arrow(self, shard):
        shard.write_bytes(b"nothing of the kind" * 100)
        self.check(shard, "not a complete Arrow file")

    def test_damaged_inside(self, shard):
        data = bytearray(shard.read_bytes())
        data[8:-600] = b"\xa5" * (len(data) - 608)
        shard.write_bytes(data)
        self.check(shard)

    def test_another_file_in_its_place(self, shard):
        shard.write_bytes(shard.with_name("shard-00000-of-00002.arrow").read_bytes())
        self.check(shard, "the manifest says")

    def test_rows_other_than_listed(self, shard):
        manifest = read_manifest(shard.parent.parent)
        wrong = [e.model_copy(update={"rows": e.rows + (e.path.endswith(shard.name))}) for e in manifest.files]
        write_manifest(shard.parent.parent, manifest.model_copy(update={"files": wrong}))
        self.check(shard, "6 rows, the manifest says 7")

    def test_other_token_type(self, shard):
        manifest = read_manifest(shard.parent.parent)
        write_manifest(shard.parent.parent, manifest.model_copy(update={"vocabulary_size": 100_000}))
        with pytest.raises(CorpusError, match="field 'tokens' is list<item: uint16"):
            Corpus(shard.parent.parent)

    def test_offsets_that_run_backwards(self, shard):
        schema = schemas.arrow.example(512)
        tokens = pa.ListArray.from_buffers(
            schema.field("tokens").type,
            2,
            [None, pa.py_buffer(np.array([0, 5, 3], np.int32))],
            children=[pa.array([7] * 5, pa.uint16())],
        )
        rare = pa.array([[], []], type=schema.field("rare").type)
        with pa.OSFile(str(shard), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays([pa.array(["a", "b"]), tokens, rare], schema=schema))
        manifest = read_manifest(shard.parent.parent)
        changed = [
            e.model_copy(update={"rows": 2, "bytes": shard.stat().st_size}) if e.path.endswith(shard.name) else e
            for e in manifest.files
        ]
        write_manifest(shard.parent.parent, manifest.model_copy(update={"files": changed}))
        self.check(shard, "damaged offsets")

    def test_no_manifest(self, shard):
        (shard.parent.parent / "manifest.json").unlink()
        with pytest.raises(ManifestError, match=r"no manifest\.json"):
            Corpus(shard.parent.parent)

    def test_a_vocabulary_of_special_pieces_alone(self, shard):
        manifest = read_manifest(shard.parent.parent)
        write_manifest(shard.parent.parent, manifest.model_copy(update={"vocabulary_size": 6}))
        with pytest.raises(CorpusError, match="vocabulary_size 6"):
            Corpus(shard.parent.parent)
