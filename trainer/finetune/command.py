"""`siliang-trainer finetune` and `siliang-trainer predict`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.console import errors, print_numbers

Text = Annotated[str, typer.Option("--text", metavar="COL", help="Column of the text: a name, or a number from 1.")]
TextB = Annotated[str | None, typer.Option("--text-b", metavar="COL", help="Column of a second text: pairs.")]


def finetune(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a training run.", show_default=False)],
    train: Annotated[Path, typer.Option(metavar="FILE", help="TSV, CSV or JSON lines.", show_default=False)],
    valid: Annotated[Path, typer.Option(metavar="FILE", help="What rate and epoch are chosen by.", show_default=False)],
    text: Text,
    label: Annotated[str, typer.Option(metavar="COL", help="Column of the label.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the classifier goes.", show_default=False)
    ],
    text_b: TextB = None,
    test: Annotated[Path | None, typer.Option(metavar="FILE", help="Scored once, at the end.")] = None,
    kind: Annotated[str | None, typer.Option(help="classification (default), regression or tokens.")] = None,
    metric: Annotated[str | None, typer.Option(help="What decides: accuracy, f1, matthews, pearson, spearman.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings; see docs/finetune.md.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as epochs=5; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what --output holds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a classifier on a run's encoder: rates are tried, the best one goes on with several seeds.

    SIGTERM or Ctrl-C ends it at once; --resume goes on from the last finished epoch.
    """
    with errors():
        from trainer.finetune.data import Files
        from trainer.finetune.finetuning import finetune as run_finetuning
        from trainer.finetune.settings import build_settings
        from trainer.finetune.table import Columns
        from trainer.progress import ProgressLine

        chosen = {key: value for key, value in (("kind", kind), ("metric", metric)) if value is not None}
        settings = build_settings(config, overrides or (), chosen)
        files = Files(train, valid, Columns(text, text_b, label), test)
        result = run_finetuning(run, files, output, settings, ProgressLine(quiet=as_json), resume)
    if result is None:
        return
    if as_json:
        typer.echo(json.dumps(result))
        return
    rows = [("learning rate", f"{result['learning_rate']:g}")]
    for name in ("valid", "test"):
        for measured, found in result.get(name, {}).items():
            spread = f"median {found['median']:.4f} ({found['least']:.4f} to {found['greatest']:.4f})"
            rows.append((f"{name} {measured}", f"{spread} of {len(found['values'])}"))
    rows.append(("classifier", str(output)))
    print_numbers(rows)


def predict(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="What finetune wrote.", show_default=False)],
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="Texts, one a line; with --text a table.", show_default=False)
    ],
    text: Annotated[
        str | None, typer.Option("--text", metavar="COL", help="Column of the text in a TSV, CSV or JSON lines.")
    ] = None,
    text_b: TextB = None,
    input_format: Annotated[
        str | None, typer.Option("--format", help="tsv, csv or jsonl, where the file's name does not tell.")
    ] = None,
    refuse_long: Annotated[
        bool, typer.Option("--refuse-long", help="A text longer than the model is an error, not cut.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines with all probabilities.")] = False,
) -> None:
    """Label texts: one line each, the label and its probability (a regression's value; the labels of words)."""
    with errors():
        from trainer.finetune.directory import load_classifier
        from trainer.finetune.prediction import predict_rows

        loaded = load_classifier(run)
        cut = 0
        for found in predict_rows(loaded, _rows(file, text, text_b, input_format, loaded.head.pair), refuse_long):
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


def _rows(file: str, text: str | None, text_b: str | None, input_format: str | None, pair: bool) -> Iterator[Any]:
    """Rows of a table, or lines of plain text (of a pair: with a tab between)."""
    from trainer.config import ConfigError
    from trainer.finetune.table import Columns, Row, TableError, read_rows

    if input_format not in (None, "tsv", "csv", "jsonl"):
        raise ConfigError(f"--format {input_format}: allowed: tsv, csv, jsonl")
    if text is not None and (text_b is not None) != pair:
        raise ConfigError(f"this classifier reads {'pairs: add --text-b COL' if pair else 'single texts: no --text-b'}")
    if text is None and (text_b is not None or input_format is not None):
        raise ConfigError("--text-b and --format belong to tables: add --text COL")
    name = "standard input" if file == "-" else file
    lines = sys.stdin.buffer if file == "-" else None
    if text is not None:
        path = f"{name}.{input_format}" if input_format else name
        if lines is None and input_format:
            try:
                with open(file, "rb") as table:
                    yield from read_rows(path, Columns(text, text_b), table)
            except OSError as error:
                raise TableError(f"{file}: cannot be read ({error.strerror})") from error
            return
        yield from read_rows(path, Columns(text, text_b), lines)
        return
    opened: Any
    try:
        opened = lines or open(file, "rb")  # noqa: SIM115 (closed below; standard input stays open)
    except OSError as error:
        raise TableError(f"{file}: cannot be read ({error.strerror})") from error
    try:
        for number, line in enumerate(opened, 1):
            where = f"{name}: line {number:,}"
            try:
                whole = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise TableError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from error
            first, tab, second = whole.partition("\t")
            if pair and (not tab or "\t" in second):
                raise TableError(f"{where}: a pair is two texts with one tab between them")
            yield Row(where, first, second) if pair else Row(where, whole)
    finally:
        if lines is None:
            opened.close()
