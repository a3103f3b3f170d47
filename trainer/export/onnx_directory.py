"""A directory with an ONNX model: what ONNX Runtime needs, and what `predict` needs to answer with it.

DIR/model.onnx  model.json  vocabulary/siliang.model  tokenizer.json  README.md
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.manifest import file_digest
from trainer.checkpoint import CheckpointError
from trainer.export.source import ExportError, Source
from trainer.finetune.directory import Head
from trainer.model.config import ModelConfig
from trainer.run import MODEL_SCHEMA, RunDirectory, RunError
from trainer.tokenizer import Tokenizer

TASK = "onnx"
ONNX_FILE = "model.onnx"
INPUTS = ("input_ids", "attention_mask")
Precision = Literal["fp32", "int8"]


class OnnxFacts(BaseModel):
    """What model.json says of model.onnx."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    opset: int
    precision: Precision
    outputs: list[str]


class Described(BaseModel):
    """model.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["siliang-model/1"] = Field(alias="schema")
    task: Literal["onnx"]
    config: ModelConfig
    onnx: OnnxFacts
    classification: Head | None = None
    """Of a classifier. A regression's outputs are values: mean 0, scale 1."""


class OnnxDirectory(RunDirectory):
    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.onnx = self.path / ONNX_FILE


def describe(source: Source, path: Path, opset: int, precision: Precision, outputs: list[str]) -> str:
    """model.json of a model at `path`."""
    head = source.classifier
    if head is not None and source.kind == "regression":
        head = head.model_copy(update={"mean": 0.0, "scale": 1.0})
    facts = OnnxFacts(sha256=file_digest(path), opset=opset, precision=precision, outputs=outputs)
    described = Described.model_validate(
        {"schema": MODEL_SCHEMA, "task": TASK, "config": source.config, "onnx": facts, "classification": head}
    )
    return described.model_dump_json(by_alias=True, indent=1) + "\n"


def read_described(path: str | Path) -> tuple[Described, Tokenizer]:
    """Checked against the files beside it. Raises RunError, CheckpointError, TokenizerError."""
    directory = OnnxDirectory(path)
    if not directory.model_config.is_file():
        raise RunError(f"{path}: no exported model here; `siliang-trainer export ... --format onnx` makes one")
    try:
        described = Described.model_validate_json(directory.model_config.read_bytes())
    except (ValidationError, OSError) as error:
        raise CheckpointError(f"{directory.model_config}: damaged ({str(error).splitlines()[0]})") from error
    if not directory.onnx.is_file() or file_digest(directory.onnx) != described.onnx.sha256:
        raise CheckpointError(f"{directory.onnx}: is not the file that model.json describes; export it again")
    tokenizer = Tokenizer(directory.vocabulary)
    head = described.classification
    if len(tokenizer) != described.config.vocabulary_size or (
        head is not None and file_digest(directory.vocabulary) != head.vocabulary
    ):
        raise CheckpointError(f"{directory.vocabulary}: is not the vocabulary that this model was trained with")
    return described, tokenizer


def need(*modules: str) -> None:
    """Raises ExportError where one is not installed."""
    from importlib.util import find_spec

    if missing := [name for name in modules if find_spec(name) is None]:
        raise ExportError(f"this needs {', '.join(missing)}: pip install 'siliang[export]'")


def session_of(model: bytes | Path, threads: int) -> Any:
    """An ONNX Runtime session on the CPU.

    From bytes no file beside it can be read. Raises CheckpointError where it is no model.
    """
    need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    content = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of a dozen kinds, all its own
        told = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(f"{'the model' if isinstance(model, bytes) else model}: {told}") from error
