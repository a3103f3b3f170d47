"""Memory that was freed is there again without the kernel."""

import resource
import subprocess
import sys

import pytest
import torch

from trainer.heap import keep_memory


def test_large_tensors_come_back_without_page_faults():
    if not keep_memory():
        pytest.skip("this C library has no mallopt")

    def faults_of_ten_rounds() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            held = [torch.zeros(1 << 20) for _ in range(12)]
            del held
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults_of_ten_rounds()
    # Ten times 48 MB are 123,000 pages of 4 kB.
    assert faults_of_ten_rounds() < 5_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="transparent huge pages are Linux's")
def test_large_tensors_lie_on_large_pages():
    """torch begins them at a page where it asks for large ones; it decides at its first tensor: in a fresh process."""
    code = "import trainer.train, torch; print(*(torch.zeros(1 << 20).data_ptr() % 4096 for _ in range(3)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "0"]
