"""Extraction in a process that ends itself when a page takes too long: no parser can be stopped inside a thread.

The process is started at its first page and serves all later ones. It ends at the end of its standard input, so when
the worker ends in whatever way, and by a timer of the kernel in the middle of a page.
"""

import atexit
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from pipeline.text.html_extract import EXTRACTORS

_REQUEST = struct.Struct("<dBQ")  # seconds, extractor, bytes of the page
_REPLY = struct.Struct("<BQ")  # refused, bytes of the text
_NAMES = tuple(EXTRACTORS)
_WALL = 10.0
"""Seconds of the clock for one of CPU: a worker under load is not a slow page, but one that swaps must end too."""
_ENDED_LATE = (-signal.SIGPROF, -signal.SIGALRM)


class PageTimeoutError(Exception):
    """A page took more CPU than it may."""


class PageRefusedError(Exception):
    """The parser refused a page, or died of it."""


class _Process:
    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.text.html_guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self.pid = self._process.pid

    def ask(self, extractor: str, page: bytes, seconds: float) -> bytes:
        """Raises EOFError if the process was dead or died for another reason than the page."""
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None
        assert sink is not None
        try:
            sink.write(_REQUEST.pack(seconds, _NAMES.index(extractor), len(page)))
            sink.write(page)
            sink.flush()
            refused, size = _REPLY.unpack(_exactly(source, _REPLY.size))
            text = _exactly(source, size)
        except (EOFError, OSError) as error:
            if self.stop() in _ENDED_LATE:
                raise PageTimeoutError from error
            raise EOFError from error
        if refused:
            raise PageRefusedError
        return text

    def stop(self) -> int:
        """Its exit code. A process that is not at its end within a second is killed."""
        self.close()
        try:
            return self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def kill(self) -> None:
        self._process.kill()
        self.stop()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                continue


class _Pool:
    """Idle processes of this worker: one, or as many as its threads have needed at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Process] = []

    def ask(self, extractor: str, page: bytes, seconds: float) -> bytes:
        for last in (False, True):
            with self._lock:
                process = self._idle.pop() if self._idle and not last else None
            process = process or _Process()
            try:
                text = process.ask(extractor, page, seconds)
            except PageRefusedError:
                self._keep(process)
                raise
            except EOFError:
                # It may have been killed while it was idle; a second death is the page's work.
                continue
            except BaseException:
                process.kill()
                raise
            self._keep(process)
            return text
        raise PageRefusedError

    def _keep(self, process: _Process) -> None:
        with self._lock:
            self._idle.append(process)

    def stop(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.stop()

    def forget(self) -> None:
        """In a forked copy of the worker: the processes belong to the other one."""
        self._lock = threading.Lock()
        idle, self._idle = self._idle, []
        for process in idle:
            process.close()
            process._process.returncode = 0  # or it would be reported as still running


_POOL = _Pool()
atexit.register(_POOL.stop)
os.register_at_fork(after_in_child=_POOL.forget)


def extract_guarded(html: str, extractor: str, seconds: float) -> str:
    """The extractor's text. Raises PageTimeoutError after `seconds` of CPU, and PageRefusedError. Thread-safe."""
    return _POOL.ask(extractor, html.encode(), seconds).decode()


def stop_guards() -> None:
    """Ends the idle processes; the next page starts one again."""
    _POOL.stop()


def _exactly(source: IO[bytes], size: int) -> bytes:
    content = source.read(size)
    if len(content) != size:
        raise EOFError
    return content


def _set_timers(seconds: float) -> None:
    # No handlers: the default of both signals ends the process, inside a library's C code too.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * _WALL)


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answers pages until the end of `source`."""
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF, signal.SIGALRM])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the worker, which closes the pipe
    loaded: set[int] = set()
    while head := source.read(_REQUEST.size):
        if len(head) < _REQUEST.size:
            return
        seconds, extractor, size = _REQUEST.unpack(head)
        page = source.read(size)
        if len(page) < size:
            return
        run = EXTRACTORS[_NAMES[extractor]]
        if extractor not in loaded:
            run("<p>The library is loaded before the timer runs.</p>")
            loaded.add(extractor)
        _set_timers(seconds)
        try:
            text, refused = run(page.decode()).encode("utf-8", "replace"), 0
        except Exception:
            text, refused = b"", 1
        _set_timers(0)
        sink.write(_REPLY.pack(refused, len(text)))
        sink.write(text)
        sink.flush()


def main() -> None:
    # Whatever a library prints must not get among the replies.
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)
