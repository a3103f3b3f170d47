"""`siliang-trainer doctor`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    directory: Annotated[Path, typer.Option("--output", help="Where runs are meant to go.")] = Path("."),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Check this machine: device, precision, attention, torch.compile, processes. Exit code 1 where it cannot train."""
    from schemas.finding import looked
    from trainer.doctor import machine

    looks = [
        ("versions", machine.versions),
        ("device", machine.device),
        ("memory", machine.memory),
        ("disk", lambda: machine.disk(directory)),
        ("matmul", machine.precision),
        ("attention", machine.attention),
        ("torch.compile", machine.compilation),
        ("repetition", machine.repetition),
        ("gloo", machine.processes),
    ]
    found = []
    for subject, look in looks:
        for one in looked(subject, look):
            found.append(one)
            if as_json:
                typer.echo(json.dumps(asdict(one)))
    if not as_json:
        table = Table(show_header=False, box=None, pad_edge=False)
        for one in found:
            remedy = Text(f"\nmend: {one.remedy}") if one.remedy else Text()
            table.add_row(Text(one.state, COLOURS[one.state]), one.subject, Text(one.found) + remedy)
        Console(highlight=False).print(table)
    if any(one.state == "fail" for one in found):
        raise typer.Exit(1)
