"""Model shapes by name."""

from typing import Any, Final

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "tiny": {"layers": 4, "width": 128, "heads": 4, "feed_forward": 512, "max_length": 64},
    "small": {"layers": 6, "width": 256, "heads": 4, "feed_forward": 1024, "max_length": 128},
    "base": {"layers": 12, "width": 768, "heads": 12, "feed_forward": 3072, "max_length": 512},
    "large": {"layers": 24, "width": 1024, "heads": 16, "feed_forward": 4096, "max_length": 512},
    "tiny-grown": {"layers": 4, "width": 128, "heads": 4, "feed_forward": 512, "max_length": 32},
}
"""Preset name -> fields of `ModelConfig` without `vocabulary_size`, which comes with the shards.

`tiny` learns on one CPU core within minutes: rows of 64 tokens leave the word-frequency plateau soonest.
`base` is BERT-base, `large` BERT-large. `tiny-grown` is `tiny` on shorter rows, trained from two layers up.
"""
