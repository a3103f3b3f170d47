"""int8 on a CPU: ONNX Runtime's dynamic quantisation against torchao's, on the same classifier, one thread.

    python benchmarks/int8.py [--classifier DIR] [--threads N] [--quick]

Rows: the trainer's own model in fp32, model.onnx in fp32, int8 in the variants that ONNX Runtime has, and torchao's
int8 eager and compiled where torchao is installed (it is no requirement: `pip install torchao`). Numbers are ms of CPU
time of a batch, medians; `error` is the largest difference of a logit, over the logits' standard deviation. Without
--classifier the model is 6 layers of width 256 with random weights: of use for times, its errors say little.
The last line is one JSON object.
"""

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from torch import Tensor

from trainer.export.graph import graph_of
from trainer.export.onnx_directory import session_of
from trainer.export.onnx_file import quiet, to_int8, write_graph
from trainer.export.source import Source, open_source
from trainer.finetune.classifier import Classifier
from trainer.finetune.directory import Head
from trainer.finetune.labels import Labels
from trainer.model.config import ModelConfig
from trainer.model.encoder import Encoder

SHAPES = [(1, 32), (1, 128), (32, 32), (32, 128)]
Run = Callable[[Tensor, Tensor], np.ndarray]


def made_up() -> Source:
    torch.manual_seed(0)
    config = ModelConfig(vocabulary_size=16384, layers=6, width=256, heads=4, feed_forward=1024, max_length=128)
    model = Classifier(Encoder(config), Labels("classification", ("no", "yes"))).eval()
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    names = {"dense.weight": "dense.0.weight", "dense.bias": "dense.0.bias", "out.weight": "out.weight"}
    head = {name: tensors[key] for name, key in (names | {"out.bias": "out.bias"}).items()}
    told = Head(kind="classification", labels=["no", "yes"], max_length=128, vocabulary="")
    return Source(Path("made-up"), "classification", model.encoder, head, told, Path("none"))


def ours(source: Source) -> Run:
    """As `predict` computes it."""
    encoder, head = source.encoder, source.head

    @torch.inference_mode()
    def run(tokens_BT: Tensor, mask_BT: Tensor) -> np.ndarray:
        places_BT = torch.arange(tokens_BT.shape[1]).expand_as(tokens_BT)
        h_BD = encoder(tokens_BT, mask_BT, places_BT)[:, 0]
        h_BD = torch.tanh(torch.nn.functional.linear(h_BD, head["dense.weight"], head["dense.bias"]))
        return torch.nn.functional.linear(h_BD, head["out.weight"], head["out.bias"]).numpy()

    return run


def in_onnx(path: Path, threads: int) -> Run:
    session = session_of(path, threads)
    return lambda tokens, mask: session.run(["logits"], {"input_ids": tokens.numpy(), "attention_mask": mask.numpy()})[
        0
    ]


def variants(whole: Path, directory: Path) -> dict[str, Path]:
    """What is written, and what else could have been."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    found = {"int8, by channel (quantise)": directory / "chosen.onnx"}
    to_int8(whole, found["int8, by channel (quantise)"])
    others = {
        "int8, by tensor": {"weight_type": QuantType.QInt8},
        "int8, by channel, 7 bits": {"weight_type": QuantType.QInt8, "per_channel": True, "reduce_range": True},
        "uint8, by channel": {"weight_type": QuantType.QUInt8, "per_channel": True},
    }
    for number, (name, options) in enumerate(others.items()):
        found[name] = directory / f"{number}.onnx"
        with quiet():
            quantize_dynamic(whole, found[name], **options)
    return found


def torchao(source: Source) -> dict[str, Run]:
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
    except ImportError:
        print("torchao is not installed: its rows are left out")
        return {}
    # Copies: it changes modules in place, and they are the source's own.
    eager, compiled = (copy.deepcopy(graph_of(source)) for _ in range(2))
    for graph in (eager, compiled):
        quantize_(graph, Int8DynamicActivationInt8WeightConfig())
    torch._inductor.config.freezing = True
    fast = torch.compile(compiled, dynamic=True)

    def of(module: Callable[[Tensor, Tensor], Tensor]) -> Run:
        def run(tokens_BT: Tensor, mask_BT: Tensor) -> np.ndarray:
            with torch.inference_mode():
                return module(tokens_BT, mask_BT).numpy()

        return run

    start = time.perf_counter()
    for shape in ((2, 32), (3, 40)):
        of(fast)(torch.ones(shape, dtype=torch.int64), torch.ones(shape, dtype=torch.int64))
    print(f"torchao compiled in {time.perf_counter() - start:.0f} s")
    return {"torchao int8, eager": of(eager), "torchao int8, compiled": of(fast)}


def milliseconds(run: Run, tokens: Tensor, mask: Tensor, rounds: int) -> float:
    repeats = 5 if len(tokens) == 1 else 1
    run(tokens, mask)
    found = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(repeats):
            run(tokens, mask)
        found.append((time.process_time() - start) / repeats * 1e3)
    return median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    source = made_up() if arguments.classifier is None else open_source(arguments.classifier)
    longest = source.longest
    shapes = [(rows, min(length, longest)) for rows, length in (SHAPES[:3:2] if arguments.quick else SHAPES)]
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole.onnx"
        write_graph(source, whole)
        files = {"ONNX Runtime fp32": whole} | variants(whole, Path(name))
        runs = {"trainer, torch fp32": ours(source)}
        runs |= {row: in_onnx(path, arguments.threads) for row, path in files.items()}
        sizes = {row: path.stat().st_size for row, path in files.items()}
    if not arguments.quick:
        runs |= torchao(source)
    found: dict[str, dict[str, float]] = {row: {} for row in runs}
    generator = torch.Generator().manual_seed(0)
    for rows, length in shapes:
        tokens = torch.randint(6, source.config.vocabulary_size, (rows, length), generator=generator)
        mask = torch.ones_like(tokens)
        expected = runs["trainer, torch fp32"](tokens, mask)
        for row, run in runs.items():
            found[row][f"{rows} x {length}"] = milliseconds(run, tokens, mask, 3 if arguments.quick else 9)
            error = float(np.abs(run(tokens, mask) - expected).max() / expected.std())
            found[row]["error"] = max(error, found[row].get("error", 0.0))
    columns = [f"{rows} x {length}" for rows, length in shapes]
    print(f"{'ms of CPU':30}" + "".join(f"{column:>12}" for column in columns) + f"{'error':>9}{'MB':>8}")
    for row, cells in found.items():
        size = f"{sizes[row] / 1e6:8.1f}" if row in sizes else ""
        print(f"{row:30}" + "".join(f"{cells[c]:12.2f}" for c in columns) + f"{cells['error']:9.4f}" + size)
    print(json.dumps({"threads": arguments.threads, "milliseconds": found, "bytes": sizes}))


if __name__ == "__main__":
    main()
