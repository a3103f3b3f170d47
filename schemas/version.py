"""The command `siliang`: which version is here, and what its two programs are called."""

import argparse
from importlib.metadata import version


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="siliang",
        description="Siliang is two programs: `siliang-pipeline` prepares text, `siliang-trainer` trains on it.",
        epilog="Each has --help, and `doctor` to check the machine.",
    )
    parser.add_argument("--version", action="version", version=f"siliang {version('siliang')}")
    parser.parse_args(arguments)
    parser.print_help()
