"""Masks by bands of frequency, from a config to batches."""

import numpy as np
import pytest

from trainer.config import ConfigError, build_config
from trainer.data.frequency import token_counts
from trainer.data.held_out import held_out
from trainer.data.open import Shards


def test_batches_ask_for_rarer_pieces(prepared, tools):
    counts = token_counts(prepared, 600)
    found = {}
    for bands in ([], [1, 2, 8]):
        config = build_config(overrides=tools.settings(data__mask_bands=bands))
        opened = Shards(prepared, config.data)
        batches = opened.stream(0, 64).batches()
        targets = np.concatenate([next(batches)[0].target_M.numpy() for _ in range(8)])
        batches.close()
        (rows,) = held_out(opened.corpora("valid")[0], 32, 64, config.data.masking(), limit_rows=64)
        found[len(bands)] = len(targets), np.log(counts[targets] + 1.0).mean(), len(rows.target_M)
    (plain, frequency, rows), (banded, rarer, banded_rows) = found[0], found[3]
    assert banded == plain
    assert banded_rows == rows
    assert rarer < frequency - 0.3


@pytest.mark.parametrize("bands", [[1], [1, 0], [1, 100]])
def test_impossible_bands_are_refused(tools, bands):
    with pytest.raises(ConfigError, match="two bands or more, each of 1 to 64 tickets"):
        build_config(overrides=tools.settings(data__mask_bands=bands))
