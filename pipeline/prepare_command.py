"""`siliang-pipeline prepare`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.config import load_config, with_input
from pipeline.console import SECONDS, ProgressMode, ProgressSeconds, out, stoppable
from pipeline.jobs import LOCAL, RUNNERS, SubmittedError, importing_beam
from pipeline.progress import StageProgress


def prepare(
    context: typer.Context,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Files, directories, globs, or NAME=PATH.")],
    output: Annotated[str, typer.Option(help="Directory of the prepared corpus; a killed run goes on there.")],
    config: Annotated[Path | None, typer.Option(help="TOML file; see `siliang-pipeline rules` and docs.")] = None,
    vocabulary: Annotated[
        str | None, typer.Option(help="A SentencePiece model or a tokenizer.json to use; else one is learnt.")
    ] = None,
    text_field: Annotated[
        list[str] | None, typer.Option(help="Field that holds the text, like 'body.text'; the first one present.")
    ] = None,
    query: Annotated[str | None, typer.Option(help="SELECT to run on SQLite databases; its rows are records.")] = None,
    protect: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Evaluation set whose text may not be trained on: any INPUT; repeatable."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="A finished output whose kept documents count as already kept; repeatable."),
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Add the INPUTs to the finished output, with its config unless one is given.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Local worker processes. Never changes the output.")] = 1,
    runner: Annotated[str, typer.Option(help=f"One of {', '.join(RUNNERS)}; its options come after `--`.")] = LOCAL,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail where the vocabulary is smaller than wanted or loses text.")
    ] = False,
    submit: Annotated[
        bool, typer.Option("--submit", help="Submit the job of clean and end without waiting, as a Flex Template must.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List inputs, stages, estimated time, memory and disk; write nothing.")
    ] = False,
    progress_mode: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = SECONDS,
) -> None:
    """Raw text -> clean shards, vocabulary, notes and report."""
    if runner not in RUNNERS:
        raise typer.BadParameter(f"'{runner}' is none of {', '.join(RUNNERS)}", param_hint="--runner")
    with importing_beam():
        from pipeline.addition import config_of
        from pipeline.forecast import forecast
        from pipeline.forecast_text import lines
        from pipeline.run import Request
        from pipeline.run import prepare as run_prepare
        from pipeline.runner import Execution, quiet_logs
        from pipeline.workers.pool import local_workers

    quiet_logs()
    progress = StageProgress(mode=progress_mode, seconds=progress_seconds)
    execution = Execution(runner, workers, tuple(context.obj or ()), submit)
    loaded = config_of(output) if add and config is None else load_config(config)
    settings = with_input(loaded, text_fields=tuple(text_field or ()) or None, query=query)
    request = Request(
        tuple(inputs),
        output,
        settings,
        vocabulary,
        execution,
        tuple(protect or ()),
        strict,
        tuple(against or ()),
        add,
    )
    if dry_run:
        for line in lines(forecast(request)):
            out.print(line, soft_wrap=True)
        return
    if submit:
        try:
            run_prepare(request, progress)
        except SubmittedError as done:
            out.print(str(done), soft_wrap=True)
        return
    with stoppable(progress, output), local_workers(execution.processes):  # nothing runs yet that a fork must not copy
        manifest = run_prepare(request, progress)
    counts = manifest.counts
    out.print(
        f"{counts.input:,} records: {counts.kept:,} kept, {counts.filtered:,} filtered, "
        f"{counts.duplicate:,} duplicate, {counts.quarantined:,} quarantined"
    )
    out.print(f"{manifest.tokens:,} tokens of a vocabulary of {manifest.vocabulary_size:,}")
    out.print(f"report: {output.rstrip('/')}/report/index.html", soft_wrap=True)
