"""`siliang-pipeline report DIR --serve PORT`."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from types import FrameType

from pipeline.console import out
from pipeline.progress import StageProgress
from pipeline.serve.index import AuditIndex
from pipeline.serve.server import HOST, Server
from pipeline.serve.site import Site


class ServeError(OSError):
    """The port cannot be had; the message says what to do."""


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that nothing temporary is left."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(directory: Path, port: int, progress: StageProgress) -> None:
    """Serves the report and the search of the audit until Ctrl-C; writes nothing into `directory`.

    Raises ManifestError, SchemaError, InspectError, ServeError, OSError.
    """
    with _ended_by_signal(), tempfile.TemporaryDirectory(prefix="siliang-serve-") as scratch:
        with progress.stage("read audit"):
            index = AuditIndex(directory, Path(scratch))
        try:
            site = Site(directory, index)
            try:
                server = Server(port, site.routes())
            except OSError as error:
                raise ServeError(f"--serve {port}: {HOST} port {port}: {error.strerror}; name another") from error
            with server:
                # This thread waits and does nothing else: an interrupt that meets it in a callback would be lost.
                serving = Thread(target=server.serve_forever, daemon=True)
                serving.start()
                try:
                    out.print(f"{server.url}  report and search of {len(index):,} records; Ctrl-C ends", soft_wrap=True)
                    Event().wait()
                except KeyboardInterrupt:
                    out.print("stopped")
                finally:
                    server.shutdown()
                    serving.join()
        finally:
            index.close()
