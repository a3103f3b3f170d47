"""`siliang-pipeline schema`: the JSON Schema of its config file, for editors and checks."""

from typing import Any

import orjson
import typer

from pipeline.config import PipelineConfig


def config_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a TOML file's values; defaults and descriptions as in the code."""
    found = PipelineConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "siliang-pipeline config"}


def schema() -> None:
    """Print the JSON Schema of the config file."""
    typer.echo(orjson.dumps(config_schema(), option=orjson.OPT_INDENT_2).decode())
