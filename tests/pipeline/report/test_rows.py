"""What is kept of rows that pass by: the nearest to a limit, and histograms of scores."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.meter import Meter, metered
from pipeline.report import kernels, rows
from pipeline.report.nearest import Nearest
from pipeline.report.rules import Known, RuleScan
from schemas.arrow import AUDIT
from schemas.manifest import FileEntry


def test_nearest_takes_one_record_of_each_document() -> None:
    told = [("b", "r2"), ("a", "r9"), ("a", "r1"), ("c", "r0"), ("a", "r3")]
    filled = dict.fromkeys(AUDIT.names) | {"source": "s", "verdict": "kept", "scores": [], "repairs": []}
    filled |= {"chars_in": 1, "chars_out": 1}
    table = pa.Table.from_pylist([filled | {"doc_id": 32 * d, "record": r} for d, r in told], schema=AUDIT)
    whole, parts = Nearest(2), (Nearest(2), Nearest(2))
    distance = np.array([1.0, 0, 0, 0, 0])
    whole.offer(rows.Rows(table), np.arange(5), distance)
    for number in range(5):  # one at a time, in two threads
        parts[number % 2].offer(rows.Rows(table.slice(number, 1), number), np.arange(1), distance[number : number + 1])
    parts[1].merge(parts[0])
    assert whole.values() == parts[1].values()
    assert [told[near.place][0] for near in whole.values()] == ["a", "c"]


@given(
    scores=st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=1, max_size=60),
    limit=st.floats(-100, 100),
)
@settings(max_examples=60, deadline=None)
def test_histograms_lose_nothing(scores: list[float], limit: float) -> None:
    row = {"verdict": "kept", "source": "s", "repairs": [], "chars_in": 1, "chars_out": 1, "doc_id": "0" * 32}
    given_rows = [
        row | {"record": f"r#{n}", "scores": [{"rule": "x", "score": score, "limit": limit}]}
        for n, score in enumerate(scores)
    ]
    scan = RuleScan({"x": Known(kernels.MINIMUM, True)})
    scan.add(rows.Rows(pa.Table.from_pylist([dict.fromkeys(AUDIT.names) | row for row in given_rows], schema=AUDIT)))
    found = scan.of("x").histogram()
    assert list(found.edges) == sorted(set(found.edges))
    assert sum(found.failing) == sum(score < limit for score in scores)
    assert sum(found.passing) == sum(score >= limit for score in scores)
    for number, (low, high) in enumerate(pairwise(found.edges)):
        # A negative score on an edge counts below it; the first and the last bin take what lies beyond.
        sure = sum(low < score < high for score in scores)
        most = sum(low <= score <= high for score in scores)
        counted = found.failing[number] + found.passing[number]
        if 0 < number < len(found.failing) - 1 and low > 2.0**-31:
            assert sure <= counted <= most


def test_the_meter_is_told_of_every_record(tmp_path: Path) -> None:
    filled = dict.fromkeys(AUDIT.names) | {"source": "s", "verdict": "kept", "scores": [], "repairs": []}
    filled |= {"chars_in": 1, "chars_out": 1, "doc_id": "0" * 32}
    files = []
    for name, count in (("a.arrow", 5), ("b.arrow", 3)):
        table = pa.Table.from_pylist([filled | {"record": f"{name}#{n}"} for n in range(count)], schema=AUDIT)
        with pa.OSFile(str(tmp_path / name), "wb") as sink, pa.ipc.new_file(sink, AUDIT) as writer:
            writer.write_table(table, max_chunksize=2)
        files.append(FileEntry(path=name, sha256="0" * 64, bytes=1, rows=count))
    with metered(Meter("report")) as meter:
        total = rows.add_rows(
            tmp_path, files, ["record"], list, lambda sums, some: sums.append(len(some.table)), lambda a, b: a.extend(b)
        )
        reading = meter.read()
    assert sum(total) == 8
    assert (reading.done, reading.total, reading.unit, reading.share) == (8, 8, "records", 1.0)
