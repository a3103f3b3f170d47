"""What is taken from inside Beam so that worker processes outlive a job. Nothing else of this room knows Beam.

FnApiRunner asks a `WorkerHandler` for workers. Its own one starts an interpreter for each job and worker; the handler
here hands the job's address to a process that is there already, which runs Beam's `SdkHarness` on it as Beam's own
worker would (and as Beam's EXTERNAL and LOOPBACK pools do: one process, many harnesses, one after another).
None of this is public: `unsupported` says where the running Beam is not the one this was written against.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

import apache_beam
import grpc
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.transforms import environments

WRITTEN_FOR = "2.77."
URN = "siliang:env:pooled:v1"
LOOPBACK = "127.0.0.1"


def unsupported() -> str | None:
    """Why this Beam cannot be served, or None."""
    if not apache_beam.__version__.startswith(WRITTEN_FOR):
        return f"apache-beam {apache_beam.__version__} is not {WRITTEN_FOR}*"
    return None


class Starter(Protocol):
    """Who has the workers."""

    def begin(self, worker_id: str, control: str) -> Callable[[], None]:
        """Lets an idle worker serve the job whose control server is there; what is returned waits for its end."""


_starters: dict[bytes, Starter] = {}
"""Payload of an environment -> whose workers serve it. The graph carries bytes only."""


@environments.Environment.register_urn(URN, bytes)
class PooledEnvironment(environments.SubprocessSDKEnvironment):
    """Tells FnApiRunner to take its workers from a `Starter`; otherwise it is Beam's environment of local processes."""

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return URN, self.command_string.encode()

    @staticmethod
    def from_runner_api_parameter(
        payload: bytes, capabilities: Any, artifacts: Any, resource_hints: Any, context: Any
    ) -> "PooledEnvironment":
        return PooledEnvironment(payload.decode(), capabilities, artifacts, resource_hints)


@worker_handlers.WorkerHandler.register_environment(URN, bytes)
class PooledWorkerHandler(worker_handlers.GrpcWorkerHandler):
    """A worker of a `Starter`, for one job."""

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._starter = _starters[payload]
        self._wait: Callable[[], None] | None = None

    def host_from_worker(self) -> str:
        return LOOPBACK

    def start_worker(self) -> None:
        self._wait = self._starter.begin(self.worker_id, self.control_address)

    def stop_worker(self) -> None:
        if self._wait is not None:
            self._wait()


class _LoopbackServers:
    """Stands for the module `grpc` where Beam makes its servers: they would listen on every interface, to anyone."""

    def __getattr__(self, name: str) -> Any:
        return getattr(grpc, name)

    @staticmethod
    def server(*arguments: Any, **options: Any) -> grpc.Server:
        made = grpc.server(*arguments, **options)
        listen = made.add_insecure_port
        made.add_insecure_port = lambda address: listen(address.replace("[::]", LOOPBACK))
        return made


class PooledRunner(fn_runner.FnApiRunner):
    """FnApiRunner with so many workers, those of `starter`. Runs one pipeline."""

    def __init__(self, starter: Starter, workers: int) -> None:
        self._key = b"%x" % id(starter)
        self._starter = starter
        self._workers = workers
        super().__init__(PooledEnvironment.from_command_string(self._key.decode()))

    def run_stages(self, stage_context: Any, stages: Any) -> Any:
        _starters[self._key] = self._starter
        self._num_workers = self._workers  # as an option Beam warns of it in every mode but its own two
        worker_handlers.grpc = _LoopbackServers()
        try:
            return super().run_stages(stage_context, stages)
        finally:
            worker_handlers.grpc = grpc
            del _starters[self._key]


def serve_job(worker_id: str, control: str) -> None:
    """In a worker: does what the runner at `control` asks, until it says that the job has ended.

    Raises ConnectionError where that is never said, because the driver has ended.
    """
    logging.disable(logging.CRITICAL)  # errors travel in the answers; the rest is Beam's talk
    _, harness, _ = sdk_worker_main.create_harness(
        {"WORKER_ID": worker_id, "CONTROL_API_SERVICE_DESCRIPTOR": f'url: "{control}"', "PIPELINE_OPTIONS": "{}"}
    )
    threading.excepthook = _unless_broken
    try:
        harness.run()
    except grpc.RpcError as error:
        raise ConnectionError(f"the job's servers are gone: {error}") from error
    finally:
        harness._control_channel.close()


def _unless_broken(arguments: threading.ExceptHookArgs) -> None:
    """Each of Beam's threads would print a traceback where the driver is killed."""
    if not issubclass(arguments.exc_type, grpc.RpcError):
        threading.__excepthook__(arguments)
