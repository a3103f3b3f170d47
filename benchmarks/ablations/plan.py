"""What is to be run next: the search of rate and choice, then the reported runs, seed by seed. Pure functions.

Everything follows from the arms and from the losses of the runs that are done, so a queue needs no state but results.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.ablations.arms import Arm, Choice, Setting, together
from benchmarks.ablations.prices import Bill, Prices, Unpriced, bill, phases, spend

Losses = Mapping[str, float]
"""Digest of a job that is done -> its loss in nats, infinite where it diverged."""


IN_STEPS = {"notes.warm_step"}
"""Keys that count steps: they shrink with a run's budget."""


@dataclass(frozen=True)
class Place:
    """What a run's numbers depend on beside its config."""

    data: str
    """Digest of shards and vocabulary."""
    machine: str
    """That the prices were measured on."""
    precision: str


@dataclass(frozen=True)
class Job:
    """One run."""

    setting: str
    arm: str
    choice: str
    kind: str
    """'tune', 'final' (of a search, at the whole budget) or 'report'."""
    rate: float
    seed: int
    seconds: float
    """At the price of a quiet machine."""
    share: float
    bought: Bill
    """The steps that they buy."""
    values: dict[str, Any]
    """The trainer's whole config, 'section.key' -> value, as far as it is not its default."""
    place: Place
    judge: str = "held_out"
    threads: int = 1

    @property
    def digest(self) -> str:
        """Of all that decides the run. Arms with equal values share a run."""
        told = {"values": self.values, "judge": self.judge, "threads": self.threads, "place": vars(self.place)}
        text = json.dumps(told, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def name(self) -> str:
        return f"{self.setting}-{self.arm}-{self.kind}-{self.seed}-{self.digest[:8]}"


def make_job(
    setting: Setting, arm: Arm, choice: Choice, rate: float, place: Place, kind: str, seed: int, share: float = 1.0
) -> Job:
    """Raises Unpriced."""
    seconds = setting.tuning_seconds if kind == "tune" else setting.seconds * share
    given = priced_values(setting, arm, choice, place.precision)
    for key in IN_STEPS & given.keys():
        # Written for a whole budget; at least one step.
        given[key] = max(1, round(given[key] * seconds / setting.seconds))
    bought = bill(given, seconds, prices_of(setting, place))
    values = {
        **spend(given, bought),
        **{key: float(f"{rate * factor:.6g}") for key, factor in arm.rate_keys.items()},
        "system.seed": seed,
    }
    return Job(
        setting=setting.name, arm=arm.name, choice=choice.name, kind=kind, rate=rate, seed=seed, seconds=seconds,
        share=share, bought=bought, values=values, place=place, judge=arm.judge, threads=setting.threads,
    )  # fmt: skip


def prices_of(setting: Setting, place: Place) -> Prices:
    """The setting's list, or an empty one."""
    return setting.prices or Prices(place.machine, place.precision, setting.threads)


def priced_values(setting: Setting, arm: Arm, choice: Choice, precision: str) -> dict[str, Any]:
    """An arm's config before a rate, a seed and a length are chosen."""
    return {
        "system.precision": precision,
        **together(setting, arm, choice),
        "system.threads": setting.threads,
    }


def unpriced(arm: Arm, setting: Setting, place: Place) -> bool:
    """Whether a config of the arm lacks its price."""
    prices = prices_of(setting, place)
    try:
        for choice in arm.choices:
            bill(priced_values(setting, arm, choice, place.precision), setting.seconds, prices)
    except Unpriced:
        return True
    return False


def to_price(arms: Iterable[Arm], setting: Setting, precision: str) -> dict[str, dict[str, Any]]:
    """Name -> config whose step must be measured for these arms."""
    return {
        f"{arm.name}, {choice.name}, phase {number + 1}": values
        for arm in arms
        if not arm.missing
        for choice in arm.choices
        for number, (_, values) in enumerate(phases(priced_values(setting, arm, choice, precision)))
    }


def frontier(losses: Mapping[float, float], rates: Sequence[float], start: float) -> list[float]:
    """Rates that must still be tried: the start and its neighbours, then until the best one has a worse neighbour on
    either side (or the grid's end). Which ones that are does not depend on the order in which runs end."""

    def near(rate: float) -> list[float]:
        middle = rates.index(rate)
        around = {rates[max(0, middle - 1)], rates[min(len(rates) - 1, middle + 1)]} - {rate}
        return [rate for rate in (rate, *sorted(around)) if rate not in losses]

    return near(start) or near(min(losses, key=lambda rate: (losses[rate], rate)))


@dataclass(frozen=True)
class Search:
    """An arm's search as it stands."""

    open: list[Job]
    """To be run for the next decision, in any order."""
    choice: Choice | None
    """The best choice and rate; None as long as something is open."""
    rate: float | None
    tried: dict[tuple[str, float], float]
    """(choice, rate) -> loss."""
    finals: dict[tuple[str, float], float] = field(default_factory=dict)
    """The same at the whole budget."""


def search(arm: Arm, setting: Setting, place: Place, losses: Losses) -> Search:
    """The same small search for every arm: the rate of the arm as it is, by steps of the grid until both neighbours
    are worse; every other choice at that rate; the rate of the best choice again, if it is another one.

    Where the arm asks for finals, its best choices, each at its best rate, run for the whole budget on the search's
    seed, and the best of those is taken: what helps a short run may not help a long one. An arm with a rate of its own
    is not searched."""
    tried: dict[tuple[str, float], float] = {}

    def job(choice: Choice, rate: float) -> Job:
        return make_job(setting, arm, choice, rate, place, "tune", setting.tuning_seed)

    def by_rate(choice: Choice) -> dict[float, float]:
        known = {rate: losses.get(job(choice, rate).digest) for rate in setting.rates}
        found = {rate: loss for rate, loss in known.items() if loss is not None}
        tried.update({(choice.name, rate): loss for rate, loss in found.items()})
        return found

    def still(wanted: Iterable[tuple[Choice, float]]) -> Search | None:
        jobs = [job(choice, rate) for choice, rate in wanted]
        return Search(jobs, None, None, tried) if jobs else None

    first, *others = arm.choices
    if arm.rate is not None:
        return Search([], first, arm.rate, tried)
    start = arm.start if arm.start in setting.rates else setting.start
    first_losses = by_rate(first)
    if waits := still((first, rate) for rate in frontier(first_losses, setting.rates, start)):
        return waits
    best_rate = min(first_losses, key=lambda rate: (first_losses[rate], rate))
    found = {choice.name: by_rate(choice) for choice in others}
    if waits := still((choice, best_rate) for choice in others if best_rate not in found[choice.name]):
        return waits
    at_best = {choice.name: found[choice.name][best_rate] for choice in others} | {first.name: first_losses[best_rate]}
    best = min(arm.choices, key=lambda choice: at_best[choice.name])
    if best is not first and (
        waits := still((best, rate) for rate in frontier(found[best.name], setting.rates, best_rate))
    ):
        return waits
    ranked = sorted((loss, name, rate) for (name, rate), loss in tried.items() if math.isfinite(loss))
    if not ranked:
        return Search([], None, None, tried)
    named = {choice.name: choice for choice in arm.choices}
    best_rates: dict[str, float] = {}
    for _, name, rate in ranked:
        best_rates.setdefault(name, rate)
    finalists = list(best_rates.items())[: arm.finals]
    runs = {(n, r): make_job(setting, arm, named[n], r, place, "final", setting.tuning_seed) for n, r in finalists}
    finals = {pair: losses[run.digest] for pair, run in runs.items() if run.digest in losses}
    if waits := [run for pair, run in runs.items() if pair not in finals]:
        return Search(waits, None, None, tried, finals)
    decided = finals or {(ranked[0][1], ranked[0][2]): ranked[0][0]}
    (name, rate), loss = min(decided.items(), key=lambda pair: (pair[1], pair[0]))
    if not math.isfinite(loss):
        return Search([], None, None, tried, finals)
    return Search([], named[name], rate, tried, finals)


def reported(arm: Arm, setting: Setting, place: Place, losses: Losses) -> list[Job]:
    """The arm's reported runs, done or not; none before its search is over."""
    found = search(arm, setting, place, losses)
    if found.choice is None or found.rate is None:
        return []
    return [
        make_job(setting, arm, found.choice, found.rate, place, "report", seed, share)
        for share in arm.shares
        for seed in setting.seeds
    ]


def pending(arms: Sequence[Arm], setting: Setting, place: Place, losses: Losses, seen: Collection[str]) -> list[Job]:
    """Jobs that may start now, the most important first; those whose digest is in `seen` (running, given up) are not.

    Tier by tier; in a tier the searches, a run of each arm in turn, then whole budgets seed by seed over all arms, then
    parts of the budget. So a queue that is stopped early has told something of every arm, and leaves as many seeds of
    one as of another, to one.
    """
    jobs: dict[str, Job] = {}
    for tier in sorted({arm.tier for arm in arms}):
        members = [arm for arm in arms if arm.tier == tier and not (arm.missing or arm.waits)]
        searches = [search(arm, setting, place, losses) for arm in members]
        turns = [(len(s.tried) + i, job) for s in searches for i, job in enumerate(s.open)]
        jobs |= {job.digest: job for _, job in sorted(turns, key=lambda turn: turn[0])}
        runs = [(number, job) for number, arm in enumerate(members) for job in reported(arm, setting, place, losses)]
        runs.sort(key=lambda run: (run[1].share != 1, setting.seeds.index(run[1].seed), -run[1].share, run[0]))
        jobs |= {job.digest: job for _, job in runs if job.digest not in jobs}
    return [job for digest, job in jobs.items() if digest not in losses and digest not in seen]
