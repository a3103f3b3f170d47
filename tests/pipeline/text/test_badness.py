import itertools
import re
import unicodedata

import numpy as np
from ftfy import fixes
from ftfy.badness import BADNESS_RE, is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.badness import ACCEPT, SEARCH, START, sequences
from pipeline.text.repair import repair_text
from pipeline.text.traits import (
    CODE_POINTS,
    COMBINING,
    COMPOSES,
    HARD,
    MAPPED,
    NOT_NORMAL,
    REMOVED,
    RETURN,
    SPACE,
    traits,
)

NAMED = sorted(set(re.findall(r"[^\x00-\x7f]", BADNESS_RE.pattern)))
MOJIBAKE = st.lists(
    st.sampled_from(NAMED) | st.sampled_from(["a", "Z", " ", "\n", ".", "?", "1", "Ã", "Â", "Ø", "œ", "ВГВ", "Î"]),
    max_size=10,
).map("".join)


def accepts(text):
    table = traits()
    state = START
    for character in text:
        state = table.machine.moves[state, table.kinds[min(ord(character), CODE_POINTS - 1)]]
    return state == ACCEPT


@settings(max_examples=1500, deadline=None)
@given(MOJIBAKE | st.text(max_size=8))
def test_the_automaton_is_ftfys_expression(text):
    assert accepts(text) == is_bad(text)


def test_pairs_of_all_kinds():
    """Every two kinds side by side, at the start and after a letter, for several characters of each."""
    table = traits()
    points = np.concatenate([np.flatnonzero(table.kinds == kind)[[0, -1]] for kind in np.unique(table.kinds)])
    characters = sorted({chr(point) for point in points if not 0xD800 <= point < 0xE000})
    assert len(characters) > 80
    for first, second in itertools.product(characters, repeat=2):
        assert accepts(first + second) == is_bad(first + second), (first, second)
        assert accepts("a" + first + second) == is_bad("a" + first + second), (first, second)


def test_a_match_is_no_longer_than_said():
    table = traits()
    assert table.machine.longest == max(len(sequence.sets) for sequence in sequences())
    # Nothing in ASCII is mojibake, and after ASCII the automaton remembers no more than that.
    ascii_kinds = np.unique(table.kinds[:128])
    states = {START, SEARCH}
    for _ in range(2 * table.machine.longest):
        states |= {int(state) for at in states for state in table.machine.moves[at, ascii_kinds]}
    assert ACCEPT not in states


def test_every_code_point_has_its_traits():
    table = traits()
    bits = table.traits[table.kinds]
    for point in itertools.chain(range(0xD800), range(0xE000, CODE_POINTS)):
        character = chr(point)
        fixed = fixes.remove_control_chars(
            fixes.fix_line_breaks(fixes.uncurl_quotes(fixes.fix_character_width(fixes.fix_latin_ligatures(character))))
        )
        assert (fixed != character) == bool(bits[point] & (MAPPED | REMOVED | RETURN | HARD)) or 0x80 <= point < 0xA0
        if bits[point] & MAPPED:
            length, *raw = table.substitutes[table.places[point]].tolist()
            assert bytes(raw[:length]).decode() == fixed
        assert bool(bits[point] & NOT_NORMAL) != unicodedata.is_normalized("NFC", character)
        assert bool(bits[point] & COMBINING) == (unicodedata.combining(character) > 0)
        assert bool(bits[point] & SPACE) == character.isspace()


def test_no_pair_of_a_character_and_what_composes_is_missed():
    """As lines of one text, which repair brings to NFC where its kernels say that it may not be."""
    table = traits()
    firsts = {chr(pair >> 21) for pair in table.pairs.tolist()} | {"\u1100", "가", "각", "a", "字"}
    firsts |= {chr(point) for point in range(0xA0, 0x20000) if unicodedata.decomposition(chr(point))[:1].isalnum()}
    seconds = [chr(point) for point in np.flatnonzero(table.traits[table.kinds] & COMPOSES)]
    texts = [first + second for first in sorted(firsts) for second in seconds]
    clean, _ = repair_text("\n".join(texts))
    assert clean == unicodedata.normalize("NFC", "\n".join(texts))


def test_what_composes_is_known():
    """A character that changes anything written before it has COMPOSES, COMBINING or NOT_NORMAL."""
    table = traits()
    firsts = [chr(pair >> 21) for pair in table.pairs.tolist()] + ["\u1100", "가"]
    bits = table.traits[table.kinds]
    before = "".join(sorted(set(firsts)))
    for point in itertools.chain(range(0x80, 0xAC00), range(0xF900, 0x20000)):
        if not bits[point] & (COMPOSES | COMBINING | NOT_NORMAL):
            text = chr(point).join(before)
            assert unicodedata.is_normalized("NFC", text), hex(point)
