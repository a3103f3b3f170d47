"""`siliang-trainer export`, `quantise` and `card`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from trainer.console import errors, print_numbers
from trainer.finetune.command import TextB

Model = Annotated[
    Path,
    typer.Argument(metavar="RUN|CLASSIFIER", help="What train or finetune wrote.", show_default=False),
]
WithExits = Annotated[
    Path,
    typer.Argument(metavar="RUN|CLASSIFIER", help="What train, finetune or early-exit wrote.", show_default=False),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="A new or empty directory.", show_default=False)
]
Evaluations = Annotated[
    list[Path] | None,
    typer.Option("--evaluation", metavar="FILE", help="Output of `evaluate --json`, for the scores; repeatable."),
]
DropNotes = Annotated[
    bool, typer.Option("--drop-notes", help="Leave a run's notes of rare words behind; without, they are an error.")
]


def export(
    path: Model,
    output: Output,
    form: Annotated[
        str,
        typer.Option("--format", help="huggingface, bert (no custom code; absolute positions and Post-LN) or onnx."),
    ] = "huggingface",
    drop_notes: DropNotes = False,
    evaluation: Evaluations = None,
) -> None:
    """Write a model for other programs: transformers, or ONNX Runtime. README.md in it says how to load it."""
    with errors():
        from trainer.export.exporting import export as run_export

        source = run_export(path, form, output, drop_notes, evaluation or ())
    if source.notes_dropped:
        typer.echo(f"the notes of {source.notes_dropped:,} rare words were left behind", err=True)
    typer.echo(str(output))


def quantise(
    path: WithExits,
    output: Output,
    test: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Labelled texts to score before and after; needs --text, --label."),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="COL", help="Column of the text in --test.")] = None,
    text_b: TextB = None,
    label: Annotated[str | None, typer.Option("--label", metavar="COL", help="Column of the label in --test.")] = None,
    drop_notes: DropNotes = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a model with int8 weights for ONNX Runtime on a CPU; `predict` reads it. Early exits stay."""
    with errors():
        from trainer.config import ConfigError
        from trainer.export.comparing import compare_scores, read_labelled
        from trainer.export.quantising import quantise as run_quantise
        from trainer.finetune.table import Columns

        labelled = None
        if test is not None:
            if text is None or label is None:
                raise ConfigError("--test needs --text COL and --label COL")
            labelled = read_labelled(path, test, Columns(text, text_b, label))
        elif text is not None or text_b is not None or label is not None:
            raise ConfigError("--text, --text-b and --label belong to --test FILE")
        run_quantise(path, output, drop_notes)
        found = {} if labelled is None else compare_scores(labelled, output)
    if as_json:
        typer.echo(json.dumps({"output": str(output), **found}))
        return
    for name in found.get("fp32", {}):
        print_numbers([(name, f"{found['fp32'][name]:.4f} -> {found['int8'][name]:.4f} in int8")])
    if "layers" in found:
        print_numbers([("layers", f"{found['layers']['fp32']:.2f} -> {found['layers']['int8']:.2f} in int8")])
    if found.get("agreement") is not None:
        print_numbers([("equal answers", f"{found['agreement']:.2%} of {found['examples']:,} texts")])
    typer.echo(str(output))


def card(
    path: WithExits,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A file, rather than standard output.")
    ] = None,
    evaluation: Evaluations = None,
) -> None:
    """Write the model card of a run or classifier: data, config, training, scores, limits. Exports hold theirs."""
    with errors():
        from trainer.export.card import model_card
        from trainer.export.source import open_with_exits
        from trainer.run import write_atomic

        text = model_card(open_with_exits(path, drop_notes=True)[0], evaluations=evaluation or ())
        if output is not None:
            write_atomic(output, text)
    typer.echo(text if output is None else str(output), nl=output is not None)
