import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import psutil
import pytest

from pipeline.config import ConfigError, HtmlConfig
from pipeline.text import html_guard
from pipeline.text.html import extract_page, main_text
from pipeline.text.html_guard import PageRefusedError, PageTimeoutError, extract_guarded, stop_guards

SLOW = "<div>" * 50_000 + "<p>text</p>"
"""The search for main content is quadratic in depth: a minute. The limits would keep the page out."""
WIDE = HtmlConfig(max_depth=4096, timeout_seconds=1)


@pytest.fixture(autouse=True)
def _no_guard_left():
    stop_guards()
    yield
    stop_guards()
    assert not guards(os.getpid())


def guards(pid: int) -> list[psutil.Process]:
    return [p for p in psutil.Process(pid).children(recursive=True) if "pipeline.text.html_guard" in p.cmdline()]


def test_a_slow_page_ends_in_time_and_its_process_is_replaced():
    assert extract_guarded("<p>one", "resiliparse", 10) == "one"
    first = guards(os.getpid())[0].pid
    started = time.monotonic()
    with pytest.raises(PageTimeoutError):
        extract_guarded(SLOW, "resiliparse", 0.5)
    assert time.monotonic() - started < 20
    assert extract_guarded("<p>two", "resiliparse", 10) == "two"
    assert [p.pid for p in guards(os.getpid())] != [first]


def test_a_slow_page_is_stripped_and_the_audit_says_so(batch_of, monkeypatch):
    monkeypatch.setattr("pipeline.text.html.beyond", lambda html, config: None)
    batch = batch_of(SLOW, "<nav>menu</nav><p>one", media="html")
    out = main_text(batch, WIDE).to_pydict()
    assert out["text"] == ["text", "one"]
    assert out["repairs"] == [["html_timeout"], ["main_text"]]


def test_guarded_text_is_the_same_text(samples):
    for path in sorted(samples.glob("*html/*.html")):
        page = path.read_text(encoding="utf-8")
        assert extract_guarded(page, "resiliparse", 30) == extract_page(page)[0]
    assert extract_guarded("", "resiliparse", 30) == ""
    assert extract_guarded("\0 é 汉 \U0001f600", "resiliparse", 30).endswith("é 汉 \U0001f600")


def test_a_process_that_died_while_idle_is_replaced():
    extract_guarded("<p>one", "resiliparse", 10)
    guards(os.getpid())[0].kill()
    assert extract_guarded("<p>two", "resiliparse", 10) == "two"


def test_a_page_that_kills_its_process_is_refused(monkeypatch):
    def die(self: object, *_: object) -> bytes:
        self._process.kill()  # type: ignore[attr-defined]
        return ask(self, *_)

    ask = html_guard._Process.ask
    monkeypatch.setattr(html_guard._Process, "ask", die)
    with pytest.raises(PageRefusedError):
        extract_guarded("<p>one", "resiliparse", 10)


def test_threads_get_their_own_pages():
    pages = [f"<p>page {n} " + "word " * n for n in range(60)]
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda page: extract_guarded(page, "resiliparse", 30), pages))
    assert [text.split()[1] for text in texts] == [str(n) for n in range(60)]
    assert 1 <= len(guards(os.getpid())) <= 4


WORKER = """
import os, sys, time
from pipeline.text.html_guard import extract_guarded
print(extract_guarded("<p>one", "resiliparse", 10), flush=True)
if sys.argv[1] == "fork":
    child = os.fork()
    text = extract_guarded("<p>two", "resiliparse", 10)
    if not child:
        os._exit(0 if text == "two" else 1)
    print(os.waitpid(child, 0)[1], flush=True)
if sys.argv[1] == "slow":
    print("start", flush=True)
    extract_guarded("<div>" * 50_000 + "x", "resiliparse", 3)
if sys.argv[1] == "wait":
    time.sleep(60)
"""


def start(how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, how],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize(("how", "number"), [("end", None), ("wait", signal.SIGKILL), ("slow", signal.SIGKILL)])
def test_no_process_outlives_its_worker(how, number):
    worker = start(how)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "one\n"
    if how == "slow":
        assert worker.stdout.readline() == "start\n"
    left = guards(worker.pid) if number else []
    assert len(left) == (1 if number else 0)
    if number:
        worker.send_signal(number)
    worker.communicate(timeout=60)
    _, alive = psutil.wait_procs(left, timeout=30)
    assert not alive


def test_a_forked_worker_starts_its_own():
    worker = start("fork")
    out, _ = worker.communicate(timeout=60)
    assert out.split() == ["one", "0"]
    assert worker.returncode == 0


def test_extractor_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("pipeline.text.html.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="trafilatura is not installed; run: pip install trafilatura"):
        extract_page("<p>one", HtmlConfig(extractor="trafilatura"))


@pytest.mark.skipif(find_spec("trafilatura") is None, reason="trafilatura is not installed")
def test_trafilatura_finds_the_article():
    page = "<body><nav>menu</nav><article><h1>Head</h1>" + "<p>A sentence of the text.</p>" * 20 + "</article></body>"
    text, how = extract_page(page, HtmlConfig(extractor="trafilatura"))
    assert how == "main_text"
    assert "A sentence of the text." in text
    assert "menu" not in text
