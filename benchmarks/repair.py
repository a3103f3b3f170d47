"""Repair: MB/s of ftfy, of the step that makes the same text, and of the whole repair. One core.

    python benchmarks/repair.py [--data DIR] [--mb N] [--quick] [--compare]

DIR is a raw-dev corpus (folders deb, npm, pypi) or any folder of text files; without it, samples/. Of raw-dev it takes
tier S: mails as UTF-8 with U+FFFD for what is none, pages of LibreOffice help with their markup, news, speeches,
fortunes one by one. --compare also takes the mails as Latin-1, and compares every document, and every line alone, with
`ftfy.fix_text`. Kernels are compiled and warmed up before anything is timed. The last line is one JSON object:

- repair_vs_ftfy: seconds of CPU of `ftfy.fix_text` / of `fix_texts` over the same texts
- repair_mb_s: the whole repair, MB of UTF-8 over seconds of CPU
- handed_share: lines that `fix_texts` hands to Python
- different: documents and lines that are not as ftfy makes them; null without --compare
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import ftfy
import numpy as np
import pyarrow as pa

from pipeline.records import RECORDS
from pipeline.text import mojibake
from pipeline.text.mojibake import fix_texts
from pipeline.text.repair import REPAIRS, repair

ROOT = Path(__file__).parent.parent
Parts = dict[str, list[str]]
"""Part of the corpus -> its texts."""


def _read(paths: Iterable[Path], encoding: str = "utf-8") -> list[str]:
    return [p.read_bytes().decode(encoding, "replace") for p in sorted(paths) if p.is_file() and not p.is_symlink()]


def _fortunes(folder: Path) -> list[str]:
    files = [p for p in folder.rglob("*") if p.suffix not in (".dat", ".u8", ".gz") and "games/fortunes" in str(p)]
    return [text for file in _read(files) for text in file.split("\n%\n") if text]


def tier_s(data: Path, compare: bool = False) -> Parts:
    """The texts of raw-dev, tier S; with `compare` also the mails as Latin-1."""
    mails = list(data.glob("npm/*spam-assassin*/data/*/*.txt"))
    helps = [*data.glob("deb/libreoffice-help-en-us/**/*.html"), *data.glob("deb/libreoffice-help-en-gb/**/*.html")]
    parts = {
        "spam-assassin": _read(mails),
        "LibreOffice help": _read(helps),
        "BBC news": _read(data.glob("pypi/*/**/bbcnews/data/*/*.txt")),
        "State of the Union": _read(data.glob("npm/*sotu*/data/*.txt")),
        "fortunes": _fortunes(data / "deb/fortunes"),
        "fortunes-zh": _fortunes(data / "deb/fortunes-zh"),
    }
    if compare:
        parts["spam-assassin, Latin-1"] = _read(mails, "latin-1")
    return parts


def any_folder(data: Path) -> Parts:
    files = (p for p in data.rglob("*") if not p.name.startswith(".") and not (p.parent / ".git").exists())
    return {data.name: _read(files)}


def first_of(parts: Parts, megabytes: float) -> Parts:
    """The same share of every part, taken evenly over it, of about so many megabytes together."""
    size = sum(len(text) for texts in parts.values() for text in texts) / 1e6
    step = max(1, round(size / megabytes))
    return {name: texts[::step] for name, texts in parts.items()}


def columns(texts: list[str], size: int = 8 << 20) -> Iterator[pa.Array]:
    """Batches as the pipeline makes them."""
    held: list[str] = []
    weight = 0
    for text in texts:
        held.append(text)
        weight += len(text)
        if weight > size or len(held) == 1024:
            yield pa.array(held, pa.string())
            held, weight = [], 0
    if held:
        yield pa.array(held, pa.string())


def buffers(column: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """UTF-8 bytes, offsets and a mask of all documents: what `fix_texts` takes."""
    _, offsets, data = column.buffers()
    raw = np.frombuffer(data if data is not None else b"", np.uint8)
    return raw, np.frombuffer(offsets, np.int32, len(column) + 1).astype(np.int64), np.ones(len(column), bool)


def record_batch(column: pa.Array) -> pa.RecordBatch:
    empty = {"record": "", "source": "", "media": "text", "doc_id": "", "chars_in": 0, "repairs": []}
    rows = len(column)
    arrays = [
        column
        if field.name == "text"
        else pa.array([empty[field.name]] * rows, field.type)
        if field.name in empty
        else pa.nulls(rows, field.type)
        for field in RECORDS
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=RECORDS)


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The least seconds of CPU of several runs: what other processes do only adds."""
    best = float("inf")
    for _ in range(repeats):
        mojibake._fix_known.cache_clear()
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def handed(batches: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> list[str]:
    """The lines that the kernel leaves to Python."""
    seen: list[str] = []
    real, known = mojibake._fix_segment, mojibake._fix_known

    def spy(segment: str, entities: bool) -> str:
        seen.append(segment)
        return real(segment, entities)

    mojibake._fix_segment = mojibake._fix_known = spy  # type: ignore[assignment]
    try:
        for batch in batches:
            fix_texts(*batch)
    finally:
        mojibake._fix_segment, mojibake._fix_known = real, known
    return seen


def differences(texts: list[str]) -> tuple[int, list[str]]:
    """How many texts were compared with ftfy, and those that differ."""
    bad = []
    for column in columns(texts):
        data, ends, _ = fix_texts(*buffers(column))
        raw = data.tobytes()
        for row, text in enumerate(column.to_pylist()):
            if raw[ends[row] : ends[row + 1]].decode() != ftfy.fix_text(text):
                bad.append(text)
    return len(texts), bad


def compare(parts: Parts) -> dict[str, int]:
    """Documents and distinct lines compared with ftfy, and how many differ."""
    documents = lines = different = 0
    for name, texts in parts.items():
        count, bad = differences(texts)
        documents += count
        alone = sorted({line for text in texts for line in text.split("\n")})
        count, bad_lines = differences(alone)
        lines += count
        different += len(bad) + len(bad_lines)
        print(f"  {name:<24} {len(texts):>8,} documents {count:>9,} lines {len(bad) + len(bad_lines):>4} differ")
        for text in [*bad_lines, *bad][:5]:
            print(f"    {text[:200]!r}")
    return {"documents": documents, "lines": lines, "different": different}


def measure(parts: Parts, repeats: int) -> dict[str, float]:
    """Prints a table by part; returns repair_vs_ftfy, repair_mb_s and handed_share over all."""
    total = np.zeros(6)
    print(f"  {'':<24} {'MB':>7} {'ftfy':>8} {'ours':>8} {'ratio':>7} {'repair':>8}  handed lines")
    print(f"  {'':<24} {'':>7} {'MB/s':>8} {'MB/s':>8} {'':>7} {'MB/s':>8}")
    for name, texts in parts.items():
        batches = list(columns(texts))
        raw = [buffers(batch) for batch in batches]
        records = [record_batch(batch) for batch in batches]
        size = sum(int(offsets[-1]) for _, offsets, _ in raw) / 1e6
        theirs = seconds(lambda texts=texts: [ftfy.fix_text(text) for text in texts], 1)  # type: ignore[misc]
        ours = seconds(lambda raw=raw: [fix_texts(*batch) for batch in raw], repeats)  # type: ignore[misc]
        whole = seconds(lambda records=records: [repair(batch) for batch in records], repeats)  # type: ignore[misc]
        lines = sum(text.count("\n") + (text[-1:] != "\n") for text in texts)
        found = len(handed(raw))
        total += (size, theirs, ours, whole, lines, found)
        speeds = f"{size / theirs:8.2f} {size / ours:8.1f} {theirs / ours:7.1f} {size / whole:8.1f}"
        print(f"  {name:<24} {size:7.2f} {speeds}  {found:,} of {lines:,} ({found / max(lines, 1):.3%})")
    size, theirs, ours, whole, lines, found = total
    speeds = f"{size / theirs:8.2f} {size / ours:8.1f} {theirs / ours:7.1f} {size / whole:8.1f}"
    print(f"  {'all':<24} {size:7.2f} {speeds}  {found:,.0f} of {lines:,.0f} ({found / lines:.3%})")
    return {
        "repair_vs_ftfy": round(theirs / ours, 2),
        "repair_mb_s": round(size / whole, 2),
        "fix_mb_s": round(size / ours, 2),
        "ftfy_mb_s": round(size / theirs, 3),
        "handed_share": round(found / lines, 6),
        "mb": round(size, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "samples")
    parser.add_argument("--mb", type=float, help="megabytes of input; all, or 8 with --quick")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--compare", action="store_true", help="compare every document and line with ftfy: minutes")
    arguments = parser.parse_args()
    raw_dev = (arguments.data / "npm").is_dir()
    parts = tier_s(arguments.data, arguments.compare) if raw_dev else any_folder(arguments.data)
    megabytes = arguments.mb or (8.0 if arguments.quick else 0)
    if megabytes:
        parts = first_of(parts, megabytes)
    if not any(parts.values()):
        raise SystemExit(f"{arguments.data}: no files")
    started = time.perf_counter()
    repair(record_batch(pa.array(["Ã© “warm up”\f\n"])))
    print(f"warm-up, compilers and tables: {time.perf_counter() - started:.1f} s")
    metrics = measure(parts, 2 if arguments.quick else 3)
    compared = compare(parts) if arguments.compare else {"documents": None, "lines": None, "different": None}
    counts = dict.fromkeys(REPAIRS, 0)
    for texts in parts.values():
        for column in columns(texts):
            for names in repair(record_batch(column))["repairs"].to_pylist():
                for name in names:
                    counts[name] += 1
    print("  documents by repair: " + ", ".join(f"{name} {count:,}" for name, count in counts.items() if count))
    print(json.dumps({**metrics, **compared, "python": platform.python_version(), "quick": arguments.quick}))


if __name__ == "__main__":
    main()
