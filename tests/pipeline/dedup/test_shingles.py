import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DeduplicateConfig
from pipeline.dedup.mixing import fmix32, fmix64
from pipeline.dedup.normalize import normalise, normalise_batch
from pipeline.dedup.shingles import SPACELESS, shingle_sets

M64 = (1 << 64) - 1


def fmix64_reference(value: int) -> int:
    value = (value ^ (value >> 33)) * 0xFF51AFD7ED558CCD & M64
    value = (value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53 & M64
    return value ^ (value >> 33)


def word_hash(word: str) -> int:
    state = 0xCBF29CE484222325
    raw = word.encode()
    for start in range(0, len(raw), 8):
        state = (state ^ int.from_bytes(raw[start : start + 8], "little")) * 0x9FB21C651E98DF25 & M64
        state ^= state >> 32
    return fmix64_reference(state)


def character_hash(char: str) -> int:
    return fmix64_reference((ord(char) + 0xCBF29CE484222325) & M64)


def reference(text: str, config: DeduplicateConfig) -> list[int]:
    normalised = normalise(text)
    visible = normalised.replace(" ", "")
    spaceless = sum(any(low <= ord(char) <= high for low, high in SPACELESS) for char in visible)
    if 2 * spaceless > len(visible):
        items = [character_hash(char) for char in visible]
        size, salt = config.shingle_characters, 0xD6E8FEB86659FD93
    else:
        items = [word_hash(word) for word in normalised.split()]
        size, salt = config.shingle_words, 0
    found = set()
    for start in range(len(items) - size + 1):
        state = 0
        for item in items[start : start + size]:
            state = (state * 0x9E3779B97F4A7C15 + item) & M64
        found.add(fmix64_reference(state ^ salt))
    return sorted(found)


def sets(texts: list[str], config: DeduplicateConfig) -> list[list[int]]:
    shingles = shingle_sets(pa.array(texts, pa.string()), config)
    assert shingles.values.dtype == np.uint64
    assert shingles.offsets.dtype == np.int64
    assert len(shingles) == len(texts)
    bounds = shingles.offsets
    return [shingles.values[bounds[i] : bounds[i + 1]].tolist() for i in range(len(texts))]


def test_mixers_give_murmurs_known_values() -> None:
    assert int(fmix64(np.uint64(1))) == fmix64_reference(1) == 0xB456BCFC34C2CB2C
    assert int(fmix32(np.uint32(1))) == 0x514E28B7


word = st.sampled_from(
    ["the", "a", "cat", "sat", "é", "naïve", "ΣΑΣ", "x1", "-", "नमस्ते", "中文", "ไทย", "ສະບາຍ", "မြန်မာ", "ខ្មែរ", "かな"]
)
prose = st.lists(st.one_of(word, st.text(st.characters(exclude_categories=["Cs"]), max_size=8)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.lists(prose.map(" ".join), max_size=6), st.integers(1, 6), st.integers(1, 9))
def test_kernel_equals_reference(texts: list[str], words: int, characters: int) -> None:
    config = DeduplicateConfig(shingle_words=words, shingle_characters=characters)
    assert sets(texts, config) == [reference(text, config) for text in texts]


def test_repeats_count_once() -> None:
    config = DeduplicateConfig(shingle_words=2)
    assert len(sets(["a b a b a b a b"], config)[0]) == 2


@pytest.mark.parametrize("text", ["", "...", "word", "one two three four", "中文中文中文中"])
def test_too_short_gives_the_empty_set(text: str) -> None:
    assert sets(["five words are just enough", text, "五個字不夠八個才夠"], DeduplicateConfig())[1] == []


@pytest.mark.parametrize(
    "text",
    [
        "但丁加布里埃爾羅塞蒂是一位英國畫家",
        "これはひらがなとカタカナのぶんしょうです",
        "ภาษาไทยไม่มีการเว้นวรรคระหว่างคำ",
        "ພາສາລາວບໍ່ມີການຍະຫວ່າງລະຫວ່າງຄຳ",
        "ភាសាខ្មែរមិនមានដកឃ្លារវាងពាក្យទេ",
        "မြန်မာဘာသာစကားတွင်စကားလုံးများကြား",
    ],
)
def test_scripts_without_spaces_use_characters(text: str) -> None:
    config = DeduplicateConfig()
    folded = normalise(text).replace(" ", "")
    windows = {folded[i : i + 8] for i in range(len(folded) - 7)}
    assert len(sets([text], config)[0]) == len(windows) > 5
    # A line break inside the text is layout there, not a word boundary.
    broken = text[:9] + "\n" + text[9:]
    if not unicodedata.combining(text[9]):
        assert sets([broken], config) == sets([text], config)


def test_mixed_text_follows_the_majority() -> None:
    config = DeduplicateConfig(shingle_words=1, shingle_characters=1)
    assert len(sets(["abcdef 中文"], config)[0]) == 2  # two words
    assert len(sets(["ab 中文字"], config)[0]) == 5  # five characters
    assert len(sets(["ab 中文"], config)[0]) == 2  # a tie: words


def test_equal_normalised_text_gives_equal_sets_whatever_the_company() -> None:
    config = DeduplicateConfig()
    text = "It was the best of times, it was the worst of times."
    alone = sets([text], config)[0]
    assert sets(["filler one two three four", "", text.upper().replace(",", " —"), "中" * 30], config)[2] == alone


def test_given_normalised_batch_is_used() -> None:
    config = DeduplicateConfig()
    texts = pa.array(["Call me Ishmael. Some years ago, never mind how long", ""])
    plain, handed = shingle_sets(texts, config), shingle_sets(texts, config, normalise_batch(texts))
    assert np.array_equal(plain.values, handed.values)
    assert np.array_equal(plain.offsets, handed.offsets)
    assert plain.counts.tolist() == [6, 0]


def test_words_of_every_length_at_every_place() -> None:
    config = DeduplicateConfig(shingle_words=1)
    words = ["abcdefghijklmnopqrstuvwxyz0123456789"[:n] for n in range(1, 34)]
    texts = [" ".join(words[n:]) for n in range(len(words))] + words + [" ".join(reversed(words))]
    assert sets(texts, config) == [reference(text, config) for text in texts]


def test_a_slice_of_an_array_is_read_in_its_own_bounds() -> None:
    config = DeduplicateConfig(shingle_words=1)
    texts = pa.array(["one two", "three fourfourfour", "five"])
    bounds = shingle_sets(texts.slice(1, 1), config, pa.array(["x", *texts.to_pylist()[1:]]).slice(1, 1))
    assert bounds.values.tolist() == reference("three fourfourfour", config)
