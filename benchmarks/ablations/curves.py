"""Loss curves: thinned for the repository, averaged over seeds, and asked when they reach a level. Pure functions."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

Point = Mapping[str, float]
"""step, seconds, tokens, flops, loss; a curve is a list of them in order."""

LONGEST = 60
LEFT_BY = 0.1
"""Nats below a plateau's level from which on it counts as left."""


def thin(points: Sequence[Point], limit: int = LONGEST) -> list[Point]:
    """At most `limit` of them, evenly over their number; the first and the last stay."""
    if len(points) <= limit:
        return list(points)
    chosen = {round(i * (len(points) - 1) / (limit - 1)) for i in range(limit)}
    return [point for number, point in enumerate(points) if number in chosen]


def at(curve: Sequence[Point], seconds: float) -> float:
    """Loss at a time, linear between points and flat outside."""
    if seconds <= curve[0]["seconds"]:
        return curve[0]["loss"]
    for left, right in pairwise(curve):
        if seconds <= right["seconds"]:
            span = right["seconds"] - left["seconds"]
            share = (seconds - left["seconds"]) / span if span else 1.0
            return left["loss"] + share * (right["loss"] - left["loss"])
    return curve[-1]["loss"]


def mean_curve(curves: Sequence[Sequence[Point]], points: int = 120) -> list[dict[str, float]]:
    """Mean loss over runs by training seconds, up to the end of the shortest; empty without curves."""
    known = [curve for curve in curves if curve]
    if not known:
        return []
    start, end = max(c[0]["seconds"] for c in known), min(c[-1]["seconds"] for c in known)
    times = [start + (end - start) * i / (points - 1) for i in range(points)]
    return [{"seconds": time, "loss": sum(at(curve, time) for curve in known) / len(known)} for time in times]


def time_to(curve: Sequence[Point], level: float) -> float | None:
    """Training seconds at which the loss first is at or below the level, linear between points; None: never."""
    if not curve:
        return None
    if curve[0]["loss"] <= level:
        return curve[0]["seconds"]
    for left, right in pairwise(curve):
        if right["loss"] <= level:
            share = (left["loss"] - level) / (left["loss"] - right["loss"])
            return left["seconds"] + share * (right["seconds"] - left["seconds"])
    return None


def left_at(curve: Sequence[Point], plateau: float) -> float | None:
    """Training seconds at which a plateau is left: the loss is LEFT_BY below it."""
    return time_to(curve, plateau - LEFT_BY)


def share_to(losses: Mapping[float, float], level: float) -> tuple[float, bool] | None:
    """(share of the budget at which runs with schedules of their own reach the level, whether it is measured on both
    sides); linear between the shares that were run. None: no share reaches it.

    Args:
        losses: share of the budget -> mean loss at the end of runs that had it.
    """
    shares = sorted(losses)
    for number, share in enumerate(shares):
        if losses[share] <= level:
            if number == 0:
                return share, False
            before = shares[number - 1]
            part = (losses[before] - level) / (losses[before] - losses[share])
            return before + part * (share - before), True
    return None
