"""Main text of HTML: which library finds it best, and how fast. One core.

    python benchmarks/main_text.py --data DIR [--peers PYTHON] [--pages N] [--only NAME] [--quick]

DIR holds, at any depth, `linux-doc*/html/X.html` with the sources `Documentation/X.rst.gz` beside them (truth: the
source without its markup), `newspaper4k*/tests/data` (truth: the text labelled by hand), and, for speed alone,
`libreoffice-help-en-us` and `python3.11-doc`. Pages are chosen by a hash of their names.

The peers run in an interpreter of their own: --peers, or the environment variable SILIANG_PEERS_HTML.

    pip install resiliparse trafilatura selectolax justext readability-lxml lxml_html_clean newspaper4k boilerpy3
        html-text inscriptis html2text

Word F1: the harmonic mean of precision and recall of the words (case folded, with multiplicity; one character is a word
in scripts without spaces), per page, then the mean over pages. 4-gram F1: the same of four words in a row, which sees
order. MB/s: bytes of UTF-8 HTML over CPU seconds; a page that raises or takes more than 60 s counts as empty text.
The last line is one JSON object; figures of absent peers are null.
"""

import argparse
import gzip
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # this folder would hide the standard library's html behind this file

# --- truth ------------------------------------------------------------------------------------------------------------

_ELSEWHERE = re.compile(
    r"^\s*\.\. (?:kernel-doc|kernel-include|kernel-abi|kernel-feat|maintainers-include|include|literalinclude|toctree|"
    r"csv-table|only|raw|flat-table|math|kernel-figure|kernel-render)::",
    re.M,
)
"""Pages whose text does not stand in the source."""
_DIRECTIVE = re.compile(r"^(\s*)\.\. (?:([\w:+-]+)::|(_)[^:]*:|(\|)|(\[)|)(.*)$")
_OPTION = re.compile(r"^\s*:[\w-]+:(?:\s|$)")
_ARGUMENT_IS_TEXT = re.compile(
    r"c:|option|rubric|topic|describe|function|note|warning|tip|hint|caution|important|seealso"
)


def without_rst(source: str) -> str:
    """The words of a reStructuredText page as a reader of its HTML sees them; punctuation of the markup may stay."""
    lines: list[str] = []
    hidden: int | None = None  # indent of the comment whose block is left out
    options = False
    for line in source.splitlines():
        indent = len(line) - len(line.lstrip())
        if hidden is not None:
            if not line.strip() or indent > hidden:
                continue
            hidden = None
        if options and _OPTION.match(line):
            continue
        options = False
        found = _DIRECTIVE.match(line)
        if found is None:
            lines.append(line)
            continue
        _, name, _, _, footnote, rest = found.groups()
        if name is not None:
            options = True
            if _ARGUMENT_IS_TEXT.match(name):
                lines.append(f"{'' if ':' in name else name} {rest}")
        elif footnote is not None:
            lines.append(rest)
        else:  # a target, a substitution or a comment
            hidden = len(found.group(1))
    text = "\n".join(lines)
    return re.sub(r"`([^`<>]+?)\s*<[^`<>]+>`", r"\1", re.sub(r":[\w:+.-]+:`", "`", text))


_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\w+")
_SPACELESS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", _SPACELESS.sub(r" \g<0> ", text.casefold()))


def overlap(found: Counter, truth: Counter) -> tuple[float, float, float]:
    """Precision, recall and F1 of two multisets; two empty ones agree."""
    common = (found & truth).total()
    precision = common / found.total() if found else float(not truth)
    recall = common / truth.total() if truth else float(not found)
    return (
        precision,
        recall,
        2 * precision * recall / (precision + recall) if common else float(not truth and not found),
    )


def grams(tokens: list[str], size: int) -> Counter:
    return Counter(zip(*(tokens[start:] for start in range(size)), strict=False))


# --- pages ------------------------------------------------------------------------------------------------------------


def chosen(paths: list[Path], count: int) -> list[Path]:
    return sorted(paths, key=lambda path: hashlib.sha256("/".join(path.parts[-3:]).encode()).digest())[:count]


def folder(data: Path, name: str) -> Path | None:
    return next((path for path in sorted(data.rglob(name)) if path.is_dir() and not path.is_symlink()), None)


def linux_doc(data: Path, count: int) -> Iterator[tuple[str, str, str]]:
    """(name, HTML, truth); pages of at least 100 words whose text stands in their source."""
    html = folder(data, "linux-doc*/html") or folder(data, "linux-doc*/usr/share/doc/linux-doc*/html")
    if html is None:
        return
    for path in chosen([p for p in html.rglob("*.html") if not p.is_symlink()], 1 << 30):
        source = html.parent / "Documentation" / path.relative_to(html).with_suffix(".rst.gz")
        plain = source.with_suffix("")
        if source.is_file():
            rst = gzip.decompress(source.read_bytes()).decode("utf-8", "replace")
        elif plain.is_file():
            rst = plain.read_text("utf-8", "replace")
        else:
            continue
        if _ELSEWHERE.search(rst):
            continue
        truth = without_rst(rst)
        if len(words(truth)) < 100:
            continue
        yield str(path.relative_to(html)), path.read_text("utf-8", "replace"), truth
        count -= 1
        if not count:
            return


def news(data: Path) -> Iterator[tuple[str, str, str]]:
    labelled = folder(data, "newspaper4k*/tests/data")
    if labelled is None:
        return
    for path in sorted((labelled / "txt").glob("*.txt")):
        page = labelled / "html" / f"{path.stem}.html"
        if page.is_file():
            yield path.stem, page.read_text("utf-8", "replace"), path.read_text("utf-8", "replace")


def help_pages(data: Path, count: int) -> Iterator[tuple[str, str, str]]:
    for name in ("libreoffice-help-en-us", "python3*-doc"):
        root = folder(data, name)
        if root is not None:
            for path in chosen([p for p in root.rglob("*.html") if p.is_file() and not p.is_symlink()], count // 2):
                yield path.name, path.read_text("utf-8", "replace"), ""


# --- runs -------------------------------------------------------------------------------------------------------------


def run_peer(python: str, name: str, path: Path) -> dict | None:
    command = [python, str(Path(__file__).with_name("main_text_peers.py")), name, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=path.parent, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout else None


# --- the table --------------------------------------------------------------------------------------------------------


def scores(texts: list[str], truths: list[str]) -> tuple[float, float, float, float]:
    """Means over pages of word precision, recall, F1, and of 4-gram F1."""
    rows = []
    for text, truth in zip(texts, truths, strict=True):
        found, wanted = words(text), words(truth)
        rows.append((*overlap(Counter(found), Counter(wanted)), overlap(grams(found, 4), grams(wanted, 4))[2]))
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--peers", default=os.environ.get("SILIANG_PEERS_HTML"), help="interpreter with the peers")
    parser.add_argument("--pages", type=int, help="linux-doc pages; 400, or 40 with --quick")
    parser.add_argument("--only", action="append", help="peers whose names begin so; all by default")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data DIR is needed")
    count = arguments.pages or (40 if arguments.quick else 400)
    sets = {
        "linux-doc": list(linux_doc(arguments.data, count)),
        "news": list(news(arguments.data)),
        "help": list(help_pages(arguments.data, count)),
    }
    sets = {name: pages for name, pages in sets.items() if pages}
    if not any(name in sets for name in ("linux-doc", "news")):
        raise SystemExit(f"{arguments.data}: neither linux-doc pages with their sources nor newspaper4k's data")
    size = {name: sum(len(page[1].encode()) for page in pages) / 1e6 for name, pages in sets.items()}
    for name, pages in sets.items():
        print(f"{name}: {len(pages)} pages, {size[name]:.1f} MB")

    from benchmarks.main_text_peers import PEERS, QUICK, run_pages
    from pipeline.text.html import extract

    html = {name: [page[1] for page in pages] for name, pages in sets.items()}
    results = {"siliang": {name: run_pages(extract, pages, children=True) for name, pages in html.items()}}
    names = [
        n for n in (QUICK if arguments.quick else PEERS) if not arguments.only or n.startswith(tuple(arguments.only))
    ]
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "pages.json"
        path.write_text(json.dumps(html))
        for name in names:
            found = run_peer(arguments.peers, name, path) if arguments.peers else None
            if found is not None:
                results[name] = found
            print(f"{name}: {'done' if found is not None else 'not installed'}", file=sys.stderr)

    labelled = [name for name in ("linux-doc", "news") if name in sets]
    table: dict[str, dict[str, float]] = {}
    for name, found in results.items():
        row = {}
        for key in labelled:
            values = scores(found[key][0], [page[2] for page in sets[key]])
            for figure, value in zip(("precision", "recall", "f1", "f1_4gram"), values, strict=True):
                row[f"{key} {figure}"] = value
        row["f1"] = sum(row[f"{key} f1"] for key in labelled) / len(labelled)
        for key in sets:
            row[f"{key} mb_s"] = size[key] / max(found[key][1], 1e-9)
        row["mb_s"] = sum(size.values()) / max(sum(found[key][1] for key in sets), 1e-9)
        row["failed"] = sum(found[key][2] for key in sets)
        table[name] = row
    cells = [f"{key} {what}" for key in labelled for what in ("precision", "recall", "f1", "f1_4gram")]
    speeds = [*(f"{key} mb_s" for key in sets), "mb_s"]
    print("\n| extractor | " + " | ".join([*cells, "mean f1", *speeds, "failed"]) + " |")
    print("|---|" + "---:|" * (len(cells) + len(speeds) + 2))
    for name, row in sorted(table.items(), key=lambda item: -item[1]["f1"]):
        shown = [f"{row[cell]:.3f}" for cell in [*cells, "f1"]] + [f"{row[cell]:.2f}" for cell in speeds]
        print(f"| {name} | " + " | ".join([*shown, str(int(row["failed"]))]) + " |")
    if len(table) == 1:
        print("\nNo peer was found: give --peers PYTHON; what to install stands at the head of this file.")
    peers = {name: row for name, row in table.items() if name != "siliang"}
    best = max(peers, key=lambda name: peers[name]["f1"]) if peers else None
    metrics = {
        "html_f1": round(table["siliang"]["f1"], 4),
        "html_mb_s": round(table["siliang"]["mb_s"], 2),
        "best_peer": best,
        "best_peer_f1": round(peers[best]["f1"], 4) if best else None,
        "best_peer_mb_s": round(peers[best]["mb_s"], 2) if best else None,
        "pages": sum(len(pages) for pages in sets.values()),
        "mb": round(sum(size.values()), 1),
        "python": platform.python_version(),
        "quick": arguments.quick,
    }
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
