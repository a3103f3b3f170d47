"""The processor a run is on, and how a child ends with its queue."""

import hashlib
import os
import platform
import threading
import time
from pathlib import Path


def machine() -> dict[str, str]:
    """What the processor is, and a short id of it: seconds are compared on one kind of machine only."""
    wanted = ("model name", "cpu family", "model", "stepping", "cache size")
    fields: dict[str, str] = {"architecture": platform.machine(), "cores": str(os.cpu_count())}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in wanted:
                fields.setdefault(key.strip(), value.strip())
            elif key.strip() == "flags":
                fields.setdefault("features", " ".join(f for f in value.split() if f.startswith(("amx", "avx512_b"))))
    except OSError:
        fields["model name"] = platform.processor() or "unknown"
    told = "\n".join(f"{key} {value}" for key, value in sorted(fields.items()))
    return {"id": hashlib.blake2b(told.encode(), digest_size=3).hexdigest(), **fields}


PARENT = "SILIANG_ABLATION_QUEUE"
"""Environment variable: process id of the queue."""


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone, so that a killed queue leaves nothing running.

    The queue names itself in the environment: it may be gone before this process has come so far.
    """
    parent = int(os.environ.get(PARENT, os.getppid()))

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()
