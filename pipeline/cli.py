"""The command line of `siliang-pipeline`.

Exit codes: 0 done, 1 failed, 2 bad usage, 130 stopped by Ctrl-C. Errors are one clear line on stderr.
"""

import os
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from pipeline.acceptance import ConservationError, PrepareError
from pipeline.compare.command import compare as compare_outputs
from pipeline.compare.sides import CompareError
from pipeline.config import ConfigError, load_config
from pipeline.console import (
    INTERRUPTED,
    SECONDS,
    ProgressMode,
    ProgressSeconds,
    StoppedError,
    go_on,
    out,
    write_json,
)
from pipeline.dedup.protect_passages import ProtectError
from pipeline.doctor.command import doctor
from pipeline.export.corpus import FORMATS
from pipeline.export.corpus import export as run_export
from pipeline.export.directory import ExportError
from pipeline.inspect.boilerplate import cut_lines, render_lines
from pipeline.inspect.duplicates import KINDS, SORTS, pairs, render_pairs
from pipeline.inspect.explanation import render
from pipeline.inspect.near import nearest, render_near
from pipeline.inspect.records import find
from pipeline.inspect.reference import markdown as rules_as_markdown
from pipeline.inspect.reference import render_rules
from pipeline.inspect.rules import InspectError, described
from pipeline.inspect.show import render_note, render_rows, shard_rows, word_note
from pipeline.inspect.trial import render_trial, try_rules
from pipeline.inspect.vocabulary import compare, render_comparison, render_quality, sizes_of
from pipeline.io.inputs import InputError
from pipeline.jobs import JobError
from pipeline.prepare_command import prepare
from pipeline.progress import StageProgress
from pipeline.report.page import SCHEMA_FILE, write_report
from pipeline.report.visible import visible_text
from pipeline.report.vocabulary import vocabulary_quality
from pipeline.schema_command import schema
from pipeline.text.rules import RuleError, check_rules_config, describe_rules
from pipeline.tune import render_tuning
from pipeline.tune import tune as run_tune
from pipeline.verification import read_any_manifest
from pipeline.verification import verify as verify_output
from pipeline.words.vocabulary import VocabularyError
from pipeline.workspace import OutputError
from schemas.manifest import ManifestError, read_manifest
from schemas.shard import SchemaError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=__doc__)
USAGE = (
    CompareError,
    ConfigError,
    ExportError,
    InputError,
    InspectError,
    OutputError,
    ProtectError,
    RuleError,
    VocabularyError,
)
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


app.command()(prepare)
app.command()(doctor)
app.command()(schema)
app.command("compare")(compare_outputs)


def _report_schema(wanted: bool) -> None:
    if wanted:
        typer.echo(SCHEMA_FILE.read_text(encoding="utf-8"), nl=False)
        raise typer.Exit


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared corpus.")],
    schema: Annotated[
        bool,
        typer.Option("--schema", callback=_report_schema, is_eager=True, help="Print the JSON Schema of report.json."),
    ] = False,
    serve: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Serve the report, written only where there is none, and a search of the audit to this machine; "
            "0: any free port.",
        ),
    ] = None,
    progress_mode: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = SECONDS,
) -> None:
    """(Re)write DIR/report/index.html and report.json, or serve them."""
    progress = StageProgress(mode=progress_mode, seconds=progress_seconds)
    if serve is None or not (directory / "report/index.html").is_file():
        with progress.stage("report"):
            paths = write_report(directory)
        for path in paths:
            out.print(str(path), soft_wrap=True)
    if serve is not None:
        from pipeline.serve.command import serve as run_server  # DuckDB: no other use of this command needs it

        run_server(directory, serve, progress)


@app.command()
def inspect(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared corpus.")],
    record: Annotated[str | None, typer.Option(help="A record ('path#12') or all records of a file ('path').")] = None,
    doc: Annotated[str | None, typer.Option(help="A doc_id, or its first digits.")] = None,
    rule: Annotated[
        str | None, typer.Option(help="What decided: a rule, a kind of duplicate, or a quarantine reason.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most; with --near on each side of the limit.")] = 20,
    near: Annotated[
        bool, typer.Option("--near", help="The records nearest to the limit of --rule on both sides, kept or not.")
    ] = False,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Pairs of a removed record and the kept one, with what differs.")
    ] = False,
    kind: Annotated[str | None, typer.Option(help=f"With --duplicates: {', '.join(KINDS)}.")] = None,
    boilerplate: Annotated[
        bool, typer.Option("--boilerplate", help="The lines that were cut because many documents share them.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="With --duplicates: of the removed record; with --boilerplate: of the lines.")
    ] = None,
    sort: Annotated[
        str, typer.Option(help="With --duplicates: hash (a sample), or jaccard (the least first).")
    ] = SORTS[0],
    sample: Annotated[str, typer.Option(help="With --duplicates: any word; another one draws another sample.")] = "",
    as_json: Annotated[
        bool | None, typer.Option("--json/--text", help="JSON lines, or words; else words on a terminal alone.")
    ] = None,
) -> None:
    """Why was a document dropped?"""
    if near and rule is None:
        raise typer.BadParameter("needs --rule NAME, the rule whose limit is meant", param_hint="--near")
    if duplicates and rule is not None:
        raise typer.BadParameter("goes with --kind in place of --rule", param_hint="--duplicates")
    if not duplicates and (kind, sort, sample) != (None, SORTS[0], ""):
        raise typer.BadParameter("--kind, --sort and --sample need it", param_hint="--duplicates")
    if source is not None and not (duplicates or boilerplate):
        raise typer.BadParameter("needs --duplicates or --boilerplate", param_hint="--source")
    if boilerplate and (duplicates or near or record or doc or rule):
        raise typer.BadParameter("goes with --source and --limit alone", param_hint="--boilerplate")
    if boilerplate:
        rows, show = cut_lines(directory, source, limit), render_lines
    elif duplicates:
        rows, show = pairs(directory, kind, source, limit, sort, sample, record, doc), render_pairs
    elif near and rule:
        rows, show = nearest(directory, rule, limit, record, doc), render_near
    else:
        rows, show = find(directory, record, doc, rule, limit), render
    if as_json if as_json is not None else not sys.stdout.isatty():
        write_json(rows)
    else:
        show(rows, out)
    if not rows:
        typer.echo("no record matches", err=True)


@app.command()
def verify(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A prepared corpus, here or behind a URL.")],
) -> None:
    """Check every file against the manifest."""
    manifest = read_any_manifest(directory)
    problems = [(entry, problem) for entry, problem in verify_output(directory, manifest) if problem]
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
            write_json([asdict(trial)])
        else:
            render_trial(trial, out)
        return
    if config is None:
        rows = describe_rules()
    else:
        loaded = load_config(config)
        check_rules_config(loaded.rules)
        rows = described(loaded)
    if as_json:
        write_json(rows)
    else:
        render_rules(rows, out)


@app.command()
def tune(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared corpus.")],
    rule: Annotated[str | None, typer.Option(help="One rule, with more limits.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, also on a terminal.")] = False,
    progress_mode: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = SECONDS,
) -> None:
    """What share of the records would go at other limits, from the audit alone."""
    with StageProgress(mode=progress_mode, seconds=progress_seconds).stage("tune"):
        tunings = run_tune(directory, rule)
    if as_json or not sys.stdout.isatty():
        write_json(asdict(tuning) for tuning in tunings)
    else:
        render_tuning(tunings, out, one=rule is not None)


@app.command()
def vocabulary(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared corpus.")],
    sizes: Annotated[
        str | None, typer.Option("--compare", metavar="SIZES", help="Learn others from the same sample: 4096,8192.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, also on a terminal.")] = False,
) -> None:
    """How well the vocabulary fits the text, and what other sizes would give."""
    as_json = as_json or not sys.stdout.isatty()
    if sizes is None:
        if as_json:
            write_json([vocabulary_quality(directory, read_manifest(directory))])
        else:
            render_quality(directory, out)
        return
    rows = compare(directory, sizes_of(sizes))
    if as_json:
        write_json(rows)
    else:
        render_comparison(rows, out)


@app.command()
def show(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared corpus.")],
    shard: Annotated[
        str | None, typer.Option(help="A shard, like train/0; its rows as text, rare words marked.")
    ] = None,
    first: Annotated[int, typer.Option(min=0, help="With --shard: the first row, from 0.")] = 0,
    rows: Annotated[int, typer.Option(min=1, help="With --shard: rows at most.")] = 3,
    word: Annotated[str | None, typer.Option(help="A word; its counts, and its note if it is a rare one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, also on a terminal.")] = False,
) -> None:
    """Rows of a shard as text, or the note of a word."""
    as_json = as_json or not sys.stdout.isatty()
    if (shard is None) == (word is None):
        raise typer.BadParameter("give one of --shard and --word")
    if shard is not None:
        found = shard_rows(directory, shard, first, rows)
        if as_json:
            write_json(found)
        else:
            render_rows(found, out)
        return
    known = word_note(directory, word or "")
    if known is None:
        typer.echo("no document has this word, or it is too seldom to be listed", err=True)
    elif as_json:
        write_json([known])
    else:
        render_note(known, out)


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared corpus.")],
    output: Annotated[str, typer.Option(help="Directory to make; it must not hold anything.")],
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")],
    split: Annotated[
        list[str] | None, typer.Option(help="train, valid or test; repeatable; all that have documents by default.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="With parquet and mds: the decoded text, too.")] = False,
    progress_mode: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = SECONDS,
) -> None:
    """The shards in the format of another trainer."""
    with StageProgress(mode=progress_mode, seconds=progress_seconds).stage("export"):
        written = run_export(directory, output, form, split or (), text)
    for done in written:
        files = f"{done.files} file{'' if done.files == 1 else 's'}"
        counts = f"{done.documents:,} documents, {done.tokens:,} tokens, {files}"
        out.print(f"{output.rstrip('/')}/{done.split}: {counts}", soft_wrap=True)


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
        if stop.code == INTERRUPTED:
            typer.echo("siliang-pipeline: stopped; nothing was written", err=True)
        return stop.code if isinstance(stop.code, int) else 1
    except StoppedError as error:
        _complain(f"{error}; {go_on('siliang-pipeline', arguments)}")
        return INTERRUPTED
    except USAGE as error:
        _complain(error)
        return 2
    except FAILED as error:
        _complain(error)
        return 1
    return 0


def main() -> None:
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Beam's threads outlive a killed worker and would keep the process alive; everything is committed by renames.
    os._exit(code)
