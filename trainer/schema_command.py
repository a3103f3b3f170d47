"""`siliang-trainer schema`: the JSON Schemas of its config files, for editors and checks."""

import json
from typing import Annotated, Any

import typer

from trainer.console import errors

KINDS = ("train", "finetune")


def config_schema(kind: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a TOML file's values. kind: one of KINDS."""
    from trainer.config import TrainConfig
    from trainer.sections.finetune import FinetuneConfig

    found = (TrainConfig if kind == "train" else FinetuneConfig).model_json_schema()
    title = f"siliang-trainer {kind} config"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": title}


def schema(
    kind: Annotated[str, typer.Argument(help=f"Whose config file: {', '.join(KINDS)}.", metavar="KIND")] = "train",
) -> None:
    """Print the JSON Schema of a config file."""
    if kind not in KINDS:
        raise typer.BadParameter(f"'{kind}' is none of {', '.join(KINDS)}", param_hint="KIND")
    with errors():
        typer.echo(json.dumps(config_schema(kind), indent=2, ensure_ascii=False))
