"""Tests of an `xdist_group` run in one process, which makes what they share once."""

import pytest


@pytest.mark.xdist_group("one")
def test_a_group_is_seen(request: pytest.FixtureRequest) -> None:
    if not hasattr(request.config, "workerinput"):
        pytest.skip("no workers")
    if not request.config.getvalue("loadgroup"):
        pytest.skip("tests are not sent out by group")
    assert request.node.nodeid.endswith("@one")
