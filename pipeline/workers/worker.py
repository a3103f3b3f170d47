"""A worker process: serves one job after another until the socket to the driver closes.

    driver -> worker   {"worker": ID, "control": ADDRESS}     a line of JSON for each job
    worker -> driver   ID                                      the job has ended, the next may come

The socket is also what ties the worker's life to the driver's: however that ends, the kernel closes its side.
"""

import ctypes
import os
import queue
import signal
import socket
import sys
import threading
import traceback

import orjson
import pyarrow as pa

from pipeline.workers.harness import serve_job

NAME = "siliang-worker"
_PR_SET_NAME = 15


def serve(driver: socket.socket) -> None:
    """Never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the driver decides what becomes of workers
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME.encode())  # for ps and top: a fork has its parent's name
        jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(driver, jobs), daemon=True).start()
        while True:
            job = orjson.loads(jobs.get())
            serve_job(job["worker"], job["control"])
            pa.default_memory_pool().release_unused()
            driver.sendall(job["worker"].encode() + b"\n")
    except ConnectionError:
        pass  # the driver has ended, or has seen that something is wrong and tells of it
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # no clean-up of what was copied from the driver, and no waiting for Beam's threads


def _listen(driver: socket.socket, jobs: "queue.SimpleQueue[bytes]") -> None:
    with driver.makefile("rb") as lines:
        for line in lines:
            jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
