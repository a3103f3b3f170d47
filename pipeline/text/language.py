"""Language by py3langid's model (it lies inside that package) and script by counting letters, over a whole batch."""

import numpy as np
import pyarrow as pa

from pipeline.config import LanguageConfig
from pipeline.records import with_columns
from pipeline.text.counts import bytes_of
from pipeline.text.language_codes import UNDETERMINED
from pipeline.text.language_model import Texts, excerpts, model, tell
from pipeline.text.language_rules import FAULT, rules_for
from pipeline.text.language_vote import shares
from pipeline.text.script import SCRIPTS, letters_of

SAMPLE = 1200
"""Code points that the model sees: of long text the beginning, middle and end, so that a foreign preface does not
decide, and the costs are bounded."""


def _faults(
    labels: tuple[str, ...],
    best: np.ndarray,
    scores: np.ndarray,
    kept: np.ndarray,
    least: np.ndarray,
    config: LanguageConfig,
) -> list[str | None]:
    """For people: why the language of a row is unwanted."""
    faults: list[str | None] = [None] * len(best)
    for row in np.flatnonzero(~kept | (scores < least)):
        found = f"language {labels[best[row]]} ({scores[row]:.2f})"
        if not kept[row]:
            faults[row] = f"{found}, kept languages are {', '.join(config.keep)}"
        else:
            faults[row] = f"{found}, a score of at least {least[row]:.4g} wanted"
    return faults


def language(text: str, script: str) -> tuple[str, float]:
    """ISO 639-1 code and its normalised probability; ("und", 0.0) where no language is told."""
    data = np.frombuffer(text.encode(), np.uint8)
    ends = np.array([len(data)])
    seen = excerpts(Texts(data, np.zeros(1, np.int64), ends, np.array([len(text)])), SAMPLE)
    best, score, _ = tell(seen, np.array([SCRIPTS.index(script)]))
    return (model().languages[best[0]] if best[0] >= 0 else UNDETERMINED), float(score[0])


def identify(batch: pa.RecordBatch, config: LanguageConfig | None = None) -> pa.RecordBatch:
    """Adds `language`, `language_score` (0..1), `script` (see pipeline.text.script) and the columns of
    pipeline.text.language_rules; null in quarantined rows."""
    config = config or LanguageConfig()
    data, offsets = bytes_of(batch["text"])
    offsets = offsets.astype(np.int64)
    script, lengths = letters_of(data, offsets)
    best, scores, _ = tell(excerpts(Texts(data, offsets[:-1], offsets[1:], lengths), SAMPLE), script)
    labels = (*model().languages, UNDETERMINED)
    missing = batch["quarantine"].is_valid().to_numpy(zero_copy_only=False)
    kept = np.array([not config.keep or label in config.keep for label in labels])[best]
    least = np.array([config.min_scores.get(label, config.min_score) for label in labels])[best]
    share = shares(data, offsets) if config.vote else np.ones(len(best))
    columns = {
        "language": pa.array(labels).take(pa.array(best % len(labels), pa.int32(), mask=missing)),
        "language_score": pa.array(scores, pa.float64(), mask=missing),
        "script": pa.array(SCRIPTS).take(pa.array(script, pa.int32(), mask=missing)),
        "language_kept": pa.array(kept.astype(np.int64), mask=missing),
        "language_margin": pa.array(scores - least, pa.float64(), mask=missing),
        "language_share": pa.array(share, pa.float64(), mask=missing),
    }
    if rules_for(config):
        faults = _faults(labels, best, scores, kept, least, config)
        columns[FAULT] = pa.array(faults, pa.string(), mask=missing)
    return with_columns(batch, columns)
