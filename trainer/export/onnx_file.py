"""Writes model.onnx by torch's exporter of exported programs (`dynamo=True`; the older one is deprecated) and compares
ONNX Runtime's numbers with ours before anything is kept."""

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from trainer.export.fast_tokenizer import fast_tokenizer
from trainer.export.graph import graph_of
from trainer.export.onnx_directory import INPUTS, OnnxDirectory, describe, need, session_of
from trainer.export.source import ExportError, Source, sample_rows

TOLERANCE = 1e-4
"""Of the outputs' largest difference, in units of the larger of 1 and their size."""
LOGGERS = ("torch.onnx", "torch.onnx._internal.exporter._registration", "onnxscript", "onnx_ir", "root")


def check_onnx(source: Source) -> None:
    """Raises ExportError where the packages are missing."""
    need("onnx", "onnxscript", "onnxruntime")


def write_onnx(source: Source, directory: Path) -> None:
    """model.onnx with its tokenizer and model.json. Raises ExportError, OSError."""
    place = OnnxDirectory(directory)
    opset, outputs = write_graph(source, place.onnx)
    difference = compare(source, place.onnx)
    if difference > TOLERANCE:
        raise ExportError(f"{source.path}: ONNX Runtime's numbers differ by {difference:.2g}; this is a bug, tell us")
    finish(source, directory, opset, outputs, "fp32")


def finish(source: Source, directory: Path, opset: int, outputs: list[str], precision: Any) -> None:
    """What lies beside model.onnx."""
    place = OnnxDirectory(directory)
    place.vocabulary.parent.mkdir()
    shutil.copyfile(source.vocabulary, place.vocabulary)
    tokenizer = json.dumps(fast_tokenizer(source.vocabulary), ensure_ascii=False)
    (directory / "tokenizer.json").write_text(tokenizer + "\n", encoding="utf-8")
    place.model_config.write_text(describe(source, place.onnx, opset, precision, outputs), encoding="utf-8")


def write_graph(source: Source, path: Path) -> tuple[int, list[str]]:
    """(opset, names of the outputs) of the file, which takes any batch and any length up to the model's."""
    graph = graph_of(source)
    example = sample_rows(source)
    axes = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("length", min=1, max=source.config.max_length)}
    names = list(graph.outputs)
    with quiet():
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            input_names=list(INPUTS),
            output_names=names,
            dynamic_shapes=dict.fromkeys(INPUTS, axes),
            verbose=False,
        )
        assert program is not None
        _forget_origin(program.model)
        program.save(path, external_data=False)
    return program.model.opset_imports[""], names


def _forget_origin(model: Any) -> None:
    """The exporter notes at every node which lines of which files it came from, with this machine's paths."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


@torch.no_grad()
def compare(source: Source, path: Path) -> float:
    """Largest difference of the outputs at positions that are not padding."""
    graph, session = graph_of(source), session_of(path, 1)
    difference = 0.0
    for rows in (3, 1):
        tokens_BT, mask_BT = sample_rows(source, rows)
        if rows == 1:
            tokens_BT, mask_BT = tokens_BT[:, :5], mask_BT[:, :5]
        ours = graph(tokens_BT, mask_BT)
        theirs = session.run(None, {"input_ids": tokens_BT.numpy(), "attention_mask": mask_BT.numpy()})
        for mine, other in zip(ours if isinstance(ours, tuple) else (ours,), theirs, strict=True):
            inside = mask_BT.bool() if mine.ndim == 3 else slice(None)
            scale = max(1.0, float(mine.abs().max()))
            difference = max(difference, float((mine - torch.from_numpy(other))[inside].abs().max()) / scale)
    return difference


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say about themselves."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
