"""torch.compile: the same numbers where there is a compiler, one line and plain training where there is none."""

from pathlib import Path

import pytest
import torch._inductor.config


@pytest.mark.slow
def test_without_a_compiler_the_run_goes_on(prepared: Path, tmp_path: Path, tools, monkeypatch, capsys) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler-here"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    few = {"schedule__steps": 3, "model__dropout": 0.1}
    with torch._inductor.config.patch({"cpp.cxx": (str(tmp_path / "no-compiler-here"),)}):
        tools.train(prepared, tmp_path / "run", overrides=tools.settings(**few, system__compile=True))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "torch.compile" in line]
    assert "training without it" in line
    tools.train(prepared, tmp_path / "plain", overrides=tools.settings(**few))
    names = ("run", "plain")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in names]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_compiled_losses_are_the_plain_ones(prepared: Path, tmp_path: Path, tools, capsys) -> None:
    few = {"schedule__steps": 5}
    compiled = tools.train(prepared, tmp_path / "a", overrides=tools.settings(**few, system__compile=True)).result
    assert "torch.compile does not work" not in capsys.readouterr().err
    plain = tools.train(prepared, tmp_path / "b", overrides=tools.settings(**few)).result
    assert compiled["held_out_loss_end"] == pytest.approx(plain["held_out_loss_end"], abs=1e-4)


@pytest.mark.slow
def test_a_grown_model_is_compiled_anew(prepared: Path, tmp_path: Path, tools, capsys) -> None:
    grows = {"model__layers": 2, "growth__depths": [1, 2], "growth__at": [0.5], "schedule__steps": 6}
    compiled = tools.train(prepared, tmp_path / "a", overrides=tools.settings(**grows, system__compile=True)).result
    assert "torch.compile does not work" not in capsys.readouterr().err
    plain = tools.train(prepared, tmp_path / "b", overrides=tools.settings(**grows)).result
    assert compiled["held_out_loss_end"] == pytest.approx(plain["held_out_loss_end"], abs=1e-4)
    assert compiled["layers"] == 2
