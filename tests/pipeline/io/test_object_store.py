"""Files on S3 (a server that runs here): an object is there whole or not at all, and is never copied to rename it."""

import gc
import hashlib
import os

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.io import filesystem
from pipeline.io.filesystem import AtomicFile
from schemas.manifest import Counts, FileEntry, Manifest

moto_server = pytest.importorskip("moto.server", reason="needs moto[server]")
s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
PART = 5 << 20
"""Bytes of a part of an upload: the least that S3 takes."""


@pytest.fixture(scope="module")
def server():
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    yield f"http://127.0.0.1:{running.get_host_and_port()[1]}"
    running.stop()


@pytest.fixture
def bucket(server, monkeypatch):
    """(its URL, the file system). No object can be copied or moved."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**keys, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)
    for name in ("_cp_file", "_copy_basic", "_copy_managed", "mv"):
        monkeypatch.setattr(s3fs.S3FileSystem, name, None)
    monkeypatch.setattr(s3fs.S3FileSystem, "default_block_size", PART)
    s3fs.S3FileSystem.clear_instance_cache()
    files, _ = filesystem.resolve("s3://here")
    files.mkdir("here")
    yield "s3://here", files
    files.rm("here", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def uploads(files) -> list:
    return files.call_s3("list_multipart_uploads", Bucket="here").get("Uploads", [])


@pytest.mark.parametrize("size", [0, 10, PART - 1, PART, 2 * PART + 3])
def test_an_object_is_written_in_place(bucket, size: int) -> None:
    url, files = bucket
    data = os.urandom(size)
    with AtomicFile(f"{url}/a/b.arrow") as handle:
        for at in range(0, size, 1 << 20):
            handle.write(data[at : at + (1 << 20)])
        assert not filesystem.exists(f"{url}/a/b.arrow")
    assert (handle.bytes, handle.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert files.find("here") == ["here/a/b.arrow"]
    assert files.cat("here/a/b.arrow") == data
    assert uploads(files) == []


@pytest.mark.parametrize("size", [10, 2 * PART + 3])
def test_a_failed_write_leaves_what_was_there(bucket, size: int) -> None:
    url, files = bucket
    filesystem.write_atomic(f"{url}/a.json", b"old")
    with pytest.raises(RuntimeError), AtomicFile(f"{url}/a.json") as handle:
        handle.write(bytes(size))
        raise RuntimeError
    assert files.find("here") == ["here/a.json"]
    assert files.cat("here/a.json") == b"old"
    assert uploads(files) == []


@pytest.mark.parametrize("size", [10, 2 * PART + 3])
def test_a_file_that_nobody_closes_does_not_appear(bucket, size: int) -> None:
    url, files = bucket
    handle = AtomicFile(f"{url}/a.json")
    handle.write(bytes(size))
    del handle
    gc.collect()
    assert files.find("here") == []


def test_verify_reads_a_bucket(bucket) -> None:
    url, files = bucket

    def verify() -> tuple[int, str]:
        done = CliRunner().invoke(app, ["verify", f"{url}/out"])
        return done.exit_code, done.output

    entries = []
    for name in ("train/a", "train/b", "train/c", "train/d"):
        with AtomicFile(f"{url}/out/{name}") as handle:
            handle.write(name.encode() * 100)
        entries.append(FileEntry(path=name, sha256=handle.sha256, bytes=handle.bytes))
    counts = Counts(input=1, kept=1)
    manifest = Manifest(
        config={}, versions={}, fingerprints={}, counts=counts, sources={"s": counts}, rules={}, files=entries,
        vocabulary_size=300, tokens=0,
    )  # fmt: skip
    filesystem.write_atomic(f"{url}/out/manifest.json", manifest.to_bytes())
    assert verify() == (0, "4 files, 2,800 bytes: all sound\n")
    files.pipe_file("here/out/train/b", b"train/x" * 100)
    files.pipe_file("here/out/train/c", b"short")
    files.rm("here/out/train/d")
    code, told = verify()
    assert code == 1
    assert [line.partition(": ")[0] for line in told.splitlines()[:3]] == [f"{url}/out/train/{n}" for n in "bcd"]
    for words in ("sha256", "5 bytes, the manifest says 700", "missing", "3 of 4 files are not sound"):
        assert words in told
