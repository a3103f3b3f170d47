"""Memory that a step frees stays with the process, because the next step asks for the same again.

glibc gives large freed blocks back to the kernel, which hands them out anew page by page, zeroed: a step of preset
small (bf16, CPU, one thread) took 63,000 to 74,000 page faults and a fifth of its CPU time in the kernel (of 865 ms).
With both limits raised it takes one or none (599 ms). Peak memory: 972 to 996 MB before, 993 to 1,015 MB after.

Large pages are the other half: `trainer/__init__.py`.
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>."""
ALL = (1 << 31) - 1
"""The largest int: nothing is given back, nothing has a mapping of its own."""


def keep_memory() -> bool:
    """Raises glibc's limits for this process; False where the C library has none, and nothing was changed."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl; Windows knows no CDLL(None)
        return False
    # The second is bounded to 32 MB by some versions, which refuse more: then that.
    kept = mallopt(TRIM_THRESHOLD, ALL)
    return bool(kept and (mallopt(MMAP_THRESHOLD, ALL) or mallopt(MMAP_THRESHOLD, 32 << 20)))
