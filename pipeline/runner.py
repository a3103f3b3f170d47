"""Runs one Beam job on the chosen runner and turns its failures into one clear line."""

import logging
import re
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.jobs import LOCAL, JobError, SubmittedError
from pipeline.meter import metered_job
from pipeline.workers.harness import PooledRunner, unsupported
from pipeline.workers.pool import WorkerPool, local_workers


@dataclass(frozen=True)
class Execution:
    """Where and how wide the jobs run. Nothing here may change a byte of the output."""

    runner: str = LOCAL
    workers: int = 1
    options: tuple[str, ...] = ()
    """Beam's own options, passed on as they are."""
    submit: bool = False
    """Hand over the first job that has something to do, and end: one launch of a Flex Template is one job."""

    @property
    def processes(self) -> int:
        """Worker processes of ours that the jobs use: 0 where they run in this process, or Beam has its own."""
        return self.workers if self._local_processes and unsupported() is None else 0

    @property
    def note(self) -> str | None:
        """What to tell of the way that the jobs will take, if anything."""
        if self._local_processes and (reason := unsupported()):
            return f"workers are started anew for every job, some seconds each: {reason}"
        return None

    @property
    def _local_processes(self) -> bool:
        chosen = any(option.startswith("--direct_running_mode") for option in self.options)
        return self.runner == LOCAL and self.workers > 1 and not chosen

    def beam_options(self) -> PipelineOptions:
        # No main session: the code is an installed package, and pickling __main__ is Beam's best-known trap.
        arguments = ["--no_save_main_session"]
        if self.runner == LOCAL:
            # in_memory is also the mode that leaves a PooledRunner its workers; multi_processing has its own.
            processes = self.workers if self.processes == 0 else 1
            mode = "multi_processing" if processes > 1 else "in_memory"
            arguments += [f"--direct_running_mode={mode}", f"--direct_num_workers={processes}"]
        return PipelineOptions([*arguments, *self.options])


def quiet_logs() -> None:
    """Beam logs translation phases at INFO and every worker line as an ERROR of its own; users need neither."""
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("root").setLevel(logging.WARNING)


class _WorkerDied(BaseException):
    """Raised in the main thread to end Beam's wait; no `except Exception` on the way may swallow it."""


class _Watch:
    """Watches local worker processes: Beam waits for ever when one is killed, so the wait is ended from here.

    By a signal of its own: SIGINT is ignored in background jobs of a shell, and a signal is all that ends a wait.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self.death: str | None = None
        self._pool = pool
        self._previous = threading.excepthook
        self._main = threading.current_thread() is threading.main_thread()
        self._handler: Any = None

    @staticmethod
    def _interrupt(number: int, frame: FrameType | None) -> None:
        raise _WorkerDied

    def _died(self, code: int) -> None:
        reason = "killed (out of memory?)" if code in (137, -9) else f"exit code {code}"
        self.death = f"a worker process ended early: {reason}"
        self._pool.kill()  # or the end of the others' work would be waited for
        if self._main:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _hook(self, arguments: threading.ExceptHookArgs) -> None:
        # Where Beam has workers of its own, a thread of it ends so when one of them does.
        if found := re.search(r"Worker subprocess exited with return code (-?\d+)", str(arguments.exc_value)):
            self._died(int(found[1]))
            return
        # A dead worker breaks its channels: each of Beam's threads would print a traceback of its own.
        frames = traceback.walk_tb(arguments.exc_traceback)
        if not any("apache_beam" in frame.f_code.co_filename for frame, _ in frames):
            self._previous(arguments)

    def __enter__(self) -> "_Watch":
        threading.excepthook = self._hook
        self._pool.on_death = self._died
        if self._main:
            self._handler = signal.signal(signal.SIGUSR1, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.on_death = None
        if self._main:
            signal.signal(signal.SIGUSR1, self._handler)
        # After a death the hook stays: Beam's threads go on failing until the process ends.
        if self.death is None:
            threading.excepthook = self._previous


def _last_line(error: BaseException) -> str:
    """The exception line of the innermost cause in Beam's nested tracebacks, without '[while running ...]'."""
    lines = [line for line in str(error).splitlines() if re.match(r"^[\w.]*(Error|Exception|Exit)\b", line)]
    text = lines[0] if lines else (str(error).splitlines() or [type(error).__name__])[-1]
    return re.sub(r"\s*\[while running .*", "", text)


def stop_workers(pool: WorkerPool) -> None:
    """Ends every child process of the driver; part files stay whole, for they appear by rename."""
    pool.kill()
    pool.close()
    children = psutil.Process().children(recursive=True)
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(children, timeout=5)


def run_job(name: str, build: Callable[[beam.Pipeline], object], execution: Execution, tasks: int) -> None:
    """Builds and runs one pipeline over `tasks` tasks. Raises JobError, SubmittedError, or KeyboardInterrupt on Ctrl-C.

    More local workers than tasks would only cost their start, a second and 200 MB each.
    """
    execution = replace(execution, workers=max(1, min(execution.workers, tasks)))
    with metered_job(name), local_workers() as pool, _Watch(pool) as watch:
        try:
            runner = PooledRunner(pool, execution.processes) if execution.processes else execution.runner
            pipeline = beam.Pipeline(runner=runner, options=execution.beam_options())
            build(pipeline)
            result = pipeline.run()
            if execution.submit:
                raise SubmittedError(
                    f"submitted the job of {name}; when it has ended, the same command without --submit goes on"
                )
            state = result.wait_until_finish()
        except _WorkerDied:
            stop_workers(pool)
            raise JobError(f"stage {name}: {watch.death}; run the same command again to go on") from None
        except KeyboardInterrupt:
            stop_workers(pool)
            raise
        except (OSError, RuntimeError, ValueError) as error:
            stop_workers(pool)
            raise JobError(f"stage {name}: {_last_line(error)}") from error
    if state is not None and str(state) != "DONE":
        raise JobError(f"stage {name}: the job ended as {state}; see the runner's log")
