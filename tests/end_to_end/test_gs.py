"""The whole of prepare, verify and train with everything behind gs://, on an emulator of Google's storage.

Needs what Siliang's tests do not install: `make test-gs`.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("gcp_storage_emulator", reason="needs gcp-storage-emulator: make test-gs")
gcsfs = pytest.importorskip("gcsfs", reason="needs gcsfs: make test-gs")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("prepared")]
SERVER = """
import socket, time
from gcp_storage_emulator.server import create_server
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
create_server("127.0.0.1", port, in_memory=True, default_bucket="siliang").start()
print("port", port, flush=True)
time.sleep(1200)
"""


@pytest.fixture(scope="module")
def store(raw):
    """(environment of a process that reaches the server, its file system). The raw files lie in gs://siliang/raw."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        port = next(line.split()[1] for line in process.stdout if line.startswith("port "))
        url = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{url}/storage/v1/b", timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        # gcsfs asks for the kind of a bucket with credentials of its own, which an emulator does not want.
        kind = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
        files = gcsfs.GCSFileSystem(token="anon", endpoint_url=url)
        files.put(str(raw), "siliang/raw", recursive=True)
        yield {"STORAGE_EMULATOR_HOST": url, "FSSPEC_GS_TOKEN": "anon", **kind}, files
    finally:
        process.kill()
        process.wait()


def run(root: Path, environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=root, env=os.environ | environment, capture_output=True, text=True, timeout=800)


def test_prepare_verify_and_train_on_gs(store, prepared, root, config_file, tmp_path):
    environment, files = store
    done = run(
        root, environment, "pipeline", "prepare", "gs://siliang/raw", "--output", "gs://siliang/out",
        "--config", config_file, "--workers", 2, "--progress", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Task was destroyed" not in done.stderr
    files.invalidate_cache()
    ours, theirs = (
        json.loads(data) for data in (files.cat("siliang/out/manifest.json"), (prepared / "manifest.json").read_bytes())
    )
    assert ours == theirs, "the same bytes as from and to a local disk"
    assert not [path for path in files.find("siliang/out") if path.endswith(".tmp")]
    done = run(root, environment, "pipeline", "verify", "gs://siliang/out")
    assert (done.returncode, "all sound" in done.stdout) == (0, True), done.stderr
    settings = [part for value in ("schedule.by=steps", "schedule.steps=3") for part in ("--set", value)]
    done = run(
        root, environment, "trainer", "train", "gs://siliang/out", "--output", tmp_path / "run", "--preset", "tiny",
        *settings,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()
