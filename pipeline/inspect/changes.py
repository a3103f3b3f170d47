"""What differs between two series of words, in near-linear time.

Runs of words that stand once in both anchor the comparison (the idea of Cohen's patience diff); what lies between two
anchors goes through difflib, whose time may be quadratic, only where it is short.
"""

import difflib
from bisect import bisect_left
from collections.abc import Sequence

Change = tuple[int, int, int, int]
"""Words [start, end) of the one text that became words [start, end) of the other."""

DIRECT = 1_000
"""Up to this many words of both texts together between two anchors are left to difflib."""
ANCHORS = (8, 4, 2, 1)
"""Words of an anchor; shorter ones are tried where there is no longer one."""
EDITS = 400
STEPS = 4_000_000
"""Where no anchor is found in more words than that: at most this many edits, and this many edits times words."""


def changes_of(one: Sequence[int], two: Sequence[int]) -> list[Change]:
    """What turns the one series of words into the other: ascending, disjoint, never two that touch in both."""
    # A stack: anchors may nest deeply.
    found: list[Change] = []
    stack: list[tuple[Change, int]] = [((0, len(one), 0, len(two)), 0)]
    while stack:
        (a, b, c, d), level = stack.pop()
        while a < b and c < d and one[a] == two[c]:
            a, c = a + 1, c + 1
        while a < b and c < d and one[b - 1] == two[d - 1]:
            b, d = b - 1, d - 1
        if a == b or c == d:
            if a < b or c < d:
                found.append((a, b, c, d))
        elif b - a + d - c <= DIRECT:
            matcher = difflib.SequenceMatcher(None, one[a:b], two[c:d], autojunk=False)
            found += [(a + i, a + j, c + k, c + m) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]
        elif level == len(ANCHORS):
            changes = _few_changes(one[a:b], two[c:d])
            found += [(a + i, a + j, c + k, c + m) for i, j, k, m in changes]
        else:
            size = ANCHORS[level]
            anchors = _anchors(one[a:b], two[c:d], size)
            if not anchors:
                stack.append(((a, b, c, d), level + 1))
                continue
            between = []
            last_one, last_two = a, c
            for i, k in anchors:
                between.append(((last_one, a + i, last_two, c + k), level))
                last_one, last_two = a + i, c + k
            between.append(((last_one, b, last_two, d), level))
            stack += reversed(between)
    return _joined(sorted(found))


def _anchors(one: Sequence[int], two: Sequence[int], size: int) -> list[tuple[int, int]]:
    """Places of n-grams that each text holds once, ascending in both: the longest such series."""
    first, second = _once(one, size), _once(two, size)
    pairs = sorted((place, second[gram]) for gram, place in first.items() if gram in second)
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for number, (_, place) in enumerate(pairs):
        slot = bisect_left(tails, place)
        before.append(ends[slot - 1] if slot else -1)
        if slot == len(tails):
            tails.append(place)
            ends.append(number)
        else:
            tails[slot], ends[slot] = place, number
    chain: list[tuple[int, int]] = []
    at = ends[-1] if ends else -1
    while at >= 0:
        chain.append(pairs[at])
        at = before[at]
    return chain[::-1]


def _once(ids: Sequence[int], size: int) -> dict[tuple[int, ...], int]:
    places: dict[tuple[int, ...], int] = {}
    for place, gram in enumerate(zip(*(ids[shift:] for shift in range(size)), strict=False)):
        places[gram] = -1 if gram in places else place
    return {gram: place for gram, place in places.items() if place >= 0}


def _few_changes(one: Sequence[int], two: Sequence[int]) -> list[Change]:
    """The least changes, where they are few (Myers 1986): for texts that repeat themselves and so hold no anchor.

    Time and memory grow with the square of the edits, and at worst with their product with the lengths, which EDITS and
    STEPS bound; beyond them all is one change.
    """
    reach = {1: 0}
    seen: list[dict[int, int]] = []
    for edits in range(min(EDITS, STEPS // (len(one) + len(two))) + 1):
        seen.append(reach.copy())
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and reach[diagonal - 1] < reach[diagonal + 1])
            x = reach[diagonal + 1] if down else reach[diagonal - 1] + 1
            while x < len(one) and x - diagonal < len(two) and one[x] == two[x - diagonal]:
                x += 1
            reach[diagonal] = x
            if x >= len(one) and x - diagonal >= len(two):
                return _traced(seen, len(one), len(two))
    return [(0, len(one), 0, len(two))]


def _traced(seen: list[dict[int, int]], x: int, y: int) -> list[Change]:
    """Single edits, last first, back along the path that `seen` tells, from its end x, y."""
    changes: list[Change] = []
    for edits in range(len(seen) - 1, 0, -1):
        reach, diagonal = seen[edits], x - y
        down = diagonal == -edits or (diagonal != edits and reach[diagonal - 1] < reach[diagonal + 1])
        before = diagonal + 1 if down else diagonal - 1
        x, y = reach[before], reach[before] - before
        changes.append((x, x, y, y + 1) if down else (x, x + 1, y, y))
    return changes


def _joined(changes: list[Change]) -> list[Change]:
    joined: list[Change] = []
    for change in changes:
        if joined and joined[-1][1] == change[0] and joined[-1][3] == change[2]:
            last = joined.pop()
            change = (last[0], change[1], last[2], change[3])
        joined.append(change)
    return joined
