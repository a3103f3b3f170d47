"""Small models with random weights in every parameter, as runs and classifiers; nothing is trained."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from schemas.manifest import file_digest
from trainer.finetune.classifier import Classifier
from trainer.finetune.directory import ClassifierDirectory, Head
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder
from trainer.run import RunDirectory
from trainer.sections.task import TaskConfig
from trainer.tasks.masked_lm import MaskedLM
from trainer.tokenizer import Tokenizer

os.environ["HF_HUB_OFFLINE"] = "1"

Make = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _modules_cache(tmp_path_factory: pytest.TempPathFactory):
    """transformers copies custom code here before it imports it."""
    from transformers import dynamic_module_utils

    patch = pytest.MonkeyPatch()
    patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
    yield
    patch.undo()


@torch.no_grad()
def scramble(module: torch.nn.Module, seed: int) -> None:
    """Norms' gains around 1, all else N(0, 0.2)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        draws = torch.randn(parameter.shape, generator=generator)
        gain = ("norm" in name and name.endswith("weight")) or name.endswith("scale")
        parameter.copy_(1 + 0.1 * draws if gain else 0.2 * draws)


@pytest.fixture(scope="session")
def config(prepared: Path) -> Callable[..., ModelConfig]:
    size = len(Tokenizer(prepared / "vocabulary" / "siliang.model"))

    def make(**changes: Any) -> ModelConfig:
        base = {"layers": 2, "width": 32, "heads": 4, "feed_forward": 48, "max_length": 40}
        return ModelConfig.model_validate({"vocabulary_size": size} | base | changes)

    return make


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Callable[[], Path]:
    """A new directory with the vocabulary in it."""
    root, numbers = tmp_path_factory.mktemp("models"), itertools.count()

    def make() -> Path:
        path = root / str(next(numbers))
        (path / "vocabulary").mkdir(parents=True)
        (path / "vocabulary" / "siliang.model").write_bytes((prepared / "vocabulary/siliang.model").read_bytes())
        return path

    return make


@pytest.fixture(scope="session")
def make_run(config, place) -> Make:
    """A masked-LM run's directory with random weights."""

    def make(**changes: Any) -> Path:
        path = place()
        model = MaskedLM(config(**changes))
        scramble(model, 1)
        RunDirectory(path).finish(model.state_dict(), model.config, TaskConfig(), {"steps": 7})
        return path

    return make


@pytest.fixture(scope="session")
def make_classifier(config, place) -> Make:
    """A classifier's directory with random weights."""

    def make(kind: str = "classification", pair: bool = False, **changes: Any) -> Path:
        path = place()
        labels = {"labels": ["no", "yes", "perhaps"]} if kind != "regression" else {"mean": 3.0, "scale": 2.5}
        digest = file_digest(path / "vocabulary" / "siliang.model")
        head = Head.model_validate({"kind": kind, "pair": pair, "max_length": 32, "vocabulary": digest, **labels})
        model = Classifier(Encoder(config(**changes)), head.meaning())
        scramble(model, 2)
        directory = ClassifierDirectory(path)
        directory.finish_finetuning(model.state_dict(), model.encoder.config, head, {"chosen": {}})
        return path

    return make
