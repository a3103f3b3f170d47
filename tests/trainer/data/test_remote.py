"""Corpora behind a local HTTP server, and an S3 server that runs here."""

import functools
import http.server
import itertools
import shutil
import threading
from contextlib import suppress
from typing import ClassVar

import numpy as np
import pytest
import torch

from schemas.manifest import ManifestError, read_manifest
from trainer.data.masking import Masking
from trainer.data.remote import RemoteCorpus, is_remote
from trainer.data.shards import Corpus, CorpusError
from trainer.data.stream import Stream

LIMIT = 10**9


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return [rng.integers(6, 500, n).tolist() for n in rng.integers(0, 90, 400)]


@pytest.fixture
def place(tmp_path, make_corpus, documents):
    return make_corpus(tmp_path / "corpus", documents, shards=8)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    requests: ClassVar[list[str]] = []

    def do_GET(self):
        self.requests.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def served(place):
    """(URL of the corpus, paths that were asked for)."""
    handler = type("Handler", (_Quiet,), {"requests": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(place.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/corpus", handler.requests
    server.shutdown()
    server.server_close()


def stream(corpus, **changes):
    options = {"sequence_length": 64, "batch_rows": 4, "seed": 3, "masking": Masking(), "window_documents": 32}
    return Stream(corpus, **(options | changes))


def first(made, count=30):
    batches = made.batches()
    out = [batch for batch, _ in itertools.islice(batches, count)]
    batches.close()
    return out


def assert_same(a, b):
    assert len(a) == len(b) > 0
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x.tokens_BT, y.tokens_BT)
        assert torch.equal(x.target_M, y.target_M)


def gets(requests, word):
    return [path for path in requests if word in path]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_batches_as_from_disk_and_each_shard_fetched_once(served, place, tmp_path, workers):
    url, requests = served
    remote = RemoteCorpus(url, tmp_path / "cache", LIMIT)
    corpus = Corpus(remote)
    assert corpus.digest == Corpus(place).digest
    assert_same(first(stream(corpus, workers=workers)), first(stream(Corpus(place))))
    assert len(gets(requests, "shard")) == len(set(gets(requests, "shard"))) == 8
    again = Corpus(RemoteCorpus(url, tmp_path / "cache", LIMIT))
    assert_same(first(stream(again)), first(stream(Corpus(place))))
    assert len(gets(requests, "shard")) == 8
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def shards_here(remote):
    return [path for path in remote.directory.rglob("shard-*") if not path.name.startswith(".")]


def bytes_here(remote):
    """A thread evicts shards meanwhile: one may go between listing and asking for its size."""
    total = 0
    for path in shards_here(remote):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def test_a_bounded_cache_keeps_to_its_bound_in_block_order(served, place, tmp_path, monkeypatch):
    url, _ = served
    monkeypatch.setattr("trainer.data.order.POOL_BLOCKS", 2)
    largest = max(entry.bytes for entry in read_manifest(place).files)
    remote = RemoteCorpus(url, tmp_path / "cache", 6 * largest)
    made = stream(Corpus(remote), order="blocks", block_documents=10, window_documents=10, workers=1)
    local = stream(Corpus(place), order="blocks", block_documents=10, window_documents=10)
    steps = made.steps(1)
    batches, most = made.batches(), 0
    for other in first(local, steps):
        batch, _ = next(batches)
        assert torch.equal(batch.tokens_BT, other.tokens_BT)
        most = max(most, bytes_here(remote))
    batches.close()
    assert 0 < most <= 6 * largest


def test_a_cache_too_small_says_so(served, tmp_path):
    url, _ = served
    corpus = Corpus(RemoteCorpus(url, tmp_path / "cache", 20_000))
    with pytest.raises(CorpusError, match=r"raise data\.cache_gb"):
        first(stream(corpus))


def test_a_corrupt_shard_is_named_and_not_kept(served, place, tmp_path):
    url, requests = served
    victim = next((place / "train").glob("shard-00003*"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    remote = RemoteCorpus(url, tmp_path / "cache", LIMIT)
    with pytest.raises(CorpusError, match=rf"{url}/train/{victim.name}.*sha256"):
        Corpus(remote)
    # Where it failed while it was fetched ahead, it is tried once more when it is wanted.
    assert len(gets(requests, victim.name)) in (3, 6)
    assert victim.name not in [path.name for path in shards_here(remote)]


def test_a_vanished_shard_is_named(served, place, tmp_path):
    url, _ = served
    Corpus(RemoteCorpus(url, tmp_path / "cache", LIMIT))
    victim = next((place / "train").glob("shard-00005*"))
    victim.unlink()
    corpus = Corpus(RemoteCorpus(url, tmp_path / "cache", LIMIT))
    first(stream(corpus))  # from the cache
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(CorpusError, match=rf"{victim.name}: no longer there"):
        Corpus(RemoteCorpus(url, tmp_path / "cache", LIMIT))


def test_no_corpus_there(served, tmp_path):
    url, _ = served
    with pytest.raises(ManifestError, match=r"elsewhere: no manifest\.json"):
        RemoteCorpus(url.replace("corpus", "elsewhere"), tmp_path, LIMIT)
    with pytest.raises(CorpusError, match=r"manifest\.json: cannot be read"):
        RemoteCorpus("http://127.0.0.1:9/corpus", tmp_path, LIMIT)


def test_a_file_of_the_cache_that_was_cut_short_is_fetched_again(served, place, tmp_path):
    url, requests = served
    remote = RemoteCorpus(url, tmp_path / "cache", LIMIT)
    Corpus(remote)
    victim = shards_here(remote)[0]
    victim.write_bytes(victim.read_bytes()[:100])
    corpus = Corpus(RemoteCorpus(url, tmp_path / "cache", LIMIT))
    assert_same(first(stream(corpus)), first(stream(Corpus(place))))
    assert len(gets(requests, victim.name)) == 2


def test_what_is_remote():
    assert is_remote("s3://bucket/corpus")
    assert is_remote("https://host/corpus")
    assert not is_remote("runs/demo/data")


def test_from_s3(place, tmp_path, monkeypatch):
    server_module = pytest.importorskip("moto.server", reason="needs moto[server]")
    pytest.importorskip("s3fs", reason="needs s3fs")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        import s3fs

        host, port = server.get_host_and_port()
        options = {"endpoint_url": f"http://{host}:{port}", "client_kwargs": {"region_name": "eu-west-1"}}
        files = s3fs.S3FileSystem(**options)
        files.mkdir("bucket")
        files.put(str(place), "bucket/corpus", recursive=True)
        remote = RemoteCorpus("s3://bucket/corpus", tmp_path / "cache", LIMIT, **options)
        assert_same(first(stream(Corpus(remote))), first(stream(Corpus(place))))
        files.rm(f"bucket/corpus/train/{next((place / 'train').iterdir()).name}")
        files.invalidate_cache()
        shutil.rmtree(tmp_path / "cache")
        with pytest.raises(CorpusError, match=r"s3://bucket/corpus/train/shard-.*no longer there"):
            Corpus(RemoteCorpus("s3://bucket/corpus", tmp_path / "cache", LIMIT, **options))
    finally:
        server.stop()
