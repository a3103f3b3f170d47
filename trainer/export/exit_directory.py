"""An early-exit classifier in int8: its directory, and the classifier in it.

DIR/segment-NN.onnx  model.json  vocabulary/siliang.model  README.md

Shape suffixes: B rows, T positions, K classes.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.manifest import file_digest
from trainer.checkpoint import CheckpointError
from trainer.data.buckets import MULTIPLE
from trainer.export.exit_segments import FIRST_INPUTS, LATER_INPUTS, write_segments
from trainer.export.onnx_directory import session_of
from trainer.export.onnx_file import to_int8
from trainer.export.source import Source
from trainer.finetune.directory import Head
from trainer.finetune.examples import Example, collate, scoring_batches
from trainer.finetune.prediction import BATCH_TOKENS, Answer
from trainer.light.early_exit.branch import uncertainty
from trainer.light.early_exit.directory import Exits, LoadedEarlyExit
from trainer.light.early_exit.model import EarlyExitClassifier
from trainer.model.config import ModelConfig
from trainer.run import MODEL_SCHEMA, RunDirectory, RunError
from trainer.tokenizer import Tokenizer

TASK = "onnx-early-exit"


class Segments(BaseModel):
    """What model.json says of the files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opset: int
    precision: Literal["int8"]
    sha256: list[str] = Field(min_length=2)
    """Of segment-00.onnx, segment-01.onnx, ..."""


class Described(BaseModel):
    """model.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["siliang-model/1"] = Field(alias="schema")
    task: Literal["onnx-early-exit"]
    config: ModelConfig
    classification: Head
    early_exit: Exits
    """Its scores and times are those of the model in fp32."""
    onnx: Segments


def write_exits(source: Source, loaded: LoadedEarlyExit, directory: Path) -> None:
    """All but README.md. Raises OSError."""
    model = loaded.model
    assert isinstance(model, EarlyExitClassifier)
    whole = directory / "whole"
    whole.mkdir()
    files, opset = write_segments(source, model, whole)
    digests = []
    for path in files:
        to_int8(path, directory / path.name)
        digests.append(file_digest(directory / path.name))
    shutil.rmtree(whole)
    place = RunDirectory(directory)
    place.vocabulary.parent.mkdir()
    shutil.copyfile(source.vocabulary, place.vocabulary)
    described = Described.model_validate(
        {
            "schema": MODEL_SCHEMA,
            "task": TASK,
            "config": source.config,
            "classification": loaded.head,
            "early_exit": loaded.exits,
            "onnx": Segments(opset=opset, precision="int8", sha256=digests),
        }
    )
    place.model_config.write_text(described.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")


class OnnxExits(BaseModel):
    """Ready to predict."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    sessions: list[Any]
    tokenizer: Tokenizer
    head: Head
    exits: Exits
    config: ModelConfig

    def at(self, speed: float) -> Answer:
        """At this speed; each text is told the `layers` that it went through. 0 is the whole model."""

        def answer(examples: Sequence[Example]) -> Iterator[tuple[NDArray[np.float32], dict[str, Any]]]:
            logits: list[Any] = [None] * len(examples)
            layers = [0] * len(examples)
            for numbers in scoring_batches(examples, BATCH_TOKENS):
                batch = collate(examples, numbers, self.config.max_length)
                found_BK, layers_B = self.answer(batch.tokens_BT.numpy(), batch.segments_BT.numpy(), speed)
                for k, row, layer in zip(numbers, found_BK, layers_B.tolist(), strict=True):
                    logits[k], layers[k] = row[None], layer
            yield from zip(logits, ({"layers": layer} for layer in layers), strict=True)

        return answer

    def answer(
        self, tokens_BT: NDArray[np.int64], mask_BT: NDArray[np.int64], speed: float
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(logits_BK, layers_B) of a batch. Raises CheckpointError for numbers that are not finite."""
        size = len(tokens_BT)
        logits_BK = np.empty((size, self.head.meaning().outputs), dtype=np.float32)
        layers_B = np.zeros(size, dtype=np.int64)
        rows, x, ends = np.arange(size), tokens_BT, [*self.exits.exits, self.config.layers]
        for number, (session, end) in enumerate(zip(self.sessions, ends, strict=True)):
            names = LATER_INPUTS if number else FIRST_INPUTS
            answered, *states = session.run(None, {names[0]: x, names[1]: mask_BT})
            if not np.isfinite(answered).all():
                raise CheckpointError(f"segment-{number:02}.onnx: answers with numbers that are not finite")
            if not states:
                logits_BK[rows], layers_B[rows] = answered, end
                break
            sure = uncertainty(torch.from_numpy(answered), self.exits.top_classes).numpy() < speed
            logits_BK[rows[sure]], layers_B[rows[sure]] = answered[sure], end
            if sure.all():
                break
            rows, mask_BT = rows[~sure], mask_BT[~sure]
            width = min(-(-int(mask_BT.sum(1).max()) // MULTIPLE) * MULTIPLE, mask_BT.shape[1])
            mask_BT, x = np.ascontiguousarray(mask_BT[:, :width]), np.ascontiguousarray(states[0][~sure, :width])
        return logits_BK, layers_B


def load_exits(path: str | Path) -> OnnxExits:
    """Raises RunError, CheckpointError, TokenizerError where it is damaged."""
    directory = RunDirectory(path)
    try:
        described = Described.model_validate_json(directory.model_config.read_bytes())
    except FileNotFoundError as error:
        raise RunError(f"{path}: no classifier here") from error
    except (ValidationError, OSError) as error:
        raise CheckpointError(f"{directory.model_config}: damaged ({str(error).splitlines()[0]})") from error
    tokenizer, head, exits = Tokenizer(directory.vocabulary), described.classification, described.early_exit
    if len(tokenizer) != described.config.vocabulary_size or file_digest(directory.vocabulary) != head.vocabulary:
        raise CheckpointError(f"{directory.vocabulary}: is not the vocabulary that this model was trained with")
    if len(described.onnx.sha256) != len(exits.exits) + 1 or exits.exits[-1] >= described.config.layers:
        raise CheckpointError(f"{directory.model_config}: exits, layers and files do not fit")
    sessions = []
    for number, digest in enumerate(described.onnx.sha256):
        file = directory.path / f"segment-{number:02}.onnx"
        if not file.is_file() or file_digest(file) != digest:
            raise CheckpointError(f"{file}: is not the file that model.json describes; quantise it again")
        session = session_of(file.read_bytes(), torch.get_num_threads())
        if session.get_outputs()[0].shape[-1] != head.meaning().outputs:
            raise CheckpointError(f"{file}: has not the outputs that model.json describes")
        sessions.append(session)
    return OnnxExits(sessions=sessions, tokenizer=tokenizer, head=head, exits=exits, config=described.config)
