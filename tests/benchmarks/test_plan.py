"""The search and the order of runs."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ablations.arms import read_arms, read_settings, together, usable
from benchmarks.ablations.plan import frontier, make_job, pending, reported, search

RATES = (1e-4, 2e-4, 4e-4, 8e-4, 16e-4)


@given(st.integers(0, 4), st.integers(0, 4))
def test_a_search_ends_at_the_minimum_of_a_valley(bottom: int, start: int) -> None:
    losses: dict[float, float] = {}
    while wanted := frontier(losses, RATES, RATES[start]):
        assert not losses.keys() & set(wanted)
        losses |= {rate: abs(RATES.index(rate) - bottom) for rate in wanted}
    assert min(losses, key=losses.__getitem__) == RATES[bottom]
    neighbours = {RATES[i] for i in (bottom - 1, bottom + 1) if 0 <= i < len(RATES)}
    assert neighbours <= losses.keys()


def complete(arm, setting, place, loss_of) -> tuple[dict[str, float], list]:
    """Runs the search with a made-up loss; (losses, jobs in their order)."""
    losses, jobs = {}, []
    while wanted := search(arm, setting, place, losses).open:
        jobs += wanted
        losses |= {job.digest: loss_of(job) for job in wanted}
    return losses, jobs


def test_choices_are_tried_at_the_best_rate_and_the_best_is_searched_again(arm, setting, place) -> None:
    subject = arm("a", choices=("cosine", "wsd"))

    def loss_of(job) -> float:
        best = {"as it is": 8e-4, "cosine": 2e-4, "wsd": 8e-4}[job.choice]
        floor = {"as it is": 3.0, "cosine": 2.0, "wsd": 2.9}[job.choice]
        return floor + abs(RATES.index(job.rate) - RATES.index(best)) * 0.1

    losses, jobs = complete(subject, setting, place, loss_of)
    found = search(subject, setting, place, losses)
    assert (found.choice.name, found.rate) == ("cosine", 2e-4)
    assert [(j.choice, j.rate) for j in jobs if j.choice == "wsd"] == [("wsd", 8e-4)]
    assert {j.seed for j in jobs} == {setting.tuning_seed}
    assert {j.seconds for j in jobs} == {25.0}
    assert len({j.digest for j in jobs}) == len(jobs)
    runs = reported(subject, setting, place, losses)
    assert [(r.seed, r.rate, r.choice) for r in runs] == [(s, 2e-4, "cosine") for s in (1, 2, 3)]


def test_an_arm_with_a_rate_of_its_own_is_not_searched(arm, setting, place) -> None:
    subject = arm("a", rate=8e-4)
    assert search(subject, setting, place, {}).open == []
    assert [(r.kind, r.seed, r.rate) for r in reported(subject, setting, place, {})] == [
        ("report", seed, 8e-4) for seed in (1, 2, 3)
    ]


def test_finals_decide_between_the_best_choices_at_the_whole_budget(arm, setting, place) -> None:
    subject = arm("a", choices=("cosine", "wsd"), finals=2)
    short = {"as it is": 2.5, "cosine": 2.0, "wsd": 2.9}
    long = {"as it is": 1.5, "cosine": 1.6, "wsd": 1.0}

    def loss_of(job) -> float:
        return (long if job.kind == "final" else short)[job.choice] + abs(RATES.index(job.rate) - 2) * 0.1

    losses, jobs = complete(subject, setting, place, loss_of)
    finals = [job for job in jobs if job.kind == "final"]
    # The third was never asked, though it would have won.
    assert [(j.choice, j.rate, j.seed, j.seconds) for j in finals] == [
        ("cosine", 4e-4, setting.tuning_seed, 100.0), ("as it is", 4e-4, setting.tuning_seed, 100.0),
    ]  # fmt: skip
    found = search(subject, setting, place, losses)
    assert (found.choice.name, found.rate) == ("as it is", 4e-4)
    assert found.finals == {("cosine", 4e-4): 1.6, ("as it is", 4e-4): 1.5}
    assert {run.choice for run in reported(subject, setting, place, losses)} == {"as it is"}
    # Finals that diverge decide nothing.
    losses |= {job.digest: float("inf") for job in finals}
    assert reported(subject, setting, place, losses) == []


def test_an_arm_may_begin_where_its_base_ended(arm, setting, place) -> None:
    assert [job.rate for job in search(arm("a", start=8e-4), setting, place, {}).open] == [8e-4, 4e-4, 16e-4]
    # A rate that the setting has not: where the setting begins.
    assert [job.rate for job in search(arm("a", start=3e-4), setting, place, {}).open] == [4e-4, 2e-4, 8e-4]


def test_an_arm_that_diverges_everywhere_is_not_reported(arm, setting, place) -> None:
    losses, _ = complete(arm("a"), setting, place, lambda job: float("inf"))
    assert reported(arm("a"), setting, place, losses) == []


def test_tiers_then_seeds_so_that_an_early_stop_leaves_a_balanced_table(arm, setting, place) -> None:
    arms = [arm("a"), arm("b", shares=(1.0, 0.5, 0.25)), arm("c", tier=2), replace(arm("d"), missing="unknown key")]
    losses, order = {}, []
    while jobs := pending(arms, setting, place, losses, ()):
        order.append(jobs[0])
        losses[jobs[0].digest] = jobs[0].rate
    assert len({job.digest for job in order}) == len(order)
    told = [(job.arm, job.kind, job.seed, job.share) for job in order if job.kind == "report"]
    first = [(name, "report", seed, 1.0) for seed in (1, 2, 3) for name in ("a", "b")]
    parts = [("b", "report", seed, share) for seed in (1, 2, 3) for share in (0.5, 0.25)]
    assert told == [*first, *parts, *[("c", "report", seed, 1.0) for seed in (1, 2, 3)]]
    # The search asks for three rates at first: one of each arm in turn.
    assert [job.arm for job in order[:6]] == list("ababab")
    kinds = [(job.arm in "ab", job.kind) for job in order]
    assert kinds.index((True, "report")) > max(i for i, k in enumerate(kinds) if k == (True, "tune"))
    assert kinds.index((False, "tune")) > max(i for i, k in enumerate(kinds) if k[0])


def test_what_runs_or_was_given_up_is_left_out(arm, setting, place) -> None:
    jobs = pending([arm("a")], setting, place, {}, ())
    assert [j.digest for j in pending([arm("a")], setting, place, {}, {jobs[0].digest})] == [j.digest for j in jobs[1:]]


def test_a_digest_holds_what_decides_a_run_and_nothing_else(arm, setting, place) -> None:
    def digest(setting=setting, place=place, rate=4e-4, seed=1, share=1.0, **changes) -> str:
        subject = arm("a", **changes)
        return make_job(setting, subject, subject.choices[0], rate, place, "report", seed, share).digest

    same = [digest(), digest(title="other"), digest(replace(setting, title="other", tuning_seconds=1))]
    assert len(set(same)) == 1
    others = [
        digest(rate=8e-4),
        digest(seed=2),
        digest(share=0.5),
        digest(values={"model.positions": "b"}),
        digest(replace(setting, values={"model.layers": 3})),
        digest(place=replace(place, data="e" * 64)),
        digest(place=replace(place, machine="other")),
        digest(replace(setting, threads=2)),
    ]
    assert len({*same, *others}) == 1 + len(others)


def test_values_in_steps_shrink_with_the_budget_and_a_setting_may_replace_some(arm, setting, place) -> None:
    subject = arm("a", values={"notes.warm_step": 2000, "growth.depths": [1, 2, 4], "growth.at": [0.125, 0.3]})
    other = replace(setting, instead={"growth.depths": [2, 3], "growth.at": [0.5]})
    job = make_job(other, subject, subject.choices[0], 1e-3, place, "report", 1, 0.25)
    assert job.values["notes.warm_step"] == 500
    assert job.values["growth.depths"] == [2, 3]
    assert job.values["growth.at"] == [0.5]
    assert (job.values["schedule.by"], job.values["schedule.steps"]) == ("steps", 2500)


def test_a_setting_may_replace_a_value_by_what_it_was(arm, setting) -> None:
    other = replace(setting, instead={"growth.depths": {"[1, 2, 4]": [2, 3, 6], "[2, 4]": [3, 6]}})
    found = {
        len(depths): together(other, arm("a", values={"growth.depths": depths})) for depths in ([1, 2, 4], [2, 4], [4])
    }
    assert [found[n]["growth.depths"] for n in (3, 2, 1)] == [[2, 3, 6], [3, 6], [4]]


def test_no_choice_is_lost_in_the_larger_settings() -> None:
    settings = read_settings()
    for name in ("second", "long"):
        arms, left_out = usable(read_arms().values(), settings[name])
        assert not left_out
        assert not [arm.name for arm in arms.values() if arm.missing]


def test_every_searched_rate_key_keeps_its_ratio(arm, setting, place) -> None:
    subject = arm("a", rate_keys={"optimizer.learning_rate": 1.0, "optimizer.muon_learning_rate": 20.0})
    job = make_job(setting, subject, subject.choices[0], 4e-4, place, "tune", 9)
    assert (job.values["optimizer.learning_rate"], job.values["optimizer.muon_learning_rate"]) == (4e-4, 8e-3)
