"""A classifier (or masked LM) in int8: weights per output channel, activations as they come, on a CPU.

ONNX Runtime's dynamic quantisation. Measured against torchao on the same weights (`benchmarks/int8.py`): it is faster,
ready at once where torchao has to compile for a minute, and one file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config import ConfigError
from trainer.export.exporting import write_card
from trainer.export.onnx_classifier import load_onnx
from trainer.export.onnx_directory import OnnxDirectory
from trainer.export.onnx_file import check_onnx, finish, quiet, write_graph
from trainer.export.source import Source, open_source
from trainer.export.staging import check_empty, staged
from trainer.finetune.classifier import scores_of
from trainer.finetune.directory import Loaded, load_classifier
from trainer.finetune.examples import Encoding, Example
from trainer.finetune.prediction import whole_model
from trainer.finetune.table import Columns, TableError, read_rows


def quantise(path: str | Path, output: str | Path, drop_notes: bool = False) -> Source:
    """Writes OUTPUT whole or not at all, as `export --format onnx` does.

    Raises RunInUseError where OUTPUT holds something, ExportError, RunError, CheckpointError, TokenizerError, OSError.
    """
    check_empty(output)
    source = open_source(path, drop_notes)
    check_onnx(source)
    with staged(output) as directory:
        whole = directory / "whole.onnx"
        opset, outputs = write_graph(source, whole)
        to_int8(whole, OnnxDirectory(directory).onnx)
        whole.unlink()
        finish(source, directory, opset, outputs, "int8")
        write_card(source, "onnx", directory)
    return source


def to_int8(whole: Path, output: Path) -> None:
    """From one ONNX file to another: products with weights, and the table of embeddings."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(whole, output, per_channel=True, weight_type=QuantType.QInt8)


@dataclass(frozen=True)
class Labelled:
    """A classifier and texts to score it on."""

    loaded: Loaded
    examples: list[Example]


def read_labelled(path: str | Path, file: str | Path, columns: Columns) -> Labelled:
    """Raises ConfigError for columns that the classifier does not read, TableError, LabelError naming file and line,
    and what `load_classifier` raises."""
    loaded = load_classifier(path)
    head, labels = loaded.head, loaded.head.meaning()
    if head.pair != (columns.text_b is not None):
        raise ConfigError(
            f"this classifier reads {'pairs: add --text-b COL' if head.pair else 'no pairs: no --text-b'}"
        )
    encoding = Encoding(loaded.tokenizer, head.kind, head.max_length, head.pair, False)
    examples = [encoding.encode(row, labels) for row in read_rows(file, columns)]
    if not any(example.at for example in examples):
        raise TableError(f"{file}: holds no example")
    return Labelled(loaded, examples)


def compare_scores(labelled: Labelled, quantised: str | Path) -> dict[str, Any]:
    """{'examples', 'fp32': scores, 'int8': scores, 'agreement': share of equal answers, None of values}."""
    head, examples = labelled.loaded.head, labelled.examples
    labels = head.meaning()
    whole = [logits for logits, _ in whole_model(labelled.loaded)(examples)]
    int8 = [logits for logits, _ in load_onnx(quantised).answer(examples)]
    agreement = None
    if head.kind == "regression":
        # Scores are of standardised values, as in training; the exported model answers with values.
        int8 = [(part - head.mean) / head.scale for part in int8]
    else:
        pairs = [(a.argmax(-1), b.argmax(-1)) for a, b in zip(whole, int8, strict=True)]
        agreement = sum(int((a == b).sum()) for a, b in pairs) / sum(len(a) for a, _ in pairs)
    return {
        "examples": len(examples),
        "fp32": scores_of(whole, examples, labels),
        "int8": scores_of(int8, examples, labels),
        "agreement": agreement,
    }
