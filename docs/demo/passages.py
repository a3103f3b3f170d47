"""A small real task from samples/: who wrote these twelve words?

    python docs/demo/passages.py OUTPUT

Writes OUTPUT/{train,valid,test}.tsv with the columns text and author: Melville, Milton, Shakespeare, or a president of
the United States. Of every file the last eighth is for the test and the eighth before it for validation, so that no
passage is on two sides; copies of a work, translations and what is by several hands are left out. Each author has the
same number of passages in a file.
"""

import sys
from pathlib import Path

SAMPLES = Path(__file__).parents[2] / "samples"
AUTHORS = {
    "Melville": "moby-dick/chapter_*.txt",
    "Milton": "milton/areopagitica_gut.txt",
    "President": "sotu/*.txt",
    "Shakespeare": "shakespeare/[hls]*_gut.txt",
}
WORDS = 12
ROWS = {"train": 750, "valid": 125, "test": 125}
"""Most of an author."""


def passages(path: Path) -> list[str]:
    """Runs of WORDS words, none of them twice."""
    words = path.read_text(encoding="utf-8-sig").split()
    return [" ".join(words[k : k + WORDS]) for k in range(0, len(words) - WORDS + 1, WORDS)]


def split(author: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in ROWS}
    for path in sorted(SAMPLES.glob(AUTHORS[author])):
        runs = passages(path)
        eighth = len(runs) // 8
        found["train"] += runs[: len(runs) - 2 * eighth]
        found["valid"] += runs[len(runs) - 2 * eighth : len(runs) - eighth]
        found["test"] += runs[len(runs) - eighth :]
    return found


def main(output: str) -> None:
    directory = Path(output)
    directory.mkdir(parents=True, exist_ok=True)
    all_runs = {author: split(author) for author in AUTHORS}
    for name, most in ROWS.items():
        count = min(most, *(len(runs[name]) for runs in all_runs.values()))
        lines = ["text\tauthor"]
        for k in range(count):
            # Evenly over an author's files, authors in turn.
            lines += [f"{runs[name][k * len(runs[name]) // count]}\t{author}" for author, runs in all_runs.items()]
        (directory / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{directory / name}.tsv: {count} passages of each of {len(AUTHORS)} authors")


if __name__ == "__main__":
    main(sys.argv[1])
