"""Writes model.onnx by torch's exporter of exported programs (`dynamo=True`; the older one is deprecated) and compares
ONNX Runtime's numbers with ours before anything is kept."""

import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.export.fast_tokenizer import fast_tokenizer
from trainer.export.graph import graph_of
from trainer.export.onnx_directory import INPUTS, OnnxDirectory, Precision, describe, need, session_of
from trainer.export.source import ExportError, Source, sample_rows

TOLERANCE = 1e-4
"""Of the outputs' largest difference, in units of the larger of 1 and their size."""
LOGGERS = ("torch.onnx", "torch.onnx._internal.exporter._registration", "onnxscript", "onnx_ir", "root")


def check_onnx(source: Source) -> None:
    """Raises ExportError where the packages are missing."""
    need("onnx", "onnxscript", "onnxruntime")


def write_onnx(source: Source, directory: Path) -> None:
    """model.onnx with its tokenizer and model.json. Raises ExportError, OSError."""
    opset, outputs = write_graph(source, OnnxDirectory(directory).onnx)
    finish(source, directory, opset, outputs, "fp32")


def finish(source: Source, directory: Path, opset: int, outputs: list[str], precision: Precision) -> None:
    """What lies beside model.onnx."""
    place = OnnxDirectory(directory)
    place.vocabulary.parent.mkdir()
    shutil.copyfile(source.vocabulary, place.vocabulary)
    tokenizer = json.dumps(fast_tokenizer(source.vocabulary), ensure_ascii=False)
    (directory / "tokenizer.json").write_text(tokenizer + "\n", encoding="utf-8")
    place.model_config.write_text(describe(source, place.onnx, opset, precision, outputs), encoding="utf-8")


def write_graph(source: Source, path: Path) -> tuple[int, list[str]]:
    """(opset, names of the outputs) of the file, which takes any batch and any length up to the model's.

    Raises ExportError where ONNX Runtime's numbers are not ours.
    """
    graph, rows = graph_of(source), sample_rows(source)
    names = list(graph.outputs)
    opset = write_module(graph, rows, INPUTS, names, source.config.max_length, path)
    for fed in (rows, tuple(x[2:, :5] for x in rows)):
        with torch.no_grad():
            check_numbers(path, INPUTS, fed, graph(*fed))
    return opset, names


def write_module(
    module: torch.nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    longest: int,
    path: Path,
) -> int:
    """The opset of the file. The first two axes of every input are the batch and a length up to `longest`."""
    axes = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("length", min=1, max=longest)}
    with quiet():
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=(axes,) * len(inputs),
            verbose=False,
        )
        assert program is not None
        _forget_origin(program.model)
        program.save(path, external_data=False)
    return program.model.opset_imports[""]


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


def to_int8(whole: Path, output: Path) -> None:
    """From one ONNX file to another: products with weights, and the table of embeddings."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(whole, output, per_channel=True, weight_type=QuantType.QInt8)
    session_of(output, 1)


def check_numbers(path: Path, inputs: Sequence[str], fed: Sequence[Tensor], ours: Tensor | tuple[Tensor, ...]) -> None:
    """Raises ExportError where ONNX Runtime's outputs are not ours. The last of `fed` is the mask: what comes out at
    padding is not compared."""
    mask_BT = fed[-1].bool()
    theirs = session_of(path, 1).run(None, {name: x.numpy() for name, x in zip(inputs, fed, strict=True)})
    for mine, other in zip(ours if isinstance(ours, tuple) else (ours,), theirs, strict=True):
        inside = mask_BT if mine.ndim == 3 else slice(None)
        difference = float((mine - torch.from_numpy(other))[inside].abs().max()) / max(1.0, float(mine.abs().max()))
        if not difference <= TOLERANCE:
            raise ExportError(
                f"{path.name}: ONNX Runtime's numbers differ from ours by {difference:.2g}; nothing is kept"
            )


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
