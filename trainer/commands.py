"""Commands around a run: info, plan, bench, sweep."""

import json
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from trainer.console import ProgressMode, ProgressSeconds, errors, print_numbers

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings, as of `train`.")]
Preset = Annotated[str | None, typer.Option("--preset", help="Model and settings by size.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Vocabulary = Annotated[int, typer.Option(min=7, help="Pieces in the vocabulary, where no shards are named.")]


def info(run: Annotated[Path, typer.Argument(metavar="RUN", show_default=False)], as_json: AsJson = False) -> None:
    """Print what a run is and how it went: config, versions, source, data, checkpoints, curve."""
    with errors():
        from trainer.info import run_info, sparkline

        found = run_info(run)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    console = Console(soft_wrap=True, highlight=False)
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    data = ", ".join(f"{name} {str(value)[:16]}" for name, value in found.data.items())
    steps = ", ".join(f"{step:,}{' (best)' if step == found.best else ''}" for step in found.checkpoints)
    print_numbers(
        [
            ("run", f"{found.path}, {found.status}"),
            ("versions", f"{versions}; source {found.source}"),
            ("data", data),
            ("checkpoints", steps or "none"),
            ("skipped steps", str(found.skipped)),
            ("training loss", sparkline(found.train_losses)),
            ("held-out loss", sparkline([point["loss"] for point in found.curve])),
            *(("growth", _growth(record)) for record in found.growth),
        ]
    )
    table = Table("step", "tokens", "seconds", "held-out loss", box=None, pad_edge=False)
    for point in found.curve[-12:]:
        table.add_row(f"{point['step']:,}", f"{point['tokens']:,}", f"{point['seconds']:,.1f}", f"{point['loss']:.4f}")
    console.print(table)
    for section, values in found.config.items():
        console.print(f"[{section}] " + ", ".join(f"{key} = {value}" for key, value in values.items()), markup=False)


def _growth(record: dict[str, Any]) -> str:
    if record["kind"] == "recovery":
        return f"recovered after {record['steps']:,} steps: held-out loss {record['loss']:.4f}"
    return (
        f"step {record['step']:,}: {record['layers_before']} layers become {record['layers']}, held-out loss "
        f"{record['loss_before']:.4f} before, {record['loss_after']:.4f} after"
    )


def plan(
    config: Config = None,
    preset: Preset = None,
    overrides: Overrides = None,
    shards: Annotated[Path | None, typer.Option(metavar="DIR", help="Shards, for their vocabulary and epochs.")] = None,
    vocabulary: Vocabulary = 8192,
    processes: Annotated[int, typer.Option(min=1, help="Processes under torchrun.")] = 1,
    mfu: Annotated[float, typer.Option(min=0.001, max=1.0, help="As `bench` measures it.")] = 0.4,
    as_json: AsJson = False,
) -> None:
    """Print what a config will cost on this machine: parameters, memory, tokens, operations, hours."""
    with errors():
        from trainer.config import build_config
        from trainer.plan import plan_run

        corpus_tokens = 0
        if shards is not None:
            from trainer.data.shards import Corpus

            corpus = Corpus(shards, "train")
            vocabulary, corpus_tokens = corpus.vocabulary_size, corpus.tokens_total
        found = plan_run(build_config(config, preset, overrides or ()), vocabulary, mfu, processes)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    rows = [
        ("parameters", f"{found.parameters:,}"),
        (
            "memory",
            f"{found.state_bytes / 1e9:.2f} GB of state, {found.activation_bytes / 1e9:.2f} GB a micro-batch",
        ),
        ("tokens", f"{found.tokens:,}" + (f" in {found.steps:,} steps" if found.steps else "")),
        ("operations", f"{found.flops:.3g}"),
        ("attention", found.attention),
        ("time", f"{found.hours:.2f} h at {found.assumed_mfu:.0%} of {found.gflops:,.0f} GFLOP/s ({found.precision})"),
    ]
    if len(found.depths) > 1:
        rows.insert(3, ("depths", "; ".join(f"{d.layers} layers for {d.tokens:,} tokens" for d in found.depths)))
    if corpus_tokens:
        rows.insert(3, ("epochs", f"{found.tokens / corpus_tokens:.2f} of {corpus_tokens:,} tokens"))
    print_numbers(rows)


def bench(
    config: Config = None,
    preset: Preset = None,
    overrides: Overrides = None,
    vocabulary: Vocabulary = 8192,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time to measure for.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Measure a config's training speed here on made-up rows: tokens/s, MFU, where the time goes."""
    with errors():
        from trainer.bench import bench as run_bench
        from trainer.config import build_config

        found = run_bench(
            build_config(config, preset, overrides or ()), vocabulary, seconds, lambda text: typer.echo(text, err=True)
        )
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in found.matmul_gflops.items())
    compiled = ", compiled" if found.compiled else ""
    print_numbers(
        [
            ("speed", f"{found.tokens_per_second:,.0f} tokens/s, MFU {found.mfu:.1%} in {found.precision}{compiled}"),
            ("step", f"{found.step_seconds * 1e3:,.1f} ms a micro-batch, {found.threads} threads"),
            ("of it", ", ".join(f"{name} {share:.0%}" for name, share in found.shares.items())),
            ("matmul", f"{rates} GFLOP/s"),
            ("parameters", f"{found.parameters:,}"),
        ]
    )


def sweep(
    shards: Annotated[Path, typer.Argument(metavar="SHARDS", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", show_default=False)],
    rates: Annotated[str, typer.Option(help="Learning rates, comma-separated.")] = "2.5e-4,5e-4,1e-3,2e-3,4e-3",
    config: Config = None,
    preset: Preset = None,
    overrides: Overrides = None,
    rungs: Annotated[int, typer.Option(min=1, max=10, help="The better half goes on, twice as long, so often.")] = 2,
    as_json: AsJson = False,
    progress: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = 10.0,
) -> None:
    """Try learning rates on short runs and let the better half go on, twice as long each time."""
    with errors(f"{output} keeps the runs", ""):
        from trainer.config import ConfigError
        from trainer.progress import ProgressLine
        from trainer.sweep import sweep as run_sweep

        try:
            values = [float(rate) for rate in rates.split(",")]
            trials = run_sweep(
                shards,
                output,
                values,
                config,
                preset,
                overrides or (),
                rungs,
                ProgressLine(progress_seconds, mode=progress),
            )
        except ValueError as error:
            if type(error) is not ValueError:
                raise
            raise ConfigError(f"--rates {rates}: {error}") from error
    # JSON has no infinity: a rate that diverged has null.
    found: list[dict[str, Any]] = [
        {"learning_rate": trial.learning_rate, "losses": [loss if isfinite(loss) else None for loss in trial.losses]}
        for trial in trials
    ]
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("learning rate", *(f"rung {rung + 1}" for rung in range(rungs)), box=None, pad_edge=False)
    for trial in trials:
        table.add_row(f"{trial.learning_rate:g}", *(f"{loss:.4f}" for loss in trial.losses))
    Console(soft_wrap=True, highlight=False).print(table)


def add_commands(app: typer.Typer) -> None:
    for command in (info, plan, bench, sweep):
        app.command()(command)
