import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import ConfigError, make_config
from pipeline.words.families import FAMILY_TYPE, families, stems
from pipeline.words.rare import RARE_WORDS


def rare(*words: str) -> pa.Table:
    ones = np.ones(len(words), np.uint64)
    ids = np.arange(len(words), dtype=np.uint32)
    return pa.table([pa.array(ids), pa.array(words, pa.string()), pa.array(ones), pa.array(ones)], schema=RARE_WORDS)


def test_forms_of_a_word_name_one_another():
    table = rare("whale", "whales", "whaling", "ship", "shipped", "whale's", "harpoon")
    found = families(table, "english")
    assert found.type == FAMILY_TYPE
    assert found.to_pylist() == [[1, 2, 5], [0, 2, 5], [0, 1, 5], [4], [3], [0, 1, 2], []]


def test_language_decides():
    assert families(rare("haus", "häuser"), "english").to_pylist() == [[], []]
    assert families(rare("haus", "häuser"), "german").to_pylist() == [[1], [0]]
    assert families(rare("kinder", "kindern"), "german").to_pylist() == [[1], [0]]


def test_short_stems_and_other_scripts_stand_alone():
    assert stems(["as", "ass", "先生", "слова"], "english")[2:] == ["先生", "слова"]
    assert families(rare("a's", "as", "先生", "先"), "english").to_pylist() == [[], [], [], []]


def test_no_words():
    assert families(rare(), "english").to_pylist() == []


def test_unknown_stemmer_is_told():
    with pytest.raises(ConfigError, match=r"words\.stemmer.*no stemmer is called 'klingon'; known: .*english"):
        make_config({"words": {"stemmer": "klingon"}})
