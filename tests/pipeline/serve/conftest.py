"""One output with hostile records and a report, served to the tests of this room."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.serve.index import AuditIndex
from pipeline.serve.server import Server
from pipeline.serve.site import Site

HOSTILE = (
    '<script>alert(1)</script>"><img src=x onerror=alert(1)> \u202edcba\u2066 \x00\x1b[31m {{ 7*7 }} </style> '
    "' or 1=1 --"
)
REPORT = """<!doctype html><html lang="en"><head><title>r</title>
<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; form-action &#39;none&#39;">
</head><body><nav></nav>the report</body></html>"""


@pytest.fixture(scope="session")
def rows(audit_row) -> list[dict]:
    found = [audit_row(f"web/page-{n}.html#{n}", f"{n:04x}" + "ab" * 14) for n in range(100)]
    for row in found[10:30]:
        row.update(verdict="filtered", rule="words", detail="40 words, at least 50 wanted")
    for row in found[30:34]:
        row.update(verdict="duplicate", rule="near", kind="near", jaccard=0.875)
        row.update(duplicate_of=found[0]["doc_id"], duplicate_record=found[0]["record"], language="de")
    found[40].update(record=f"mail/{HOSTILE}", source=HOSTILE, excerpt=HOSTILE * 3, detail=HOSTILE, language="zz")
    found[41].update(excerpt="x" * 100_000)
    found[42].update(excerpt="Ein Überfall auf die Straße.", language="de")
    found[43].update(record="web/100%_done.txt#1", excerpt="100% of it_is")
    found[44].update(verdict="quarantined", rule="bad_json", scores=[], excerpt=None, language=None)
    return found


@pytest.fixture(scope="session")
def output(tmp_path_factory, audited, rows) -> Path:
    path = audited(tmp_path_factory.mktemp("served") / "data", rows)
    (path / "report").mkdir()
    (path / "report/index.html").write_text(REPORT)
    (path / "report/report.json").write_text('{"schema": "x"}')
    return path


@pytest.fixture(scope="session")
def index(output, tmp_path_factory) -> Iterator[AuditIndex]:
    made = AuditIndex(output, tmp_path_factory.mktemp("scratch"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def server(output, index) -> Iterator[Server]:
    with Server(0, Site(output, index).routes()) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()
