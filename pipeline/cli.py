"""The command line: `siliang-pipeline prepare | report | inspect | verify | rules | tune`.

Exit codes: 0 done, 1 failed, 2 bad usage. Errors are one clear line on stderr.
"""

import logging
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from pipeline.config import ConfigError, load_config
from schemas.manifest import ManifestError, read_manifest, verify_files
from schemas.shard import SchemaError

logging.disable(logging.WARNING)  # importing Beam without its Google extra warns on every start
from pipeline.commit import ConservationError  # noqa: E402
from pipeline.inspect.explanation import render  # noqa: E402
from pipeline.inspect.near import nearest, render_near  # noqa: E402
from pipeline.inspect.records import find  # noqa: E402
from pipeline.inspect.reference import markdown as rules_as_markdown  # noqa: E402
from pipeline.inspect.reference import render_rules  # noqa: E402
from pipeline.inspect.rules import InspectError  # noqa: E402
from pipeline.inspect.trial import render_trial, try_rules  # noqa: E402
from pipeline.io.inputs import InputError  # noqa: E402
from pipeline.progress import StageProgress  # noqa: E402
from pipeline.report.page import write_report  # noqa: E402
from pipeline.report.visible import visible_text  # noqa: E402
from pipeline.run import PrepareError, Request  # noqa: E402
from pipeline.run import prepare as run_prepare  # noqa: E402
from pipeline.runner import LOCAL, RUNNERS, Execution, JobError, quiet_logs  # noqa: E402
from pipeline.text.rules import RuleError, check_rules_config, describe_rules  # noqa: E402
from pipeline.tune import render_tuning  # noqa: E402
from pipeline.tune import tune as run_tune  # noqa: E402
from pipeline.words.vocabulary import VocabularyError  # noqa: E402
from pipeline.workspace import OutputError  # noqa: E402

logging.disable(logging.NOTSET)

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, help=__doc__)
out = Console(highlight=False, markup=False, emoji=False)

_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]")
"""What JSON may leave as it is and a terminal obeys: DEL, the C1 controls, line separators, bidirectional controls."""

USAGE = (ConfigError, InputError, InspectError, OutputError, RuleError, VocabularyError)
FAILED = (PrepareError, ConservationError, JobError, ManifestError, SchemaError, OSError)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"siliang {version('siliang')}")
        raise typer.Exit


@app.callback()
def _main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


@app.command()
def prepare(
    context: typer.Context,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Files, directories, globs, or NAME=PATH.")],
    output: Annotated[str, typer.Option(help="Directory of the prepared corpus; a killed run goes on there.")],
    config: Annotated[Path | None, typer.Option(help="TOML file; see `siliang-pipeline rules` and docs.")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="A SentencePiece model to use; else one is learnt.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Local worker processes. Never changes the output.")] = 1,
    runner: Annotated[str, typer.Option(help=f"One of {', '.join(RUNNERS)}; its options come after `--`.")] = LOCAL,
) -> None:
    """Raw text -> clean shards, vocabulary, notes and report."""
    if runner not in RUNNERS:
        raise typer.BadParameter(f"'{runner}' is none of {', '.join(RUNNERS)}", param_hint="--runner")
    quiet_logs()
    progress = StageProgress()
    execution = Execution(runner, workers, tuple(context.obj or ()))
    request = Request(tuple(inputs), output, load_config(config), vocabulary, execution)
    manifest = run_prepare(request, progress)
    counts = manifest.counts
    out.print(
        f"{counts.input:,} records: {counts.kept:,} kept, {counts.filtered:,} filtered, "
        f"{counts.duplicate:,} duplicate, {counts.quarantined:,} quarantined"
    )
    out.print(f"{manifest.tokens:,} tokens of a vocabulary of {manifest.vocabulary_size:,}")
    out.print(f"report: {output.rstrip('/')}/report/index.html", soft_wrap=True)


@app.command()
def report(directory: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared corpus.")]) -> None:
    """(Re)write DIR/report/index.html and report.json."""
    for path in write_report(directory):
        out.print(str(path), soft_wrap=True)


@app.command()
def inspect(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared corpus.")],
    record: Annotated[str | None, typer.Option(help="A record ('path#12') or all records of a file ('path').")] = None,
    doc: Annotated[str | None, typer.Option(help="A doc_id, or its first digits.")] = None,
    rule: Annotated[
        str | None, typer.Option(help="What decided: a rule, 'exact', 'near', or a quarantine reason.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most; with --near on each side of the limit.")] = 20,
    near: Annotated[
        bool, typer.Option("--near", help="The records nearest to the limit of --rule on both sides, kept or not.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, also on a terminal.")] = False,
) -> None:
    """Why was a document dropped?"""
    if near and rule is None:
        raise typer.BadParameter("needs --rule NAME, the rule whose limit is meant", param_hint="--near")
    rows = nearest(directory, rule, limit, record, doc) if near and rule else find(directory, record, doc, rule, limit)
    if as_json or not sys.stdout.isatty():
        _write_json(rows)
    else:
        (render_near if near else render)(rows, out)
    if not rows:
        typer.echo("no record matches", err=True)


@app.command()
def verify(directory: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared corpus.")]) -> None:
    """Check every file against the manifest."""
    manifest = read_manifest(directory)
    problems = [(entry, problem) for entry, problem in verify_files(directory, manifest) if problem]
    for entry, problem in problems:
        typer.echo(f"{directory}/{entry.path}: {problem}", err=True)
    if problems:
        typer.echo(f"{len(problems)} of {len(manifest.files)} files are not sound; run prepare again", err=True)
        raise typer.Exit(1)
    out.print(f"{len(manifest.files)} files, {sum(entry.bytes for entry in manifest.files):,} bytes: all sound")


@app.command()
def rules(
    tried: Annotated[
        str | None,
        typer.Option(
            "--try", metavar="FILE", help="Score one text against every rule; FILE#N: its record N; -: stdin."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file whose limits are in force.")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="All statistics and rules as a page.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, also on a terminal.")] = False,
) -> None:
    """Every rule with its limit and its source; or, with --try, what they say of one text."""
    as_json = as_json or not sys.stdout.isatty()
    if as_markdown:
        sys.stdout.write(rules_as_markdown())
        return
    if tried is not None:
        trial = try_rules(tried, load_config(config))
        if as_json:
            _write_json([asdict(trial)])
        else:
            render_trial(trial, out)
        return
    loaded = load_config(config).rules if config else None
    if loaded is not None:
        check_rules_config(loaded)
    described = describe_rules(loaded)
    if as_json:
        _write_json(described)
    else:
        render_rules(described, out)


@app.command()
def tune(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared corpus.")],
    rule: Annotated[str | None, typer.Option(help="One rule, with more limits.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, also on a terminal.")] = False,
) -> None:
    """What share of the records would go at other limits, from the audit alone."""
    tunings = run_tune(directory, rule)
    if as_json or not sys.stdout.isatty():
        _write_json(asdict(tuning) for tuning in tunings)
    else:
        render_tuning(tunings, out, one=rule is not None)


def _write_json(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        sys.stdout.write(_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", orjson.dumps(row).decode()) + "\n")


def _complain(message: object) -> None:
    """Control characters, which a file name may hold, are shown and not obeyed."""
    shown = "\n".join(visible_text(line, 4000) for line in str(message).split("\n"))
    typer.echo(f"siliang-pipeline: {shown}", err=True)


def run(arguments: list[str]) -> int:
    """Exit code of a command line. What follows the first `--` is for Beam."""
    own, beam_options = arguments, []
    if "--" in arguments:
        cut = arguments.index("--")
        own, beam_options = arguments[:cut], arguments[cut + 1 :]
    try:
        app(args=own, prog_name="siliang-pipeline", obj=beam_options)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except USAGE as error:
        _complain(error)
        return 2
    except FAILED as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        typer.echo("siliang-pipeline: stopped; the same command goes on from the finished parts", err=True)
        return 1
    return 0


def main() -> None:
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Beam's threads outlive a killed worker and would keep the process alive; everything is committed by renames.
    os._exit(code)
