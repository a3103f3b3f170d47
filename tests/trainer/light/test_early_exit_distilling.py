"""Branches learn from the frozen head: what is trained, what is not, and the defects of FastBERT's released code."""

import pytest
import torch
from torch.nn import functional as F

import trainer.light.early_exit.distilling as distilling
from trainer.config import ConfigError
from trainer.finetune.classifier import Classifier
from trainer.finetune.examples import collate
from trainer.finetune.labels import Labels
from trainer.light.early_exit.building import with_branches
from trainer.light.early_exit.calibration import SPEEDS, Calibration, Point, calibrate, leaving, points_of, time_speeds
from trainer.light.early_exit.distilling import DistillingError, all_logits, branch_loss, distil, divergence, factor
from trainer.light.early_exit.wish import Wish
from trainer.sections.early_exit import EarlyExitConfig


def frozen(model):
    return {n: t.clone() for n, t in model.state_dict().items() if not n.startswith("branches.")}


def learn(model_of, examples_of, dropout=0.0, **changes):
    torch.manual_seed(0)
    model, exits = model_of(dropout=dropout)
    model.dropout.p = dropout
    config = EarlyExitConfig(**({"epochs": 4, "batch_rows": 8, "learning_rate": 0.01, "threads": 1} | changes))
    return model, exits, distil(model, examples_of(48), examples_of(24, seed=1), config, 40)


def test_backbone_and_teacher_keep_their_bits_and_branches_learn(model_of, examples_of):
    model, _, history = learn(model_of, examples_of)
    fresh, _ = model_of()
    before, after = frozen(fresh), frozen(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    for k in range(3):
        best = history.divergences[history.best_epochs[k] - 1][k]
        assert best == min(epoch[k] for epoch in history.divergences)
        start = distilling.measure(fresh, examples_of(24, seed=1), 1000, 40, None)[k]
        assert best < 0.8 * start
        # The weights are those of the best epoch.
        assert distilling.measure(model, examples_of(24, seed=1), 1000, 40, None)[k] == pytest.approx(best, abs=1e-6)
    assert not any(p.requires_grad for p in model.parameters())
    assert not model.training


def test_the_teacher_is_the_fine_tuned_head_without_dropout(model_of, examples_of, monkeypatch):
    """(The released code took its logits with dropout on; in BitVoyage/FastBERT, issue 12, it was a random head.)"""
    taught = []
    original = distilling.branch_loss
    monkeypatch.setattr(
        distilling, "branch_loss", lambda s, t, y, c: (taught.append(t.clone()), original(s, t, y, c))[1]
    )
    learn(model_of, examples_of, dropout=0.5, epochs=2)
    fresh, _ = model_of(dropout=0.5)
    fresh.eval()
    with torch.no_grad():
        whole = fresh(collate(examples_of(48), range(48), 40))[0]
    rows = torch.cat(taught[::3])  # the same for each of three branches
    assert len(rows) == 96
    nearest = (rows[:, None] - whole[None]).abs().amax(-1).min(1).values
    assert float(nearest.max()) < 1e-4


def test_only_branches_are_dropped_out_by_the_setting(model_of, examples_of, monkeypatch):
    """(The released code's --dropout was overridden by its model's config.)"""
    model, _ = model_of(dropout=0.5)
    labels = Labels("classification", ("a", "b", "c"))
    classifier = Classifier(model.encoder, labels, 0.5)
    built, exits = with_branches(classifier, labels, EarlyExitConfig(dropout=0.3))
    built.train_branches()
    told = {name: (part.p, part.training) for name, part in built.named_modules() if isinstance(part, torch.nn.Dropout)}
    assert {value for name, value in told.items() if name.startswith("branches.")} == {(0.3, True)}
    assert {value[0] for name, value in told.items() if not name.startswith("branches.")} == {0.0}
    assert not any(value[1] for name, value in told.items() if not name.startswith("branches."))
    assert exits.exits == [1, 2, 3]
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, built.state_dict()[name])


@pytest.mark.parametrize("epochs", [2, 7])
def test_every_epoch_learns(model_of, examples_of, epochs):
    """(The released code planned its rate for three epochs, so all later ones had rate 0.)"""
    _, _, history = learn(model_of, examples_of, epochs=epochs)
    assert len(history.rates) == epochs
    assert min(history.rates) > 0
    assert len({tuple(found) for found in history.divergences}) == epochs
    steps = [factor(k, 100, 0.1) for k in range(100)]
    assert max(steps) == pytest.approx(1, abs=0.06)
    assert steps.index(max(steps)) in (9, 10)
    assert 0 < steps[-1] < 0.01
    assert 0 < steps[0] < 0.1


def test_weights_decay(model_of, examples_of):
    """(The released code named its groups' key so that no decay ever happened.)"""
    norms = {}
    for decay in (0.0, 5.0):
        model, _, _ = learn(model_of, examples_of, weight_decay=decay, epochs=1)
        norms[decay] = float(model.branches[0].down.weight.norm()), float(model.branches[0].norm.weight.norm())
    assert norms[5.0][0] < 0.9 * norms[0.0][0]
    assert norms[5.0][1] == pytest.approx(norms[0.0][1], rel=0.05)  # norms and biases are spared


def test_the_divergence_is_kl_of_teacher_and_branch(model_of):
    teacher, student = torch.randn(5, 4), torch.randn(5, 4)
    p, q = F.softmax(teacher / 2, -1), F.softmax(student / 2, -1)
    torch.testing.assert_close(divergence(teacher, student, 2.0), 4 * (p * (p / q).log()).sum(-1))
    labels = torch.tensor([0.0, 1, 2, 3, 0])
    mixed = branch_loss(student, teacher, labels, EarlyExitConfig(label_share=0.25))
    expected = 0.75 * divergence(teacher, student).mean() + 0.25 * F.cross_entropy(student, labels.long())
    torch.testing.assert_close(mixed, expected)


def test_the_same_seed_gives_the_same_bits(model_of, examples_of):
    torch.use_deterministic_algorithms(True)
    first, _, _ = learn(model_of, examples_of, epochs=2)
    torch.manual_seed(77)
    again, _, _ = learn(model_of, examples_of, epochs=2)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))


def test_it_says_that_it_diverged(model_of, examples_of):
    with pytest.raises(DistillingError, match="exit 1 diverged in epoch 1; lower learning_rate"):
        model, _ = model_of()
        model.branches[0].down.weight.data.fill_(float("nan"))
        distil(model, examples_of(8), examples_of(4), EarlyExitConfig(epochs=1), 40)


def test_calibration_says_what_happens(model_of, examples_of):
    model, exits, _ = learn(model_of, examples_of)
    examples = examples_of(60, seed=2)
    logits = all_logits(model, examples, 1000, 40, None)
    found = calibrate(model, exits, logits, examples, "accuracy", "d" * 64)
    truth = torch.tensor([e.labels[0] for e in examples])
    for point in found.points[::13]:
        told = model.answer(collate(examples, range(60), 40), point.speed)
        assert point.layers == pytest.approx(float(told.layers_B.float().mean()))
        assert point.score == pytest.approx(float((told.logits_BK.argmax(-1) == truth).float().mean()))
        counts = [int((told.layers_B == n).sum()) for n in (1, 2, 3, 4)]
        assert point.leaving == counts
    assert found.points[0].flops == 1
    assert found.points[0].score == found.full
    assert found.points[-1].flops < 0.5
    assert [p.speed for p in found.points] == sorted(SPEEDS)
    agreed, points = points_of(model, exits, logits, examples, "agreement", [0.0, 1.0])
    assert agreed == points[0].score == 1
    assert leaving(logits, None, 0.0).tolist() == [3] * 60


def point(speed, score, flops, **milliseconds):
    times = {int(name[1:]): value for name, value in milliseconds.items()}
    return Point(speed=speed, score=score, layers=1, flops=flops, leaving=[], milliseconds=times)


def test_a_wish_becomes_a_speed():
    points = [
        point(0, 0.90, 1, b1=8), point(0.1, 0.91, 1.02), point(0.2, 0.895, 0.8, b1=7), point(0.4, 0.88, 0.5, b1=4),
        point(0.6, 0.892, 0.4, b1=3.5), point(1, 0.8, 0.3, b1=2),
    ]  # fmt: skip
    found = Calibration(file="f", examples=9, metric="accuracy", full=0.9, machine="m", threads=1, points=points)
    assert Wish(lose=0).choose(found) == 0
    assert Wish(lose=0.5).choose(found) == 0.2
    assert Wish().choose(found) == Wish(lose=1).choose(found) == 0.6
    assert Wish(lose=100).choose(found) == 1
    assert Wish(latency=4).choose(found) == 0.4
    assert Wish(latency=100).choose(found) == 0
    assert Wish(speed=0.33).choose(found) == 0.33
    assert found.at(0.33).speed == 0.2
    with pytest.raises(ConfigError, match="took 2 ms; ask for more"):
        Wish(latency=1).choose(found)
    with pytest.raises(ConfigError, match=r"no time of batches of 32 is known; measured were batches of 1;"):
        Wish(latency=1, batch=32).choose(found)
    for bad in ({"speed": 1.5}, {"lose": -1}, {"latency": 0}, {"speed": 0.1, "lose": 1}, {"speed": float("nan")}):
        with pytest.raises(ConfigError):
            Wish(**bad)


def test_times_are_of_real_batches(model_of, examples_of):
    model, _ = model_of(layers=6, exits=[1], width=64, feed_forward=256)
    torch.nn.init.zeros_(model.branches[0].out.weight)
    model.branches[0].out.bias.data = torch.tensor([5.0, 0, 0])
    rows: dict[int, list[int]] = {0: [], 1: []}
    for number, seen in rows.items():
        model.encoder.layers[number].register_forward_hook(
            lambda layer, inputs, output, seen=seen: seen.append(len(inputs[0]))
        )
    found = time_speeds(model, examples_of(64), None, [0.0, 1.0], [1, 32], 0.05)
    assert found.keys() == {0.0, 1.0}
    assert all(set(times) == {1, 32} and min(times.values()) > 0 for times in found.values())
    # Full batches alone are timed; at speed 1 nothing gets past the first layer, in half of the passes or fewer (one
    # more at speed 0 warms up for each size).
    assert set(rows[0]) == set(rows[1]) == {1, 32}
    assert len(rows[0]) > 1.5 * len(rows[1])


def test_settings_are_checked():
    for bad in ({"exits": [2, 1]}, {"exits": []}, {"exits": [-1]}, {"latency_batches": [32, 1]}, {"label_share": 2}):
        with pytest.raises(ValueError, match=r"exits|latency_batches|label_share"):
            EarlyExitConfig(**bad)
    assert EarlyExitConfig().branch_width(768) == 128
    assert EarlyExitConfig().branch_width(16) == 8
    assert (EarlyExitConfig().rate(768), EarlyExitConfig().rate(128)) == (2e-4, 1e-3)
    assert (EarlyExitConfig().top(10), EarlyExitConfig().top(40), EarlyExitConfig(top_classes=3).top(5)) == (None, 5, 3)
