"""What a machine is called."""

from benchmarks.ablations.machine import machine


def test_a_machine_has_one_id() -> None:
    assert machine() == machine()
    assert len(machine()["id"]) == 6
