"""Which rate, which seed: trials by rate, then by seed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from safetensors.torch import load_file

from trainer.finetune.classifier import predict, scores_of
from trainer.finetune.directory import ClassifierDirectory
from trainer.finetune.examples import Example
from trainer.finetune.trial import BEST_FILE, Job, TrialState, run_trial
from trainer.progress import ProgressLine


class FinetuneError(ValueError):
    """No trial came to an end that can be used."""


class Search:
    """Trials by rate, then by seed; each one's numbers lie in its directory, so none is done twice."""

    def __init__(self, job: Job, directory: ClassifierDirectory, line: ProgressLine, stop: Callable[[], bool]) -> None:
        self.job, self.directory, self.line, self.stop = job, directory, line, stop
        self.rates = job.config.rates(job.encoder().config.width)
        self.tried: list[TrialState] = []
        self._done: dict[Path, TrialState] = {}

    @property
    def planned(self) -> int:
        config = self.job.config
        searched = len(self.rates) * config.search_seeds if len(self.rates) > 1 else 0
        again = min(config.search_seeds, config.seeds) if searched else 0
        return searched + config.seeds - again

    def run(self) -> tuple[float, list[TrialState]]:
        """(the best rate, its trials with all seeds that did not diverge). Raises FinetuneError where none is left."""
        config = self.job.config
        seeds = range(config.seed, config.seed + config.seeds)
        rate = self.rates[0]
        if len(self.rates) > 1:
            searched = range(config.seed, config.seed + config.search_seeds)
            found = {rate: [self.trial(rate, seed) for seed in searched] for rate in self.rates}
            self.tried = [trial for trials in found.values() for trial in trials]
            scores = {rate: median(t.best(config.primary) for t in trials) for rate, trials in found.items()}
            # Of equals the lowest rate.
            rate = max(scores, key=lambda rate: (scores[rate], -rate))
            for other in self.rates:
                if other != rate:
                    for seed in searched:
                        (self.directory.trial(other, seed) / BEST_FILE).unlink(missing_ok=True)
        trials = [trial for seed in seeds if (trial := self.trial(rate, seed)).best_epoch]
        if not trials:
            raise FinetuneError("every trial diverged; lower learning_rates")
        return rate, trials

    def trial(self, rate: float, seed: int) -> TrialState:
        """One trial, or what it came to before."""
        place = self.directory.trial(rate, seed)
        if place not in self._done:
            metric, planned, before = self.job.config.primary, self.planned, len(self._done)

            def tell(share: float, text: str) -> None:
                self.line.update((before + share) / planned, text)

            state = run_trial(self.job, rate, seed, place, tell, self.stop)
            told = (
                f"{metric} {state.best(metric):.4f} after epoch {state.best_epoch}" if state.best_epoch else "diverged"
            )
            self.line.note(f"rate {rate:g}, seed {seed}: {told}")
            self._done[place] = state
        return self._done[place]

    def score(self, trial: TrialState, examples: Sequence[Example]) -> dict[str, float]:
        """A trial's best weights on other examples."""
        job = self.job
        model = job.classifier(trial.seed)
        model.load_state_dict(load_file(self.directory.trial(trial.rate, trial.seed) / BEST_FILE))
        model.eval()
        logits = predict(model, examples, job.config.batch_tokens, job.device, job.finder)
        return scores_of(logits, examples, job.labels)
