"""What lies in a prepared corpus: rows of a shard as text with their rare words marked, and the note of a word."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.text import Text

from pipeline.inspect.marked import segments
from pipeline.inspect.rules import InspectError
from pipeline.report.visible import cut, visible_text
from pipeline.words.frequency import normalise_word
from pipeline.words.tokenizer import Tokenizer
from schemas.arrow import WORD_FREQUENCY, example, note
from schemas.manifest import FileEntry, Manifest, ManifestError, read_manifest
from schemas.shard import open_shard

MODEL = "vocabulary/siliang.model"
WORDS = "frequency/words.arrow"
SPLITS = ("train", "valid", "test")
MARKS = "⟦", "⟧"
"""Around a rare word on a terminal, where colours may be off."""
SHOWN_TEXT = 1200
"""Code points of a row's text on a terminal."""


def shard_rows(directory: str | Path, shard: str, first: int = 0, rows: int = 3) -> list[dict[str, Any]]:
    """Rows first..first + rows of a shard, which is named like train/0, or by its path in the manifest.

    `text`: all of it, decoded; `rare`: `word_id`, `word`, `start` and `end` in tokens, `at` and `to` in code points of
    the text. Raises InspectError for a shard that is not there, ManifestError and SchemaError for damage.
    """
    root = Path(directory)
    manifest = read_manifest(root)
    entry = _shard(manifest, shard)
    reader = open_shard(root / entry.path, example(manifest.vocabulary_size))
    if first >= entry.rows:
        raise InspectError(f"{entry.path} has {entry.rows:,} rows, from 0; there is no row {first:,}")
    found: list[dict[str, Any]] = []
    base = 0
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        start = max(first + len(found) - base, 0)
        found += [{"row": base + start + i, **row} for i, row in enumerate(_rows(batch, start, rows - len(found)))]
        base += batch.num_rows
        if len(found) == rows:
            break
    tokenizer = Tokenizer(root / MODEL)
    words = _words_of(root, manifest, {span["word"] for row in found for span in row["rare"]})
    return [_shown(entry, row, tokenizer, words) for row in found]


def _shard(manifest: Manifest, shard: str) -> FileEntry:
    shards = {split: manifest.under(split) for split in SPLITS if manifest.under(split)}
    for split, entries in shards.items():
        for number, entry in enumerate(entries):
            if shard in (f"{split}/{number}", entry.path):
                return entry
    there = ", ".join(f"{split}/0 to {split}/{len(entries) - 1}" for split, entries in shards.items())
    raise InspectError(f"--shard {shard}: no such shard; there are {there or 'none'}")


def _rows(batch: pa.RecordBatch, start: int, count: int) -> Iterator[dict[str, Any]]:
    for row in range(start, min(start + count, batch.num_rows)):
        tokens = batch["tokens"][row].values.to_numpy()
        yield {"doc_id": batch["doc_id"][row].as_py(), "ids": tokens, "rare": batch["rare"][row].as_py()}


def _shown(entry: FileEntry, row: dict[str, Any], tokenizer: Tokenizer, words: dict[int, str]) -> dict[str, Any]:
    parts = segments(tokenizer, row["ids"], [(span["start"], span["end"]) for span in row["rare"]])
    ends = np.cumsum([len(part) for part in parts]).tolist()
    rare = [
        {
            "word_id": span["word"],
            "word": words.get(span["word"]),
            "start": span["start"],
            "end": span["end"],
            "at": ends[2 * number],
            "to": ends[2 * number + 1],
        }
        for number, span in enumerate(row["rare"])
    ]
    head = {"shard": entry.path, "row": row["row"], "doc_id": row["doc_id"], "tokens": len(row["ids"])}
    return {**head, "text": "".join(parts), "rare": rare}


def word_note(directory: str | Path, word: str) -> dict[str, Any] | None:
    """What the corpus knows of a word, in whatever case it is given; None where no document has it.

    `word`: its counted form; `count`, `documents`; `word_id`: None where it has no note, the keys below are then empty;
    `family`: other rare forms, and `family_words`; `windows`: `doc_id`, `left`, `word`, `right`.
    Raises ManifestError and SchemaError for damage.
    """
    root = Path(directory)
    manifest = read_manifest(root)
    counted = normalise_word(word)
    for entry in manifest.under("notes"):
        for batch in _batches(root, entry, note(manifest.vocabulary_size)):
            at = pc.index(batch["word"], counted).as_py()
            if at >= 0:
                return _note(root, manifest, batch.slice(at, 1).to_pylist()[0])
    for entry in manifest.files:
        for batch in _batches(root, entry, WORD_FREQUENCY) if entry.path == WORDS else ():
            at = pc.index(batch["word"], counted).as_py()
            if at >= 0:
                return batch.slice(at, 1).to_pylist()[0] | {
                    "word_id": None,
                    "family": [],
                    "family_words": [],
                    "windows": [],
                }
    return None


def _note(root: Path, manifest: Manifest, row: dict[str, Any]) -> dict[str, Any]:
    tokenizer = Tokenizer(root / MODEL)
    windows = []
    for context in row["contexts"]:
        parts = segments(tokenizer, np.array(context["tokens"]), [(context["start"], context["end"])])
        windows.append({"doc_id": context["doc_id"]} | dict(zip(("left", "word", "right"), parts, strict=True)))
    family = row["family"] or []
    words = _words_of(root, manifest, set(family))
    counts = {name: row[name] for name in ("word", "count", "documents", "word_id")}
    return {**counts, "family": family, "family_words": [words.get(other) for other in family], "windows": windows}


def _batches(root: Path, entry: FileEntry, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    reader = open_shard(root / entry.path, schema)
    return (reader.get_batch(number) for number in range(reader.num_record_batches))


def _words_of(root: Path, manifest: Manifest, word_ids: set[int]) -> dict[int, str]:
    """Words by word_id, which is the row over all notes; batches without one of them are not looked into."""
    wanted = np.array(sorted(word_ids), np.int64)
    found: dict[int, str] = {}
    base = 0
    for entry in manifest.under("notes") if len(wanted) else ():
        for batch in _batches(root, entry, note(manifest.vocabulary_size)):
            here = wanted[(wanted >= base) & (wanted < base + batch.num_rows)]
            found |= zip(here.tolist(), batch["word"].take(pa.array(here - base)).to_pylist(), strict=True)
            base += batch.num_rows
    if missing := word_ids - found.keys():
        raise ManifestError(f"{root}: no note has word_id {min(missing)}; run `siliang-pipeline verify`")
    return found


def render_rows(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """A line about each row and its text, cut to SHOWN_TEXT. Hidden characters are named."""
    for row in rows:
        head = f"{row['shard']} row {row['row']:,}"
        console.print(
            Text.assemble(
                (visible_text(head), "bold"),
                f"  {visible_text(row['doc_id'], 40)}  {row['tokens']:,} tokens, {len(row['rare']):,} rare words",
            ),
            soft_wrap=True,
        )
        shown = Text()
        at = 0
        for span in row["rare"]:
            if span["to"] > SHOWN_TEXT:
                break
            shown.append(_harmless(row["text"][at : span["at"]]))
            shown.append(_marked(row["text"][span["at"] : span["to"]]))
            at = span["to"]
        shown.append(_harmless(row["text"][at : max(at, SHOWN_TEXT)]))
        console.print(shown, soft_wrap=True)
        if len(row["text"]) > SHOWN_TEXT:
            console.print(f"… and {len(row['text']) - max(at, SHOWN_TEXT):,} characters more", style="dim")
        console.print()


def render_note(found: dict[str, Any], console: Console) -> None:
    """Counts, family and windows. Hidden characters are named."""
    counts = f": {found['count']:,} times in {found['documents']:,} documents"
    console.print(Text.assemble((visible_text(found["word"]), "bold"), counts), soft_wrap=True)
    if found["word_id"] is None:
        console.print("It has no note: it is not one of the rare words.")
        return
    if found["family_words"]:
        others = ", ".join(visible_text(word, 80) for word in found["family_words"])
        console.print(Text(f"Other rare forms: {others}"), soft_wrap=True)
    if not found["windows"]:
        console.print("It has no window: no document of the training split holds it.")
    for window in found["windows"]:
        console.print(f"\n{visible_text(window['doc_id'], 40)}", style="dim", soft_wrap=True)
        console.print(
            Text.assemble(_harmless(window["left"]), _marked(window["word"]), _harmless(window["right"])),
            soft_wrap=True,
        )


def _harmless(text: str) -> str:
    return visible_text(text, max(len(text), 1))


def _marked(text: str) -> Text:
    return Text(f"{MARKS[0]}{visible_text(cut(text, 240))}{MARKS[1]}", style="bold yellow")
