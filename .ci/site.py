"""Hooks of the documentation site: recorded measurements, which lie outside docs/, become pages of it."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ("RESULTS.md", "ABLATION.md")


def on_config(config: Any) -> Any:
    """Pages that the navigation does not name stand at its end, so that none is lost."""
    docs = Path(config.docs_dir)
    named = set(re.findall(r"'([^']+\.md)'", str(config.nav)))
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    if left := sorted(there - named):
        config.nav.append({"More": left})
    return config


def on_files(files: Any, config: Any) -> Any:
    for name in MEASURED:
        text = (ROOT / "benchmarks" / name).read_text(encoding="utf-8")
        # Links of theirs lead into benchmarks/, which is no part of the site: their words stay.
        text = re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", text)
        files.append(File.generated(config, f"measured/{name}", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    markdown = re.sub(r"\]\((?:\.\./)+benchmarks/(\w+\.md)", rf"]({_up(page)}measured/\1", markdown)
    # Examples are files to copy, not pages.
    return re.sub(r"\[([^\]]+)\]\((examples/[^)]+)\)", r"`docs/\2`", markdown)


def _up(page: Any) -> str:
    return "../" * page.file.src_uri.count("/")
