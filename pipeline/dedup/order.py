"""The total order of documents: source priority, then quality, then doc_id, then ref. The first of two twins is kept.

All but the ref is packed into one number, so that it can travel with every hash: 16 bits of priority, 8 of quality, the
first 40 of the doc_id. Two different documents agree in all 40 with probability 1e-12; then the ref decides.
"""

import numpy as np
import pyarrow as pa

from pipeline.doc_id import doc_id_words

MAX_PRIORITY = (1 << 16) - 2
MAX_QUALITY = (1 << 8) - 1


def order_keys(priority: np.ndarray, quality: np.ndarray, doc_id: pa.Array) -> np.ndarray:
    """uint64 [n]: documents are sorted by (this, ref). Keys below 1 << 48 are left to documents of earlier runs.

    priority: uint16 [n], 0 most trusted, at most 65534. quality: uint16 [n], broken page rules, fewer are better; above
    255 they count as 255. doc_id: string [n], 32 hexadecimal digits. Raises ValueError for a priority out of range.
    """
    if len(priority) and int(priority.max()) > MAX_PRIORITY:
        raise ValueError(
            f"priority {int(priority.max())} is above {MAX_PRIORITY}: name fewer sources in input.priority"
        )
    high, _ = doc_id_words(doc_id)
    first = (priority.astype(np.uint64) + np.uint64(1)) << np.uint64(48)
    second = np.minimum(quality, MAX_QUALITY).astype(np.uint64) << np.uint64(40)
    return first | second | (high >> np.uint64(24))


def ranks(order: np.ndarray, ref: np.ndarray) -> np.ndarray:
    """int64 [n]: the position of each row in the total order. order: of `order_keys`; ref: uint64 [n], unique."""
    out = np.empty(len(order), np.int64)
    out[np.lexsort((ref, order))] = np.arange(len(order))
    return out
