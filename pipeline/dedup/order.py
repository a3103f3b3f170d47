"""The total order of documents: source priority, then doc_id, then ref. The first of two twins is kept."""

import numpy as np
import pyarrow as pa

from pipeline.doc_id import doc_id_words


def total_order(priority: np.ndarray, doc_id: pa.Array, ref: np.ndarray) -> np.ndarray:
    """int64 [n]: the permutation that sorts rows by (priority, doc_id, ref).

    priority: uint16 [n], 0 most trusted; doc_id: string [n], 32 hexadecimal digits; ref: uint64 [n], unique.
    """
    high, low = doc_id_words(doc_id)
    return np.lexsort((ref, low, high, priority))


def ranks(priority: np.ndarray, doc_id: pa.Array, ref: np.ndarray) -> np.ndarray:
    """int64 [n]: the position of each row in the total order; the inverse of `total_order`."""
    order = total_order(priority, doc_id, ref)
    out = np.empty(len(order), np.int64)
    out[order] = np.arange(len(order))
    return out
