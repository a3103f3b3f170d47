"""`siliang-trainer compress prune`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.console import ProgressMode, ProgressSeconds, errors, print_numbers

Share = Annotated[float | None, typer.Option(metavar="SHARE", help="Above 0, at most 1; of the model as it is.")]
Table = Annotated[Path | None, typer.Option(metavar="FILE", help="TSV, CSV or JSON lines (a classifier's).")]


def prune(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A classifier or a run.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where it goes; new or empty.", show_default=False)
    ],
    train: Table = None,
    valid: Table = None,
    text: Annotated[str | None, typer.Option(metavar="COL", help="Column of the text.")] = None,
    label: Annotated[str | None, typer.Option(metavar="COL", help="Column of the label.")] = None,
    text_b: Annotated[str | None, typer.Option("--text-b", metavar="COL", help="Column of a second text.")] = None,
    test: Annotated[Path | None, typer.Option(metavar="FILE", help="Scored before and after.")] = None,
    unlabelled: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="More texts to learn from; repeatable.")
    ] = None,
    shards: Annotated[Path | None, typer.Option(metavar="DIR", help="Of a run; those it was trained on.")] = None,
    keep_heads: Share = None,
    keep_ffn: Share = None,
    keep_layers: Annotated[int | None, typer.Option(metavar="N", help="How many layers stay.")] = None,
    speed: Annotated[float | None, typer.Option(metavar="X", help="Times as fast, measured here.")] = None,
    latency: Annotated[float | None, typer.Option(metavar="MS", help="Of a batch, measured here.")] = None,
    size: Annotated[float | None, typer.Option(metavar="MB", help="Of model.safetensors.")] = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Texts of the batches that are timed.")] = 32,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings; see docs/light.md.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as rounds=5; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    progress: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = 10.0,
) -> None:
    """Take away a model's least important attention heads, feed-forward features and layers, in rounds.

    The weights are removed, not set to zero; in between, what is left is trained, with the whole model as its teacher.
    """
    with errors():
        from trainer.config import ConfigError
        from trainer.finetune.data import Files
        from trainer.finetune.settings import build_section
        from trainer.finetune.table import Columns
        from trainer.light.pruning.pruning import prune_model
        from trainer.light.pruning.target import Wish
        from trainer.progress import ProgressLine
        from trainer.sections.pruning import PruneConfig

        settings = build_section(PruneConfig, config, overrides or ())
        wish = Wish(keep_heads, keep_ffn, keep_layers, latency, speed, size)
        files = None
        if train is not None or valid is not None:
            if train is None or valid is None or text is None or label is None:
                raise ConfigError("a classifier is pruned with --train FILE, --valid FILE, --text COL and --label COL")
            files = Files(train, valid, Columns(text, text_b, label), test, unlabelled or ())
        line = ProgressLine(progress_seconds, quiet=as_json and progress == "auto", mode=progress)
        result = prune_model(model, output, wish, settings, line, batch, files, shards)
    if as_json:
        typer.echo(json.dumps(result))
        return
    print_numbers([*_rows(result), ("model", str(output))])


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    before, after, times = result["before"], result["after"], result["milliseconds"]
    rows = [
        ("layers", f"{before['layers']} -> {after['layers']}"),
        ("parameters", f"{before['parameters']:,} -> {after['parameters']:,}"),
        ("size", f"{before['bytes'] / 1e6:.2f} -> {after['bytes'] / 1e6:.2f} MB"),
        (
            f"batch of {times['batch']}",
            f"{times['before']:.2f} -> {times['after']:.2f} ms, {result['threads']} threads",
        ),
        ("times as fast", f"{times['before'] / times['after']:.2f}"),
    ]
    for name in ("valid", "test"):
        if name in result:
            scores = result[name]
            rows += [(f"{name} {k}", f"{v:.4f} -> {scores['after'][k]:.4f}") for k, v in scores["before"].items()]
    return rows
