"""Tries several learning rates from the same start and stops the hopeless ones early."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config import build_config
from trainer.log import read_log
from trainer.progress import ProgressLine
from trainer.train import train


@dataclass(frozen=True)
class Trial:
    learning_rate: float
    losses: tuple[float, ...]
    """Held-out loss, nats, at the end of each rung it took part in; infinite where it diverged."""

    @property
    def loss(self) -> float:
        return self.losses[-1]


def sweep(
    shards: str | Path,
    output: str | Path,
    rates: Sequence[float],
    config_path: str | Path | None = None,
    preset: str | None = None,
    overrides: Iterable[str] = (),
    rungs: int = 2,
    line: ProgressLine | None = None,
) -> list[Trial]:
    """Successive halving (Jamieson, Talwalkar 2016): every rate runs 1/2^(rungs-1) of the config's steps with a whole
    schedule of that length, the better half of them twice as many, and so on. Best first.

    Each rung starts anew, so that a rate is judged on a schedule that ends; a rate that diverges is out.
    Runs lie in OUTPUT/rung-R/lr-RATE. Raises what `train` raises, ValueError for no rate or a run by the clock, and
    KeyboardInterrupt where a signal stopped a run, with which the same call goes on.
    """
    from trainer.guard import DivergedError

    config = build_config(config_path, preset, overrides)
    if not rates or rungs < 1:
        raise ValueError("name at least one learning rate and one rung")
    if config.schedule.by != "steps":
        raise ValueError("a sweep needs schedule.by = steps")
    line = line or ProgressLine(quiet=True)
    trials = {rate: Trial(rate, ()) for rate in rates}
    left = list(trials)
    for rung in range(rungs):
        steps = max(1, config.schedule.steps >> (rungs - 1 - rung))
        for rate in left:
            run = Path(output) / f"rung-{rung}" / f"lr-{rate:g}"
            wanted = [*overrides, f"optimizer.learning_rate={rate!r}", f"schedule.steps={steps}"]
            line.label = f"rung {rung + 1} of {rungs}, learning rate {rate:g}"
            try:
                outcome = train(shards, run, config_path, preset, [*wanted, "guard.rollbacks=0"], True, line)
            except DivergedError:
                loss = float("inf")
            else:
                if outcome.result is None:
                    raise KeyboardInterrupt
                loss = min(r["loss"] for r in read_log(run / "log.jsonl")[-1:])
            trials[rate] = Trial(rate, (*trials[rate].losses, loss))
            line.note(f"{steps:,} steps: held-out loss {loss:.4f}")
        left = sorted(left, key=lambda rate: trials[rate].loss)[: max(1, -(-len(left) // 2))]
    return sorted(trials.values(), key=lambda trial: (-len(trial.losses), trial.loss))
