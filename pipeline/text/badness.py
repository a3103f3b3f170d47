"""`ftfy.badness` as an automaton: ftfy's own expression for mojibake, turned into tables that a kernel can walk.

The expression is an alternation of short sequences of character sets, so the subset construction is exact: it
accepts a text where `ftfy.badness.is_bad` finds a match in it, one table look-up for each character.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ftfy.badness import BADNESS_RE

ACCEPT, START, SEARCH = 0, 1, 2
"""States: mojibake was seen; at the start of a text; anywhere else with nothing of interest before."""


@dataclass(frozen=True)
class CharacterSet:
    """One place of a sequence, as `re` parses it."""

    points: frozenset[int]
    categories: tuple[str, ...] = ()
    """"\\w" and "\\s"."""
    negated: bool = False

    def holds(self, point: int) -> bool:
        character = chr(point)
        found = (
            point in self.points
            or ("w" in self.categories and (character.isalnum() or character == "_"))
            or ("s" in self.categories and character.isspace())
        )
        return found != self.negated


@dataclass(frozen=True)
class Sequence:
    sets: tuple[CharacterSet, ...]
    anchored: bool
    """At the start of the text alone ("^")."""


_CATEGORIES = {"CATEGORY_WORD": "w", "CATEGORY_SPACE": "s"}


def _character_set(operation: str, argument: Any) -> CharacterSet:
    if operation == "LITERAL":
        return CharacterSet(frozenset([argument]))
    if operation == "ANY":
        return CharacterSet(frozenset([10]), negated=True)
    if operation != "IN":
        raise NotImplementedError(f"ftfy's expression for mojibake holds {operation}; ftfy 6.3 is needed")
    points: set[int] = set()
    categories: list[str] = []
    negated = False
    for kind, value in argument:
        if str(kind) == "NEGATE":
            negated = True
        elif str(kind) == "LITERAL":
            points.add(value)
        elif str(kind) == "RANGE":
            points.update(range(value[0], value[1] + 1))
        elif str(kind) == "CATEGORY" and str(value) in _CATEGORIES:
            categories.append(_CATEGORIES[str(value)])
        else:
            raise NotImplementedError(f"ftfy's expression for mojibake holds {kind} {value}; ftfy 6.3 is needed")
    return CharacterSet(frozenset(points), tuple(categories), negated)


def sequences() -> list[Sequence]:
    """The alternatives of ftfy's expression; one with an optional character stands there twice."""
    parsed = importlib.import_module("re._parser").parse(BADNESS_RE.pattern, BADNESS_RE.flags)
    if len(parsed) != 1 or str(parsed[0][0]) != "BRANCH":
        raise NotImplementedError("ftfy's expression for mojibake is no alternation; ftfy 6.3 is needed")
    found = []
    for alternative in parsed[0][1][1]:
        ways: list[tuple[CharacterSet, ...]] = [()]
        anchored = False
        for operation, argument in alternative:
            if str(operation) == "AT" and str(argument) == "AT_BEGINNING":
                anchored = True
            elif str(operation) == "MAX_REPEAT" and argument[:2] == (0, 1):
                extra = tuple(_character_set(str(name), value) for name, value in argument[2])
                ways += [way + extra for way in ways]
            else:
                ways = [(*way, _character_set(str(operation), argument)) for way in ways]
        found += [Sequence(way, anchored) for way in ways]
    return found


@dataclass(frozen=True)
class Automaton:
    moves: np.ndarray
    """uint16 [states, kinds]: the next state."""
    longest: int
    """Characters of the longest sequence: no match spans more."""


def kinds_of(traits: np.ndarray, alternatives: list[Sequence]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Puts together the characters that no sequence and no trait tells apart.

    `traits`: int64 [code points], small numbers; they must tell "\\w" and "\\s" apart. Returns the kind of each code
    point (uint16), the traits of each kind, and one code point of each kind.
    """
    places = [place for sequence in alternatives for place in sequence.sets]
    named = sorted(set().union(*(place.points for place in places)))
    found, kinds = np.unique(traits, return_inverse=True)
    examples = np.empty(len(found), np.int64)
    plain = np.ones(len(traits), bool)
    plain[named] = False
    rest = np.flatnonzero(plain)
    # Where all characters of a trait are named its kind stays without use, and any of them does as the example.
    examples[kinds] = np.arange(len(traits))
    examples[kinds[rest]] = rest
    numbers: dict[tuple[int, tuple[int, ...]], int] = {}
    more: list[int] = []
    for point in named:
        key = (int(traits[point]), tuple(index for index, place in enumerate(places) if point in place.points))
        if key not in numbers:
            numbers[key] = len(found) + len(more)
            more.append(point)
        kinds[point] = numbers[key]
    examples = np.concatenate((examples, np.array(more, np.int64)))
    return kinds.astype(np.uint16), traits[examples], examples


def automaton(examples: np.ndarray, alternatives: list[Sequence]) -> Automaton:
    """Subset construction: a state is what has been read of which sequences."""
    longest = max(len(sequence.sets) for sequence in alternatives)
    holds = [[[place.holds(int(point)) for point in examples] for place in sequence.sets] for sequence in alternatives]
    anywhere = frozenset((index, 0) for index, sequence in enumerate(alternatives) if not sequence.anchored)
    everything = frozenset((index, 0) for index in range(len(alternatives)))

    def after(state: frozenset[tuple[int, int]], kind: int) -> frozenset[tuple[int, int]] | None:
        ahead = {(index, place + 1) for index, place in state if holds[index][place][kind]}
        if any(place == len(alternatives[index].sets) for index, place in ahead):
            return None
        return anywhere | ahead

    return Automaton(_explore([everything, anywhere], len(examples), after), longest)


def _explore(
    starts: list[frozenset[tuple[int, int]]],
    kinds: int,
    after: Callable[[frozenset[tuple[int, int]], int], frozenset[tuple[int, int]] | None],
) -> np.ndarray:
    states = list(starts)
    numbers = {state: START + place for place, state in enumerate(starts)}
    rows = [[ACCEPT] * kinds]
    at = 0
    while at < len(states):
        row = []
        for kind in range(kinds):
            following = after(states[at], kind)
            if following is None:
                row.append(ACCEPT)
                continue
            if following not in numbers:
                numbers[following] = START + len(states)
                states.append(following)
            row.append(numbers[following])
        rows.append(row)
        at += 1
    return np.array(rows, np.uint16)
