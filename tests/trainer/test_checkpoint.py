"""Checkpoints: exact, atomic, verified, pruned."""

import json
import resource
from pathlib import Path

import pytest
import torch
from torch import Tensor

from trainer.checkpoint import (
    CheckpointError,
    RunState,
    best_checkpoint,
    checkpoints,
    clean,
    load_checkpoint,
    load_newest,
    random_state,
    restore_random_state,
    save_checkpoint,
    unshared,
)
from trainer.writer import CheckpointWriter

CPU = torch.device("cpu")


def state(step: int) -> RunState:
    return RunState(
        step=step, stream={"epoch": 1, "window": 2, "row": step}, tokens=10 * step, targets=step, seconds=0.1 * step,
        held_out_start=6.5, device="cpu", precision="fp32", config={"a": {"b": 1}}, model={"layers": 2},
        data={"train": "0f"}, versions={"torch": torch.__version__}, random=random_state(CPU),
    )  # fmt: skip


def tensors(step: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(step)
    return {"w": torch.randn(3, 4, generator=generator)}, {"w/exp_avg": torch.randn(3, 4, generator=generator)}


def save(directory: Path, step: int, keep: int = 10) -> Path:
    return save_checkpoint(directory, state(step), *tensors(step), keep)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    path = save(tmp_path, 123)
    assert path.name == "step-00000123"
    assert sorted(p.name for p in path.iterdir()) == ["model.safetensors", "optimizer.safetensors", "state.json"]
    loaded = load_checkpoint(path)
    model, optimizer = tensors(123)
    assert torch.equal(loaded.model["w"], model["w"])
    assert torch.equal(loaded.optimizer["w/exp_avg"], optimizer["w/exp_avg"])
    assert loaded.state.model_copy(update={"files": {}}) == state(123)
    assert loaded.state.seconds == 0.1 * 123


def test_last_ones_are_kept(tmp_path: Path) -> None:
    for step in (5, 90, 100, 7000):
        save(tmp_path, step, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == [p.name for p in tmp_path.glob("step-*")]
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000100", "step-00007000"]


def test_the_best_is_kept_beside_the_last_ones(tmp_path: Path) -> None:
    losses = {1: 5.0, 2: 3.0, 3: None, 4: 4.0, 5: 3.5, 6: None}
    for step, loss in losses.items():
        scored = state(step).model_copy(update={"held_out": loss})
        save_checkpoint(tmp_path, scored, *tensors(step), keep=2, averages={"w": torch.ones(2)}, best=True)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002", "step-00000005", "step-00000006"]
    assert best_checkpoint(tmp_path) == tmp_path / "step-00000002"
    assert torch.equal(load_checkpoint(tmp_path / "step-00000006").averages["w"], torch.ones(2))


def test_a_write_in_the_background_holds_what_was_there_at_the_call(tmp_path: Path) -> None:
    """And one after the other; tied tensors stay tied in the snapshot."""
    told: list[str] = []
    writer = CheckpointWriter(tmp_path, keep=5, best=False, warn=told.append)
    weight = torch.zeros(1000)
    for step in (1, 2, 3):
        writer.submit(state(step), {"a": weight, "b": weight}, {}, {})
        weight += 1
    writer.wait(strict=True)
    for step in (1, 2, 3):
        loaded = load_checkpoint(tmp_path / f"step-0000000{step}")
        assert list(loaded.model) == ["a"]
        assert loaded.model["a"].unique().tolist() == [step - 1]
    assert told == []


def test_a_background_write_to_a_full_disk_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    writer = CheckpointWriter(tmp_path, keep=5, best=False, warn=told.append)
    writer.submit(state(1), *tensors(1), {})
    writer.wait()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        writer.submit(state(2), {"w": torch.zeros(1 << 18)}, {}, {})
        writer.wait()
        writer.submit(state(3), {"w": torch.zeros(1 << 18)}, {}, {})
        with pytest.raises(OSError, match=r"step-00000003|File too large"):
            writer.wait(strict=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(told) == 1
    assert "training goes on, earlier checkpoints are intact" in told[0]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_the_same_step_is_written_anew(tmp_path: Path) -> None:
    path = save(tmp_path, 5)
    (path / "model.safetensors").write_bytes(b"damaged")
    assert save(tmp_path, 5) == path
    assert load_checkpoint(path).state.step == 5


def damage_byte(path: Path) -> None:
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "model.safetensors").write_bytes(data)


def cut_state(path: Path) -> None:
    data = (path / "state.json").read_bytes()
    (path / "state.json").write_bytes(data[: len(data) // 2])


def remove_optimizer(path: Path) -> None:
    (path / "optimizer.safetensors").unlink()


def drop_key(path: Path) -> None:
    data = json.loads((path / "state.json").read_bytes())
    del data["step"]
    (path / "state.json").write_text(json.dumps(data), encoding="utf-8")


def foreign(path: Path) -> None:
    (path / "state.json").write_text("[]", encoding="utf-8")


@pytest.mark.parametrize("damage", [damage_byte, cut_state, remove_optimizer, drop_key, foreign])
def test_a_damaged_newest_falls_back(tmp_path: Path, damage) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    damage(newest)
    told: list[str] = []
    checkpoint = load_newest(tmp_path, told.append)
    assert checkpoint is not None
    assert checkpoint.state.step == 1
    assert len(told) == 1
    assert str(newest) in told[0]
    assert "falling back" in told[0]
    assert "\n" not in told[0]


def test_all_damaged_is_an_error(tmp_path: Path) -> None:
    for step in (1, 2):
        damage_byte(save(tmp_path, step))
    told: list[str] = []
    with pytest.raises(CheckpointError, match="no sound checkpoint among 2"):
        load_newest(tmp_path, told.append)
    assert len(told) == 2


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "none", pytest.fail) is None


def test_another_version_is_refused_not_skipped(tmp_path: Path) -> None:
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    text = (path / "state.json").read_text(encoding="utf-8")
    for schema, message in (
        ("siliang-run/3", r"siliang-run/3 is newer than .*; upgrade siliang"),
        ("siliang-run/1", r"siliang-run/1 is older than .*; finish the run with the version that began it"),
    ):
        (path / "state.json").write_text(text.replace("siliang-run/2", schema), encoding="utf-8")
        with pytest.raises(CheckpointError, match=message):
            load_newest(tmp_path, pytest.fail)


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    """The kernel refuses to let files grow beyond a limit, as a full disk would."""
    save(tmp_path, 1, keep=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = {"w": torch.zeros(1 << 18)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(OSError, match=r"step-00000002|File too large"):
            save_checkpoint(tmp_path, state(2), big, big, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert load_checkpoint(tmp_path / "step-00000001").state.step == 1


def test_leftovers_of_a_kill_are_cleaned(tmp_path: Path) -> None:
    save(tmp_path, 1)
    for name in (".step-00000002.tmp", ".step-00000000.discard"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000001"]
    clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_random_state_continues(tmp_path: Path) -> None:
    torch.manual_seed(3)
    torch.rand(5)
    kept = random_state(CPU)
    expected = torch.rand(7)
    torch.manual_seed(99)
    restore_random_state(json.loads(json.dumps(kept)), CPU)
    assert torch.equal(torch.rand(7), expected)


def test_tied_tensors_are_written_once() -> None:
    shared = torch.randn(2, 3)
    assert list(unshared({"a": shared, "b": shared, "c": shared.clone()})) == ["a", "c"]
