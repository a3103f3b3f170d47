"""The table of a setting, from results alone: losses, times, what is still to be run. Pure but for reading results."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from benchmarks.ablations.arms import Arm, Setting
from benchmarks.ablations.curves import left_at, mean_curve, share_to, time_to
from benchmarks.ablations.plan import Job, Place, reported, search
from benchmarks.ablations.results import Record, Results, as_job, run_loss

BASELINE, MODERN, TOGETHER = "bert", "rope", "all"


@dataclass
class Row:
    """An arm in a setting. Losses in nats, times in training seconds."""

    arm: Arm
    status: str
    """'not yet run', what the search waits for, 'N of M seeds', or why it cannot run."""
    choice: str | None = None
    rate: float | None = None
    seeds: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """By seed, whole budget; infinite where the run diverged."""
    shares: dict[float, list[float]] = field(default_factory=dict)
    """Share of the budget -> losses of runs with a schedule of that length."""
    runs: list[Record] = field(default_factory=list)
    """Of the whole budget, by seed."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """Mean over seeds."""
    failures: int = 0
    tried: dict[tuple[str, float], float] = field(default_factory=dict)
    """(choice, rate) -> loss of its search's runs that count; infinite where one diverged."""
    finals: dict[tuple[str, float], float] = field(default_factory=dict)
    """The same of those at the whole budget."""

    def by_seed(self, judge: str) -> dict[int, float]:
        """Seed -> loss of the run's own head ('held_out'), or of the one trained on its frozen encoder ('probe')."""
        if judge == self.arm.judge:
            return dict(zip(self.seeds, self.losses, strict=True))
        if judge == "held_out":
            return {}
        probes = {
            seed: _inside(run, ("measures", "probe", "held_out_loss"))
            for seed, run in zip(self.seeds, self.runs, strict=True)
        }
        return {seed: loss for seed, loss in probes.items() if loss is not None}

    @property
    def loss(self) -> float | None:
        return mean(self.losses) if self.losses else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None with fewer than two."""
        finite = len(self.losses) > 1 and all(map(math.isfinite, self.losses))
        return stdev(self.losses) if finite else None

    def average(self, *path: str) -> float | None:
        """Mean over runs of a number inside the records; None where a run lacks it."""
        found = [_inside(run, path) for run in self.runs]
        numbers = [number for number in found if number is not None]
        return mean(numbers) if numbers and len(numbers) == len(found) else None

    def seconds_to(self, level: float | None, budget: float) -> tuple[float, str] | None:
        """(training seconds to a loss, how they are known): 'budgets', from runs whose own schedules ended there; or
        'curve', from the mean curve of whole runs, whose rate had not yet fallen and which therefore are late."""
        if level is None or not self.losses or self.arm.judge != "held_out":
            return None
        if len(self.shares) > 1:
            found = share_to({share: mean(losses) for share, losses in self.shares.items()}, level)
            return None if found is None else (found[0] * budget, "budgets" if found[1] else "budgets, the least one")
        seconds = time_to(self.curve, level)
        return None if seconds is None else (seconds, "curve")


def _inside(value: Any, path: Sequence[str]) -> float | None:
    for key in path:
        if not isinstance(value, dict) or value.get(key) is None:
            return None
        value = value[key]
    return float(value)


@dataclass
class Summary:
    setting: Setting
    place: Place | None
    """None as long as nothing was run."""
    rows: list[Row]
    levels: dict[str, Any] | None = None

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.arm.name == name), None)

    def target(self, name: str) -> float | None:
        """Mean final loss of a control; None where a run of it diverged."""
        row = self.row(name)
        return row.loss if row and row.loss is not None and math.isfinite(row.loss) else None

    def difference(self, row: Row) -> tuple[float, float | None, int] | None:
        """(mean difference to the arm it is one change away from, its standard deviation, seeds), seed by seed; both
        by the probe where one of them is judged by it."""
        other = self.row(row.arm.against) if row.arm.against else None
        if other is None:
            return None
        judge = "probe" if "probe" in (row.arm.judge, other.arm.judge) else "held_out"
        ours, theirs = row.by_seed(judge), other.by_seed(judge)
        pairs = [loss - theirs[seed] for seed, loss in ours.items() if seed in theirs]
        if not pairs or not all(map(math.isfinite, pairs)):
            return None
        return mean(pairs), stdev(pairs) if len(pairs) > 1 else None, len(pairs)

    def left(self, row: Row) -> tuple[float | None, float | None]:
        """(seconds at which the first, the second plateau is left)."""
        if self.levels is None or not row.curve:
            return None, None
        return left_at(row.curve, self.levels["unigram_entropy"]), left_at(row.curve, self.levels["order_free"])

    def ratio(self, control: str) -> float | None:
        """Time of all together to a control's final loss, over the control's time."""
        row = self.row(TOGETHER)
        found = row.seconds_to(self.target(control), self.setting.seconds) if row else None
        return found[0] / self.setting.seconds if found else None

    def as_json(self) -> dict[str, Any]:
        target, budget = self.target(BASELINE), self.setting.seconds
        arms = {}
        for row in self.rows:
            found = row.seconds_to(target, budget)
            arms[row.arm.name] = {
                "loss": _number(row.loss),
                "spread": _number(row.spread),
                "seeds": len(row.seeds),
                "seconds_to_baseline": round(found[0], 1) if found else None,
                "status": row.status,
            }
        return {
            "setting": self.setting.name,
            "arms": arms,
            "all_vs_bert": _number(self.ratio(BASELINE), 3),
            "all_vs_modern": _number(self.ratio(MODERN), 3),
        }


def _number(value: float | None, digits: int = 4) -> float | None:
    """JSON has no infinity: a mean over a diverged run is null."""
    return round(value, digits) if value is not None and math.isfinite(value) else None


def best_place(results: Results, setting: Setting) -> Place | None:
    """Where most runs of a setting were done: other machines and corpora are other tables."""
    jobs = [as_job(record["job"]) for digest, record in results.records.items() if results.good(digest)]
    places = Counter(job.place for job in jobs if job.setting == setting.name)
    return places.most_common(1)[0][0] if places else None


def summarise(
    results: Results, arms: Sequence[Arm], setting: Setting, place: Place | None, levels: dict[str, Any] | None = None
) -> Summary:
    """Arms as `usable` gives them; a row for each, run or not."""
    losses = results.losses()
    rows = [_row(results, losses, arm, setting, place) for arm in arms]
    return Summary(setting, place, rows, levels)


def _row(results: Results, losses: dict[str, float], arm: Arm, setting: Setting, place: Place | None) -> Row:
    if arm.missing:
        return Row(arm, f"cannot run: {arm.missing}")
    if place is None or arm.waits:
        return Row(arm, f"not yet run; {arm.waits}" if arm.waits else "not yet run")
    found = search(arm, setting, place, losses)
    row = Row(arm, "not yet run", tried=found.tried, finals=found.finals)
    if found.choice is None or found.rate is None:
        if found.tried:
            row.status = "search begun" if found.open else "diverged at every rate"
        return row
    row.choice, row.rate = found.choice.name, found.rate
    jobs: list[Job] = reported(arm, setting, place, losses)
    for job in jobs:
        row.failures += results.failures(job.digest)
        run = results.good(job.digest)
        if run is None:
            continue
        row.shares.setdefault(job.share, []).append(run_loss(run))
        if job.share == 1:
            row.seeds.append(job.seed)
            row.losses.append(run_loss(run))
            row.runs.append(run)
    row.curve = mean_curve([run["curve"] for run in row.runs if run.get("curve")]) if arm.judge == "held_out" else []
    if row.seeds:
        row.status = f"{len(row.seeds)} of {len(setting.seeds)} seeds"
    elif row.tried:
        row.status = "searched, not yet run"
    return row
