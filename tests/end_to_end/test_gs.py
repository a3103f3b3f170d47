"""The whole of prepare, verify and train with everything behind gs://, on an emulator of Google's storage.

Needs what Siliang's tests do not install: `make test-gs`.
"""

import subprocess
import sys
import time
import urllib.request

import pytest

from .bucket import prepare, run

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


def test_prepare_verify_and_train_on_gs(store, prepared, root, config_file, tmp_path):
    environment, files = store
    done = prepare(root, environment, files, "gs", config_file, prepared)
    assert "Traceback" not in done.stderr
    assert "Task was destroyed" not in done.stderr
    done = run(root, environment, "pipeline", "verify", "gs://siliang/out")
    assert (done.returncode, "all sound" in done.stdout) == (0, True), done.stderr
    settings = [part for value in ("schedule.by=steps", "schedule.steps=3") for part in ("--set", value)]
    done = run(
        root, environment, "trainer", "train", "gs://siliang/out", "--output", tmp_path / "run", "--preset", "tiny",
        *settings,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()
