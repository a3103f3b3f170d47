"""Checkpoints: safetensors and JSON, no pickle; atomic, verified on load, the last N and the best kept.

    RUN/checkpoints/step-00000123/
        model.safetensors      parameters and buffers by name
        optimizer.safetensors  '<parameter>/<state>' -> tensor
        averages.safetensors   the EMA of the parameters, where there is one
        state.json             everything else; holds the sha256 of the others

A checkpoint is written under a hidden name, flushed to the disk and renamed, so a visible one was complete once.
"""

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from schemas.manifest import file_digest

SCHEMA = "siliang-run/2"
MODEL_FILE = "model.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
AVERAGES_FILE = "averages.safetensors"
STATE_FILE = "state.json"


class CheckpointError(ValueError):
    """A checkpoint is damaged, of a newer version, or does not fit. The message names it and what to do."""


class DamagedError(CheckpointError):
    """This one checkpoint cannot be used; an earlier one may be."""


class RunState(BaseModel):
    """All of a run but its tensors; what state.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: str = Field(default=SCHEMA, alias="schema")
    step: int
    """Optimiser steps done."""
    stream: dict[str, Any]
    """Where the next batch is read."""
    tokens: int
    """Tokens trained on, padding not counted."""
    targets: int
    """Masked positions that were predicted."""
    seconds: float
    """Training seconds: steps and their data, without evaluation and checkpoints."""
    held_out_start: float
    """Held-out loss before the first step, nats."""
    held_out: float | None = None
    """Held-out loss at this step, where it was taken."""
    guard: dict[str, Any] = {}
    """What the guard has counted."""
    methods: dict[str, dict[str, Any]] = {}
    """State of each `Method`, by name; none in checkpoints from before there were any."""
    source: str = ""
    """Digest of the trainer's own source files."""
    device: str
    precision: str
    """Precision the run uses; 'auto' is resolved once, at the start of the run."""
    config: dict[str, Any]
    model: dict[str, Any]
    """The ModelConfig, with as many layers as the model has at this step."""
    data: dict[str, Any]
    """digest and vocabulary_size of the corpus."""
    versions: dict[str, str]
    random: dict[str, str]
    """State of torch's generators, base64: 'cpu', 'cuda:0', ..."""
    files: dict[str, str] = {}
    """Name -> sha256, filled in on writing."""


class Checkpoint(BaseModel):
    """A checkpoint in memory, on the CPU."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    path: Path
    state: RunState
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    averages: dict[str, Tensor] = {}


def random_state(device: torch.device) -> dict[str, str]:
    """States of the generators a step may draw from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return {name: base64.b64encode(state.numpy().tobytes()).decode("ascii") for name, state in states.items()}


def restore_random_state(states: dict[str, str], device: torch.device) -> None:
    for name, text in states.items():
        state = torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
        if name == "cpu":
            torch.set_rng_state(state)
        elif device.type == "cuda":
            torch.cuda.set_rng_state(state, device)


def unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors for safetensors; of tied ones, the first name alone."""
    seen: set[tuple[int, torch.Size]] = set()
    kept = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tensor.shape)
        if tensor.numel() and key in seen:
            continue
        seen.add(key)
        kept[name] = tensor.detach().cpu().contiguous()
    return kept


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checkpoints(directory: Path) -> list[Path]:
    """Visible checkpoints, oldest first."""
    return sorted(path for path in directory.glob("step-*") if path.is_dir()) if directory.is_dir() else []


def _discard(path: Path) -> None:
    # The rename takes it out of sight at once; removing the files one by one is not atomic.
    hidden = path.with_name(f".{path.name}.discard")
    shutil.rmtree(hidden, ignore_errors=True)
    os.rename(path, hidden)
    shutil.rmtree(hidden)


def clean(directory: Path) -> None:
    """Removes what an interrupted write or removal left behind."""
    for path in directory.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def _held_out(path: Path) -> float | None:
    try:
        return json.loads((path / STATE_FILE).read_bytes())["held_out"]
    except (OSError, KeyError, TypeError, ValueError):
        return None


def best_checkpoint(directory: Path) -> Path | None:
    """The visible one of the lowest held-out loss; the earlier one of equals."""
    losses = [(loss, path) for path in checkpoints(directory) if (loss := _held_out(path)) is not None]
    return min(losses)[1] if losses else None


def prune(directory: Path, keep: int, best: bool) -> None:
    """Removes all but the newest `keep` and, with `best`, the best one."""
    spared = best_checkpoint(directory) if best else None
    for old in checkpoints(directory)[:-keep]:
        if old != spared:
            _discard(old)


def save_checkpoint(
    directory: Path,
    state: RunState,
    model: dict[str, Tensor],
    optimizer: dict[str, Tensor],
    keep: int,
    averages: dict[str, Tensor] | None = None,
    best: bool = False,
) -> Path:
    """Writes DIRECTORY/step-NNNNNNNN durably, then removes all but the newest `keep` (and the best).

    Raises OSError where the disk is full or cannot be written; earlier checkpoints stay as they are.
    """
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"step-{state.step:08d}"
    temporary = directory / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        files = {}
        parts = {MODEL_FILE: model, OPTIMIZER_FILE: optimizer} | ({AVERAGES_FILE: averages} if averages else {})
        for name, tensors in parts.items():
            save_file(unshared(tensors), temporary / name)
            _sync(temporary / name)
            files[name] = file_digest(temporary / name)
        text = state.model_copy(update={"files": files}).model_dump_json(by_alias=True, indent=1)
        (temporary / STATE_FILE).write_text(text + "\n", encoding="utf-8")
        _sync(temporary / STATE_FILE)
        _sync(temporary)
    except SafetensorError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise OSError(f"{target}: cannot be written ({error})") from error
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if target.exists():
        _discard(target)
    os.rename(temporary, target)
    _sync(directory)
    prune(directory, keep, best)
    return target


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads and verifies one checkpoint. Raises DamagedError, or CheckpointError for another major version."""
    try:
        raw = json.loads((path / STATE_FILE).read_bytes())
        family, _, major = str(raw["schema"]).partition("/")
        if family != "siliang-run" or not major.isdigit():
            raise DamagedError(f"{path}: schema is {raw['schema']!r}, not a Siliang checkpoint")
        if int(major) > int(SCHEMA.partition("/")[2]):
            raise CheckpointError(
                f"{path}: schema {raw['schema']} is newer than this Siliang reads ({SCHEMA}); upgrade siliang"
            )
        if int(major) < int(SCHEMA.partition("/")[2]):
            raise CheckpointError(
                f"{path}: schema {raw['schema']} is older than this Siliang reads ({SCHEMA}); finish the run with the "
                "version that began it, or start anew under another --output"
            )
        state = RunState.model_validate(raw)
        names = [MODEL_FILE, OPTIMIZER_FILE] + ([AVERAGES_FILE] if AVERAGES_FILE in state.files else [])
        for name in names:
            if file_digest(path / name) != state.files.get(name):
                raise DamagedError(f"{path}: {name} does not match its sha256")
        tensors = {name: load_file(path / name) for name in names}
    except (OSError, KeyError, TypeError, ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path}: damaged ({type(error).__name__}: {str(error).splitlines()[0]})") from error
    except SafetensorError as error:
        raise DamagedError(f"{path}: damaged ({error})") from error
    return Checkpoint(
        path=path,
        state=state,
        model=tensors[MODEL_FILE],
        optimizer=tensors[OPTIMIZER_FILE],
        averages=tensors.get(AVERAGES_FILE, {}),
    )


def load_newest(directory: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is sound; each damaged one is told to `warn`. None where there is no checkpoint.

    Raises CheckpointError where all of them are damaged.
    """
    found = checkpoints(directory)
    for path in reversed(found):
        try:
            return load_checkpoint(path)
        except DamagedError as error:
            warn(f"{error}; falling back to the checkpoint before it")
    if found:
        raise CheckpointError(
            f"{directory}: no sound checkpoint among {len(found)}; remove the directory to start over"
        )
    return None
