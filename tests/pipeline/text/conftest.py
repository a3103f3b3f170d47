import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import RulesConfig
from pipeline.records import RECORDS
from pipeline.text.html import main_text
from pipeline.text.judge import cut_lines, judge
from pipeline.text.language import identify
from pipeline.text.repair import repair
from pipeline.text.statistics import measure

SAMPLES = Path(__file__).parents[3] / "samples"


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


def _batch(*texts: str | None, media: str = "text") -> pa.RecordBatch:
    """One row per text; None makes a quarantined row."""
    rows = [
        {
            "record": f"file.txt#{number}",
            "source": "test",
            "media": media,
            "doc_id": f"{number:032x}",
            "text": text or "",
            "chars_in": len(text or ""),
            "repairs": [],
            "quarantine": "invalid-utf8" if text is None else None,
            "detail": "byte 7" if text is None else None,
        }
        for number, text in enumerate(texts, 1)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=RECORDS)


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., pa.RecordBatch]:
    return _batch


@pytest.fixture(scope="session")
def clean() -> Callable[..., list[dict[str, Any]]]:
    """The whole way of the texts through this room, as one dict per row."""

    def run(*texts: str | None, media: str = "text", **config: Any) -> list[dict[str, Any]]:
        rules = RulesConfig(**{"sets": ("gopher-quality",), **config})
        batch = measure(identify(repair(main_text(_batch(*texts, media=media)))))
        return cut_lines(judge(batch, rules), rules).to_pylist()

    return run


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """reference.py beside this file."""
    spec = importlib.util.spec_from_file_location("statistics_reference", Path(__file__).with_name("reference.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def measured() -> Callable[..., list[dict[str, Any]]]:
    """The statistics of each text, all said to be of one script."""

    def run(*texts: str, script: str = "latin") -> list[dict[str, Any]]:
        columns = {
            "text": pa.array(texts, pa.string()),
            "script": pa.array([script] * len(texts), pa.string()),
            "quarantine": pa.nulls(len(texts), pa.string()),
        }
        return measure(pa.RecordBatch.from_pydict(columns)).drop_columns(list(columns)).to_pylist()

    return run
