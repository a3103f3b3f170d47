"""`siliang-pipeline doctor`."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.table import Table
from rich.text import Text

from pipeline.console import out
from pipeline.doctor import machine
from pipeline.jobs import LOCAL, importing_beam
from schemas.finding import Finding, Look, looked

RUNNERS = {
    "local": LOCAL,
    "portable": "PortableRunner",
    "dataflow": "DataflowRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
}
COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def examine(runner: str, workers: int, directory: Path, options: tuple[str, ...]) -> Iterator[Finding]:
    """All findings for this runner, one after another as they are made."""
    with importing_beam():
        from pipeline.doctor import runners
        from pipeline.runner import Execution

    execution = Execution(RUNNERS[runner], workers, options)
    local = execution.runner == LOCAL
    width = workers if local else 1
    looks: list[tuple[str, Look]] = [
        ("packages", partial(machine.versions, "pipeline")),
        ("memory", partial(machine.size, width)),
        ("disk", partial(machine.disk, directory)),
        ("open files", machine.open_files),
        ("threads", partial(machine.threads, width)),
        ("numba kernel", machine.kernels),
        ("Beam", runners.beam_version),
        ("two-element job", partial(runners.two_elements, execution if local else Execution())),
    ]
    if runner == "portable":
        embedded = ("--job_endpoint=embed", "--environment_type=LOOPBACK")
        portable = Execution("PortableRunner", 1, options or embedded)
        looks.append(("two-element job", partial(runners.two_elements, portable)))
    elif not local:
        more = runners.dataflow if runner == "dataflow" else partial(runners.cluster, runner)
        looks.append((runner, partial(more, execution)))
    for subject, look in looks:
        yield from looked(subject, look)


def doctor(
    context: typer.Context,
    runner: Annotated[str, typer.Option(help=f"One of {', '.join(RUNNERS)}; its options come after `--`.")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Local workers that are meant to be used.")] = 1,
    directory: Annotated[Path, typer.Option("--output", help="Where a corpus is meant to go.")] = Path("."),
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines.")] = False,
) -> None:
    """Check this machine, and what a runner needs. Exit code 1 where something must be mended first."""
    if runner not in RUNNERS:
        raise typer.BadParameter(f"'{runner}' is none of {', '.join(RUNNERS)}", param_hint="--runner")
    with importing_beam():
        from pipeline.runner import quiet_logs
        from pipeline.workers.pool import local_workers

    quiet_logs()
    with local_workers(workers if runner == "local" and workers > 1 else 0):
        found = list(_told(examine(runner, workers, directory, tuple(context.obj or ())), as_json))
    if not as_json:
        table = Table(show_header=False, box=None, pad_edge=False)
        for one in found:
            remedy = Text(f"\nmend: {one.remedy}") if one.remedy else Text()
            table.add_row(Text(one.state, COLOURS[one.state]), one.subject, Text(one.found) + remedy)
        out.print(table)
    if any(one.state == "fail" for one in found):
        raise typer.Exit(1)


def _told(findings: Iterator[Finding], as_json: bool) -> Iterator[Finding]:
    for one in findings:
        if as_json:
            typer.echo(orjson.dumps(asdict(one)).decode())
        yield one
