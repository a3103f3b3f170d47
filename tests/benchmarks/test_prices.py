"""What a budget of seconds buys."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ablations.plan import make_job, to_price, unpriced
from benchmarks.ablations.prices import Bill, Price, Prices, Unpriced, add_prices, bill, key, phases, read_prices, spend
from benchmarks.ablations.pricing import on_list, times_of

GROWING = {"model.layers": 4, "growth.depths": [1, 2, 4], "growth.at": [0.125, 0.3]}


def list_of(*priced: tuple[dict, Price]) -> Prices:
    return Prices("abc123", "bf16", 1, {key(values): price for values, price in priced})


def test_a_price_does_not_depend_on_rate_seed_or_length() -> None:
    plain = {"model.positions": "rope", "data.batch_rows": 16}
    free = {"optimizer.learning_rate": 1e-3, "system.seed": 7, "schedule.warmup": 0.1, "evaluate.rows": 4}
    assert key({**plain, **free}) == key(plain)
    assert key({**plain, "model.positions": "alibi"}) != key(plain)


def test_a_depth_costs_its_own_price_for_its_share_of_the_time() -> None:
    shares = [share for share, _ in phases(GROWING)]
    assert shares == pytest.approx([0.125, 0.175, 0.7])
    # The last depth is the model's own: it has the price of the arm without growth.
    assert phases({**GROWING, "model.positions": "rope"})[-1][1] == {"model.layers": 4, "model.positions": "rope"}
    prices = list_of(*(({"model.layers": n}, Price(0.01 * n)) for n in (1, 2, 4)))
    bought = bill(GROWING, 100.0, prices)
    assert bought.steps == [1250, 875, 1750]
    assert bought.at(bought.total) == pytest.approx(100.0)
    assert bought.at(1250 + 100) == pytest.approx(12.5 + 2.0)
    told = spend(GROWING, bought)
    assert (told["schedule.by"], told["schedule.steps"]) == ("steps", 3875)
    # The trainer grows at these shares of the steps.
    assert [round(share * 3875) for share in told["growth.at"]] == [1250, 2125]


def test_a_falling_mask_rate_is_paid_at_its_mean_then_at_its_end() -> None:
    values = {"data.mask_rate": 0.3, "data.mask_rate_final": 0.1, "data.mask_rate_steps": 1}
    prices = list_of(({"data.mask_rate": 0.2}, Price(0.02)), ({"data.mask_rate": 0.1}, Price(0.01)))
    bought = bill(values, 10.0, prices)
    assert bought.steps == [250, 500]
    assert spend(values, bought)["data.mask_rate_steps"] == 250


def test_a_run_that_grows_while_its_mask_rate_falls_pays_each_stretch_at_its_own_price() -> None:
    values = {
        "model.layers": 4, "growth.depths": [2, 4], "growth.at": [0.3],
        "data.mask_rate": 0.3, "data.mask_rate_final": 0.1, "data.mask_rate_steps": 1,
    }  # fmt: skip
    found = phases(values)
    assert [share for share, _ in found] == pytest.approx([0.3, 0.2, 0.5])
    assert [(own["model.layers"], own["data.mask_rate"]) for _, own in found] == [(2, 0.2), (4, 0.2), (4, 0.1)]
    prices = list_of(*((own, Price(price)) for (_, own), price in zip(found, (0.01, 0.02, 0.01), strict=True)))
    bought = bill(values, 10.0, prices)
    assert bought.steps == [300, 100, 500]
    told = spend(values, bought)
    assert told["growth.at"] == [round(300 / 900, 6)]
    assert told["data.mask_rate_steps"] == 400


def test_a_warm_start_is_paid_once() -> None:
    values = {"notes.start": "warm", "notes.warm_step": 40}
    bought = bill(values, 10.0, list_of((values, Price(0.1, once=2.0))))
    assert bought.total == 80
    assert [bought.at(step) for step in (39, 40, 80)] == pytest.approx([3.9, 6.0, 10.0])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.floats(0.001, 1), st.integers(0, 220))
def test_time_rises_with_the_steps(counts: list[int], price: float, step: int) -> None:
    bought = Bill(counts, [price * (i + 1) for i in range(len(counts))])
    assert bought.at(step) < bought.at(step + 1)
    assert bought.at(0) == 0


def test_what_has_no_price_waits(arm, setting, place, tmp_path: Path) -> None:
    from dataclasses import replace

    subject = arm("a", choices=("cosine",), values={"model.positions": "rope"})
    bare = replace(setting, prices=None)
    assert unpriced(subject, bare, place)
    with pytest.raises(Unpriced, match="--price"):
        make_job(bare, subject, subject.choices[0], 1e-3, place, "tune", 9)
    wanted = to_price([subject], bare, "fp32")
    # The choice of a schedule has no price of its own.
    assert len(wanted) == 2
    assert len({key(values) for values in wanted.values()}) == 1
    entries = {key(values): {"step": 0.5, "once": 0.0} for values in wanted.values()}
    add_prices(tmp_path, "small", {"machine": {"id": "m"}, "precision": "fp32", "threads": 1}, {})
    add_prices(tmp_path, "small", {"machine": {"id": "m"}, "precision": "fp32", "threads": 1}, entries)
    known = replace(setting, prices=read_prices(tmp_path, "small"))
    assert json.loads((tmp_path / "prices-small.json").read_bytes())["entries"] == entries
    assert not unpriced(subject, known, place)
    assert make_job(known, subject, subject.choices[0], 1e-3, place, "tune", 9).bought.total == 50


def test_intervals_of_a_log() -> None:
    lines = [{"kind": "train", "step": s, "seconds": t} for s, t in ((10, 1.0), (20, 3.0), (40, 4.0))]
    assert times_of([{"kind": "held_out", "step": 0, "seconds": 0.0}, *lines]) == pytest.approx([0.1, 0.2, 0.05])


def test_what_is_added_later_is_at_the_speed_of_the_list() -> None:
    """Today the machine does the listed configs in 0.8, 0.9 and 0.5 of their seconds; the median counts."""
    known = {"a": 0.10, "b": 0.20, "c": 0.40, "elsewhere": 1.0}
    now = {"a": 0.08, "b": 0.18, "c": 0.20, "new": 0.27, "other": 0.09}
    found = on_list({key: {"name": key, "step": step, "once": 4.0} for key, step in now.items()}, known)
    assert list(found) == ["new", "other"]
    assert found["new"] == {"name": "new", "step": pytest.approx(0.27 / 0.8), "once": 5.0, "scale": 1.25}
    first = on_list({"new": {"name": "new", "step": 0.5, "once": 0.0}}, {})
    assert first["new"]["step"] == 0.5
