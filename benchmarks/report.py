"""The report of a large corpus: seconds, memory, and how soon a browser shows the page.

    python benchmarks/report.py [--rows N] [--directory DIR] [--quick]

Makes a prepared output of N audit rows (default 10,000,000; see report_corpus.py), or takes the one in DIR if it is
there, and writes its report in a process of its own. The last line is one JSON object:

- report_s: `siliang-pipeline report DIR` from start to end, kernels compiled before; wall-clock seconds
- peak_mb: resident memory of that process at its highest
- page_ms: until headless Chromium has opened index.html (load event); null where there is no Chromium
- search_ms: the slowest of the searches below, each the best of three; index_s: what the server takes to start
- inspect_ms: likewise of `inspect` by record, doc_id and rule where no row matches, so that all are looked at
- html_kb, rows
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if Path(sys.path[0]).resolve() == ROOT / "benchmarks":
    sys.path[0] = str(ROOT)

from benchmarks.report_corpus import make_corpus  # noqa: E402

ROWS, QUICK_ROWS = 10_000_000, 20_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def report(directory: Path) -> dict[str, Any]:
    """Seconds and memory of `report` in a process of its own."""
    command = [sys.executable, "-m", "pipeline", "report", str(directory)]
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"report failed with exit code {process.returncode}")
    return {"report_s": round(time.perf_counter() - start, 2), "peak_mb": round(usage.ru_maxrss / 1024, 1)}


def page(directory: Path) -> dict[str, Any]:
    """Milliseconds until the page is open, the best of three: the first opening also starts the browser's parts."""
    index = directory / "report/index.html"
    found: dict[str, Any] = {"page_ms": None, "html_kb": round(index.stat().st_size / 1000, 1)}
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        return found
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        times = []
        for _ in range(3):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.goto(index.as_uri(), wait_until="load")
            times.append(tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
            tab.close()
        browser.close()
    return {**found, "page_ms": round(min(times), 1)}


SEARCHES: tuple[dict[str, Any], ...] = (
    {},
    {"record": "crawl-11/part-00001.jsonl.gz#1"},
    {"record": "part-00001"},
    {"doc": "abcd"},
    {"doc": "abcdef0123456789"},
    {"rule": "siliang.min_words", "source": "crawl-03"},
    {"rule": "near", "language": "zh", "page": 2},
    {"text": "no text like this"},
    {"text": "HARPOON", "verdict": "quarantined"},
    {"verdict": "kept", "page": 1_000},
)
MISSES: tuple[dict[str, str], ...] = ({"record": "no/record#1"}, {"doc": "0" * 32}, {"rule": "no rule"})


def _milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(1000 * min(times), 1)


def search(directory: Path) -> dict[str, Any]:
    """The server's search and `inspect`, both in this process."""
    from pipeline.inspect.records import find
    from pipeline.serve.index import AuditIndex
    from pipeline.serve.query import Query

    with tempfile.TemporaryDirectory(prefix="siliang-report-") as scratch:
        start = time.perf_counter()
        index = AuditIndex(directory, Path(scratch))
        seconds = time.perf_counter() - start
        searched = [_milliseconds(lambda asked=asked: index.search(Query(**asked))) for asked in SEARCHES]
        index.close()
    inspected = [_milliseconds(lambda asked=asked: find(directory, **asked)) for asked in MISSES]
    return {"index_s": round(seconds, 1), "search_ms": max(searched), "inspect_ms": max(inspected)}


MEASURES: tuple[Callable[[Path], dict[str, Any]], ...] = (report, page, search)
"""Each takes the prepared directory and gives keys of the last line."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help=f"audit rows (default {ROWS:,})")
    parser.add_argument("--directory", type=Path, help="where the output is, or is to be made; kept")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows")
    arguments = parser.parse_args()
    rows = arguments.rows or (QUICK_ROWS if arguments.quick else ROWS)
    with tempfile.TemporaryDirectory(prefix="siliang-report-") as temporary:
        directory = arguments.directory or Path(temporary) / "data"
        if not (directory / "manifest.json").exists():
            start = time.perf_counter()
            make_corpus(directory, rows)
            print(f"made {rows:,} audit rows in {time.perf_counter() - start:.0f} s", flush=True)
        rows = json.loads((directory / "manifest.json").read_bytes())["counts"]["input"]
        with tempfile.TemporaryDirectory(prefix="siliang-report-") as warm:  # compiles the kernels
            make_corpus(Path(warm) / "data", 2_000)
            report(Path(warm) / "data")
        result: dict[str, Any] = {"rows": rows}
        for measure in MEASURES:
            result |= measure(directory)
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
