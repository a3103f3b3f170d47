"""`siliang-trainer predict`, for every directory with a classifier in it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.console import errors
from trainer.fill_command import InputFormat
from trainer.finetune.command import TextB
from trainer.light.early_exit.command import Batch, Latency, Lose, Speed

if TYPE_CHECKING:
    from trainer.finetune.table import Row


def predict(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="What finetune, early-exit, quantise or export --format onnx wrote.", show_default=False
        ),
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="Texts, one a line; with --text a table.", show_default=False)
    ],
    text: Annotated[
        str | None, typer.Option("--text", metavar="COL", help="Column of the text in a TSV, CSV or JSON lines.")
    ] = None,
    text_b: TextB = None,
    input_format: InputFormat = None,
    refuse_long: Annotated[
        bool, typer.Option("--refuse-long", help="A text longer than the model is an error, not cut.")
    ] = False,
    speed: Speed = None,
    lose: Lose = None,
    latency: Latency = None,
    batch: Batch = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines with all probabilities.")] = False,
) -> None:
    """Label texts: one line each, the label and its probability (a regression's value; the labels of words).

    --speed, --lose and --latency are for what early-exit wrote, in place of the speed that was chosen there.
    """
    with errors():
        from trainer.any_classifier import open_classifier
        from trainer.finetune.prediction import predict_rows
        from trainer.light.early_exit.wish import Wish

        wish = Wish(speed, lose, latency, batch)
        loaded, answer = open_classifier(run, wish, lambda text: typer.echo(text, err=True))
        rows = _rows(file, text, text_b, input_format, loaded.head.pair)
        cut = 0
        for found in predict_rows(loaded, rows, refuse_long, answer):
            cut += found["cut"]
            typer.echo(json.dumps(found, ensure_ascii=False) if as_json else _line(found))
        if cut:
            typer.echo(f"{cut:,} texts were longer than the model and were cut", err=True)


def _line(found: dict[str, Any]) -> str:
    if "value" in found:
        return f"{found['value']:.6g}"
    if "labels" in found:
        return " ".join("_" if label is None else label for label in found["labels"])
    return f"{found['label']}\t{found['probability']:.4f}"


def _rows(file: str, text: str | None, text_b: str | None, input_format: str | None, pair: bool) -> "Iterator[Row]":
    from trainer.config import ConfigError
    from trainer.finetune.table import Columns
    from trainer.text_input import check_input, read_input

    columns = None if text is None else Columns(text, text_b)
    check_input(columns, input_format)
    if text is not None and (text_b is not None) != pair:
        raise ConfigError(f"this classifier reads {'pairs: add --text-b COL' if pair else 'single texts: no --text-b'}")
    if text is None and text_b is not None:
        raise ConfigError("--text-b belongs to tables: add --text COL")
    return read_input(file, columns, input_format, pair)
