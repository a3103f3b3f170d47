"""`siliang-trainer evaluate`: options, tables, JSON."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from trainer.console import ProgressMode, ProgressSeconds, errors, print_numbers


def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Directories of training runs; several are compared.", show_default=False
        ),
    ],
    shards: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Other shards than those of the run, of the same vocabulary.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Minimal pairs: Zorro's .txt, BLiMP's .jsonl, or one such file.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Minimal pairs of each paradigm, chosen by hash.", show_default="all")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Bar plot of --pairs, .png or .svg.")] = None,
    bands: Annotated[bool, typer.Option("--bands", help="Loss and rank of words by how frequent they are.")] = False,
    band_words: Annotated[int, typer.Option(min=1, help="Words of each band.")] = 200,
    rare_words: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV of word1, word2, similarity: Spearman's correlation.")
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Measure through a fresh masked-LM head on the frozen encoder.")
    ] = False,
    probe_steps: Annotated[int, typer.Option(min=1, help="Steps the head is trained for.")] = 300,
    compare: Annotated[bool, typer.Option("--compare", help="One table and one JSON, also for a single run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    progress: ProgressMode = "auto",
    progress_seconds: ProgressSeconds = 10.0,
) -> None:
    """Print the held-out masked-LM loss beside the unigram entropy of the held-out text, and what else is asked for."""
    with errors():
        from trainer.config import ConfigError
        from trainer.evaluate.evaluation import Wanted
        from trainer.evaluate.evaluation import evaluate as measure
        from trainer.evaluate.plot import check_plot, plot_pairs
        from trainer.evaluate.probe import ProbeSettings
        from trainer.progress import ProgressLine

        if plot is not None:
            if pairs is None:
                raise ConfigError("--plot draws minimal pairs: add --pairs DIR")
            check_plot(plot)
        if len({str(run) for run in runs}) < len(runs):
            raise ConfigError("a run is named twice")
        settings = ProbeSettings(steps=probe_steps) if probe else None
        wanted = Wanted(shards, pairs, limit, bands, band_words, rare_words, settings)
        found: list[dict[str, Any]] = []
        with ProgressLine(progress_seconds, quiet=as_json and progress == "auto", mode=progress) as line:
            for k, run in enumerate(runs):

                def tell(what: str, share: float, k: int = k, run: Path = run) -> None:
                    line.update((k + share) / len(runs), f"{run}: {what}")

                found.append(measure(run, wanted, tell))
        if plot is not None:
            accuracies = [
                {score["name"]: score["accuracy"] for score in one["minimal_pairs"]["paradigms"]} for one in found
            ]
            plot_pairs(plot, dict(zip(map(str, runs), accuracies, strict=True)))
    if compare or len(runs) > 1:
        named = [{"run": str(run)} | one for run, one in zip(runs, found, strict=True)]
        if as_json:
            typer.echo(json.dumps({"runs": named}))
        else:
            print_comparison(named)
    elif as_json:
        typer.echo(json.dumps(found[0]))
    else:
        print_one(found[0])


def print_one(found: dict[str, Any]) -> None:
    rows = []
    if "held_out_loss" in found:
        rows += [
            ("held-out loss", f"{found['held_out_loss']:.4f} nats"),
            ("unigram entropy", f"{found['unigram_entropy']:.4f} nats"),
            ("unigram cross-entropy", f"{found['unigram_cross_entropy']:.4f} nats"),
            ("targets", f"{found['targets']:,} in {found['rows']:,} rows"),
        ]
    if probe := found.get("probe"):
        trained = f"head trained for {probe['steps']:,} steps, {probe['seconds']:.1f} s"
        rows.append(("probe's held-out loss", f"{probe['held_out_loss']:.4f} nats, {trained}"))
    if words := found.get("rare_words"):
        inside = words["contextual_in_corpus"]
        rows += [
            ("rare words, averaged", f"{words['averaged']:.3f} (Spearman, {words['pairs']:,} pairs)"),
            ("rare words, contextual", f"{words['contextual']:.3f}"),
            (
                "  of pairs in the corpus",
                f"{words['pairs_in_corpus']:,}"
                + ("" if inside is None else f": {words['averaged_in_corpus']:.3f} and {inside:.3f}"),
            ),
        ]
    if rows:
        print_numbers(rows)
    console = Console(soft_wrap=True, highlight=False)
    if bands := found.get("bands"):
        targets = {score["band"]: score for score in bands["targets"]}
        words = {score["band"]: score for score in bands["words"]}
        table = Table("count", "words", "perplexity", "loss", "pieces", "rank", box=None, pad_edge=False)
        table.add_column("targets")
        table.add_column("masked-LM loss")
        for band in [*words, *(name for name in targets if name not in words)]:
            word, target = words.get(band), targets.get(band)
            left = ["-"] * 5
            if word:
                left = [f"{word['words']:,}", f"{word['perplexity']:.4g}", f"{word['loss']:.3f}"]
                left += [f"{word['pieces']:.2f}", f"{word['median_rank']:,.0f}"]
            right = [f"{target['targets']:,}", f"{target['loss']:.3f}"] if target else ["-", "-"]
            table.add_row(band, *left, *right)
        console.print(table)
    if scores := found.get("minimal_pairs"):
        table = Table("paradigm", "pairs", "ties", "accuracy", box=None, pad_edge=False)
        for score in scores["paradigms"]:
            table.add_row(score["name"], f"{score['pairs']:,}", f"{score['ties']:,}", f"{score['accuracy']:.1%}")
        table.add_row("mean", f"{scores['pairs']:,}", "", f"{scores['mean']:.1%}")
        console.print(table)


def comparison_rows(found: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """(measurement, one cell a run) of all that any of the runs was measured on."""

    def cells(values: list[float | None], form: str) -> list[str]:
        return ["-" if value is None else format(value, form) for value in values]

    rows = [("held-out loss", cells([one.get("held_out_loss") for one in found], ".4f"))]
    probes = [one.get("probe", {}).get("held_out_loss") for one in found]
    rows.append(("probe's held-out loss", cells(probes, ".4f")))
    bands = [{b["band"]: b["perplexity"] for b in one.get("bands", {}).get("words", [])} for one in found]
    for band in dict.fromkeys(name for one in bands for name in one):
        rows.append((f"perplexity, {band}", cells([one.get(band) for one in bands], ".4g")))
    for kind in ("averaged", "contextual"):
        values = [one.get("rare_words", {}).get(kind) for one in found]
        rows.append((f"rare words, {kind}", cells(values, ".3f")))
    means = [one.get("minimal_pairs", {}).get("mean") for one in found]
    pairs = [{p["name"]: p["accuracy"] for p in one.get("minimal_pairs", {}).get("paradigms", [])} for one in found]
    for name in dict.fromkeys(name for one in pairs for name in one):
        rows.append((name, cells([one.get(name) for one in pairs], ".1%")))
    rows.append(("minimal pairs, mean", cells(means, ".1%")))
    return [(name, values) for name, values in rows if set(values) != {"-"}]


def print_comparison(found: list[dict[str, Any]]) -> None:
    table = Table("", *(one["run"] for one in found), box=None, pad_edge=False)
    for name, values in comparison_rows(found):
        table.add_row(name, *values)
    Console(soft_wrap=True, highlight=False).print(table)
