"""Memory that was freed is there again without the kernel."""

import resource

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
