"""What a command line says of Beam jobs without Beam, whose import takes two seconds: runners, and how a job ends."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOCAL = "FnApiRunner"
RUNNERS = (LOCAL, "DataflowRunner", "FlinkRunner", "SparkRunner", "PortableRunner")


class JobError(RuntimeError):
    """A Beam job that did not end well. The message is for the user; the next run goes on from the finished parts."""


class SubmittedError(Exception):
    """A job was handed to its runner and nothing waits for it: the driver ends here. The message is for the user."""


@contextmanager
def importing_beam() -> Iterator[None]:
    """Importing Beam without its Google extra warns on every start."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
