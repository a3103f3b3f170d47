"""Few rows in which every pair of values of two factors occurs (a covering array of strength two)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product

Row = dict[str, str]
Pair = frozenset[tuple[str, str]]


def pairs(factors: Mapping[str, Sequence[str]], allowed: Callable[[Row], bool]) -> list[Pair]:
    """All pairs of values that may stand together, in a fixed order."""
    found = []
    for one, other in combinations(factors, 2):
        for a, b in product(factors[one], factors[other]):
            if allowed({one: a, other: b}):
                found.append(frozenset([(one, a), (other, b)]))
    return found


def covering_rows(factors: Mapping[str, Sequence[str]], allowed: Callable[[Row], bool]) -> list[Row]:
    """Greedy, no randomness: each row begins with the first pair that is left, then each factor takes the value that
    brings most pairs that are left, the earlier one of equals.

    `allowed` judges rows that are filled in part; a value that no row may hold beside the others is an error.
    """
    left = dict.fromkeys(pairs(factors, allowed))
    rows: list[Row] = []
    while left:
        row: Row = dict(next(iter(left)))
        for factor in sorted(factors, key=lambda name: -len(factors[name])):
            if factor in row:
                continue
            values = [value for value in factors[factor] if allowed(row | {factor: value})]
            if not values:
                raise ValueError(f"no {factor} goes with {row}")
            new = {value: sum(frozenset([(factor, value), item]) in left for item in row.items()) for value in values}
            row[factor] = max(values, key=new.__getitem__)
        for pair in combinations(row.items(), 2):
            left.pop(frozenset(pair), None)
        rows.append({name: row[name] for name in factors})
    return rows
