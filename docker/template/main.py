"""What Dataflow's Flex Template launcher runs: it submits the job of `clean` and ends, as one launch is one job.

Dataflow hands over the template's parameters and its own options (--project, --region, --job_name, ...) in one list;
ours are known by name, all others are Beam's.
"""

import os
import sys

from pipeline.cli import run

OURS = {"inputs", "output", "config_path", "text_field"}


def command(arguments: list[str]) -> list[str]:
    """The command line of `siliang-pipeline` for a list of --name=value."""
    own: dict[str, str] = {}
    beam: list[str] = []
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        if name in OURS:
            own[name] = value
        else:
            beam.append(argument)
    found = ["prepare", *own["inputs"].split(","), "--output", own["output"], "--submit", "--runner", "DataflowRunner"]
    if own.get("config_path"):
        found += ["--config", own["config_path"]]
    if own.get("text_field"):
        found += ["--text-field", own["text_field"]]
    return [*found, "--", *beam]


if __name__ == "__main__":
    code = run(command(sys.argv[1:]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
