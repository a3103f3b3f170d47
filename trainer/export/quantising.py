"""A classifier, one with early exits, or a masked LM in int8: weights by output channel, activations as they come.

ONNX Runtime's dynamic quantisation on a CPU. Measured against torchao on the same weights (`benchmarks/int8.py`): it is
faster, and ready at once where torchao has to compile for a minute.
"""

from pathlib import Path

from trainer.export.exit_directory import write_exits
from trainer.export.exporting import write_card
from trainer.export.onnx_directory import OnnxDirectory
from trainer.export.onnx_file import check_onnx, finish, to_int8, write_graph
from trainer.export.source import Source, open_with_exits
from trainer.export.staging import check_empty, staged


def quantise(path: str | Path, output: str | Path, drop_notes: bool = False) -> Source:
    """Writes OUTPUT whole or not at all, as `export --format onnx` does.

    Raises RunInUseError where OUTPUT holds something, ExportError, RunError, CheckpointError, TokenizerError, OSError.
    """
    check_empty(output)
    source, exits = open_with_exits(path, drop_notes)
    check_onnx(source)
    with staged(output) as directory:
        if exits is not None:
            write_exits(source, exits, directory)
            write_card(source, "exits", directory)
            return source
        whole = directory / "whole.onnx"
        opset, outputs = write_graph(source, whole)
        to_int8(whole, OnnxDirectory(directory).onnx)
        whole.unlink()
        finish(source, directory, opset, outputs, "int8")
        write_card(source, "onnx", directory)
    return source
