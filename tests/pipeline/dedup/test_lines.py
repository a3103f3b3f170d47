"""Lines of texts: folded as whole texts are, hashed by MurmurHash3."""

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.dedup.lines import _murmur, _room, hash_lines, seed_of
from pipeline.dedup.normalize import normalise


def murmur(content: bytes, seed: int = 0) -> str:
    scratch, words = _room(len(content))
    scratch[: len(content)] = np.frombuffer(content, np.uint8)
    return "".join(f"{int(word):016x}" for word in _murmur(scratch, words, len(content), np.uint64(seed)))


def test_published_values_of_the_hash():
    # SMHasher's and common implementations' values of MurmurHash3_x64_128, seed 0.
    assert murmur(b"The quick brown fox jumps over the lazy dog") == "e34bbc7bbc071b6c7a433ca9c49a9347"
    assert murmur(b"") == "0" * 32


def reference(text: str) -> list[tuple[str, int, int]]:
    """(line as it stands, first byte, last byte) in plain Python; no line after a last line feed."""
    out, at = [], 0
    raw = text.encode()
    while at < len(raw):
        stop = raw.find(b"\n", at)
        stop = len(raw) if stop < 0 else stop
        out.append((raw[at:stop].decode(), at, stop))
        at = stop + 1
    return out


ODD = st.text(st.sampled_from("aB1 .,-\n\t\u00ad\u200bßﬁ…é\u0301が\u3099漢Ａ한ᄀ\U0001f600"), max_size=40)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(ODD, st.text(st.characters(exclude_categories=["Cs"]), max_size=30)), max_size=5))
@example(["漢字⹿⺀か\u3099 ﬁ", "⺀⹿ﬁ", "", "a\n\nb", "Straße\nSTRASSE\n", "…\n...\n---"])
def test_equal_to_a_plain_reference(texts):
    seeds = np.array([seed_of(str(i % 2)) for i in range(len(texts))], np.uint64)
    array = pa.array(["left out", *texts, "left out"], pa.string()).slice(1, len(texts))
    found = hash_lines(array, seeds)
    base = np.frombuffer(array.buffers()[1], np.int32, len(texts) + 1, array.offset * 4) if texts else [0]
    for row, text in enumerate(texts):
        lines = reference(text)
        low, high = found.offsets[row : row + 2]
        assert high - low == len(lines)
        for place, (line, start, stop) in zip(range(low, high), lines, strict=True):
            folded = normalise(line)
            assert (found.starts[place] - base[row], found.stops[place] - base[row]) == (start, stop)
            assert found.characters[place] == sum(1 + (ord(char) >= 0x2E80) for char in folded)
            expected = murmur(folded.encode(), int(seeds[row])) if folded else "0" * 32
            assert f"{int(found.high[place]):016x}{int(found.low[place]):016x}" == expected


def test_sources_do_not_share_lines():
    texts = pa.array(["Next page", "Next page"])
    found = hash_lines(texts, np.array([seed_of("a"), seed_of("b")], np.uint64))
    assert found.high[0] != found.high[1]
    assert found.low[0] != found.low[1]
