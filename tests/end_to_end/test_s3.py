"""The whole of prepare and train with everything behind s3://, on an S3 server that runs here."""

import json
import subprocess
import sys
import time
import urllib.request

import pytest

from .bucket import prepare, run

pytest.importorskip("moto.server", reason="needs moto[server]")
s3fs = pytest.importorskip("s3fs", reason="needs s3fs")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("prepared")]
SERVER = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
print("port", server.get_host_and_port()[1], flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def store(raw):
    """Environment of a process that reaches the server; the raw files lie in s3://siliang/raw. A server process of its
    own: workers are forks, and must not inherit one."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        port = next(line.split()[1] for line in process.stdout if line.startswith("port "))
        url = f"http://127.0.0.1:{port}"
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        environment = {**keys, "AWS_ENDPOINT_URL": url}
        for _ in range(100):
            try:
                urllib.request.urlopen(url, timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        files = s3fs.S3FileSystem(endpoint_url=url, key="test", secret="test")
        files.mkdir("siliang")
        files.put(str(raw), "siliang/raw", recursive=True)
        yield environment, files
    finally:
        process.kill()
        process.wait()


def test_prepare_and_train_read_and_write_s3(store, prepared, root, config_file, tmp_path):
    environment, files = store
    prepare(root, environment, files, "s3", config_file, prepared)
    page = files.cat("siliang/out/report/index.html")
    assert page.startswith(b"<!doctype html>") or b"<html" in page[:200]
    told = json.loads(files.cat("siliang/out/report/report.json"))
    local = json.loads((prepared / "report/report.json").read_text())
    assert told["counts"] == local["counts"]
    again = run(
        root, environment, "pipeline", "prepare", "s3://siliang/raw", "--output", "s3://siliang/out",
        "--config", config_file, "--dry-run",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("finished before") == 6, again.stdout
    settings = ["model.layers=1", "model.width=16", "model.heads=2", "model.feed_forward=32", "data.sequence_length=32",
                "data.batch_rows=4", "schedule.steps=3", "evaluate.rows=4", "system.device=cpu",
                f'data.cache="{tmp_path / "cache"}"']  # fmt: skip
    trained = run(
        root, environment, "trainer", "train", "s3://siliang/out", "--output", tmp_path / "run",
        *(part for one in settings for part in ("--set", one)),
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert json.loads((tmp_path / "run/result.json").read_text())["steps"] == 3
