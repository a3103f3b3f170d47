"""The local worker processes of a command: started once, they serve all its jobs.

Beam starts the workers of each job anew, some four seconds of CPU a worker for imports alone. These keep their imports,
compiled kernels and tables. Where the program has only just started they are forks of it, made before any thread and
any gRPC is there, and cost nothing; else they are fresh interpreters, started when a job needs them.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol

import orjson

from pipeline.workers.worker import serve

PATIENCE = 5.0
"""Seconds that a worker without a job gets to end once its socket is closed."""


class _Process(Protocol):
    def wait(self) -> int: ...
    def kill(self) -> None: ...


class _Fork:
    """What subprocess.Popen is to a spawned process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._code: int | None = None

    def wait(self) -> int:
        try:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        except ChildProcessError:
            self._code = 0  # another thread has waited for it
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)


class Worker:
    """The driver's side of one worker process, which has one job or none."""

    def __init__(self, link: socket.socket, process: _Process) -> None:
        self.link = link
        self._process = process
        self._state = threading.Condition()
        self._busy = self._over = self._dismissed = False

    def watch(self, died: Callable[[int], None]) -> None:
        """Begins to listen. `died` gets the exit code of a process that ended in a job, in a thread of its own."""
        self._listener = threading.Thread(target=self._listen, args=(died,), daemon=True, name="siliang-worker")
        self._listener.start()

    def _listen(self, died: Callable[[int], None]) -> None:
        with suppress(ConnectionError), self.link.makefile("rb") as lines:  # it may end with a job unread
            for _ in lines:
                self._set(busy=False)
        code = self._process.wait()
        if self._busy and not self._dismissed:
            died(code)
        self._set(busy=False, over=True)

    def _set(self, busy: bool, over: bool = False) -> None:
        with self._state:
            self._busy, self._over = busy, over
            self._state.notify_all()

    def begin(self, worker_id: str, control: str) -> bool:
        """Hands over a job; False where there is one already, or the process has ended."""
        with self._state:
            if self._busy or self._over:
                return False
            self._busy = True
            try:
                self.link.sendall(orjson.dumps({"worker": worker_id, "control": control}) + b"\n")
            except OSError:
                self._busy = False
            return self._busy

    def wait(self) -> None:
        with self._state:
            self._state.wait_for(lambda: not self._busy)

    def kill(self) -> None:
        self._dismissed = True
        self._process.kill()

    def dismiss(self) -> None:
        """Ends the process: at once if it has no job."""
        self._dismissed = True
        with suppress(OSError):  # the other side is gone
            self.link.shutdown(socket.SHUT_RDWR)
        self._listener.join(PATIENCE)
        if self._listener.is_alive():
            self.kill()
            self._listener.join()
        self.link.close()


class WorkerPool:
    """As many workers as jobs have asked for at once."""

    def __init__(self) -> None:
        self.on_death: Callable[[int], None] | None = None
        """Called with the exit code when a worker ends in a job, from another thread."""
        self._workers: list[Worker] = []

    def fork(self, count: int) -> None:
        """Starts workers as forks of this process, for a caller that knows that it has not used gRPC. Where there are
        threads, whose locks a fork would copy, it does nothing: workers are then started when a job needs them.
        """
        if threading.active_count() > 1:
            return
        sys.stdout.flush()
        sys.stderr.flush()
        for _ in range(count):
            ours, theirs = socket.socketpair()
            pid = os.fork()
            if pid == 0:
                for link in (ours, *(worker.link for worker in self._workers)):
                    link.close()  # a copy of the driver's side would keep that worker alive
                serve(theirs)
            theirs.close()
            self._workers.append(Worker(ours, _Fork(pid)))
        for worker in self._workers:
            worker.watch(self._died)

    def _spawn(self) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            # The driver's own path: pipelines of tests, say, live in modules that are not installed.
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
            command = [sys.executable, "-m", "pipeline.workers.worker", str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        worker = Worker(ours, process)
        worker.watch(self._died)
        self._workers.append(worker)
        return worker

    def _died(self, code: int) -> None:
        if self.on_death is not None:
            self.on_death(code)

    def begin(self, worker_id: str, control: str) -> Callable[[], None]:
        """Gives the job whose control server is there to a free worker; what is returned waits for the job's end."""
        for worker in self._workers:
            if worker.begin(worker_id, control):
                return worker.wait
        worker = self._spawn()
        worker.begin(worker_id, control)
        return worker.wait

    def kill(self) -> None:
        """Ends all workers, jobs or no jobs, without waiting for their end."""
        for worker in self._workers:
            worker.kill()

    def close(self) -> None:
        """Waits for the end of all workers. The next job would get new ones."""
        for worker in self._workers:
            worker.dismiss()
        self._workers = []


_pool: ContextVar[WorkerPool | None] = ContextVar("local workers", default=None)


@contextmanager
def local_workers(count: int = 0) -> Iterator[WorkerPool]:
    """The pool that all jobs inside the block use; the one that is there, if there is one.

    `count`: workers to fork at once, for a caller that knows what `WorkerPool.fork` asks.
    """
    there = _pool.get()
    if there is not None:
        yield there
        return
    pool = WorkerPool()
    pool.fork(count)
    token = _pool.set(pool)
    try:
        yield pool
    finally:
        _pool.reset(token)
        pool.close()
