"""`show` and `export` as a user calls them, on a prepared corpus of real and of hostile text."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
from rich.console import Console

from pipeline.cli import run
from pipeline.config import make_config
from pipeline.inspect.marked import segments
from pipeline.inspect.show import render_note, render_rows, shard_rows, word_note
from pipeline.report.collect import collect
from pipeline.report.page import render
from pipeline.report.visible import visible_text
from pipeline.run import Request, prepare
from pipeline.words.frequency import normalise_word
from pipeline.words.tokenizer import Tokenizer
from schemas.arrow import WORD_FREQUENCY, example, note
from schemas.manifest import ManifestError, read_manifest, write_manifest
from schemas.shard import open_shard
from trainer.data.shards import Corpus

HOSTILE = "The [red]whaleman[/red] <script>alert('evil')</script> of \u202e{rare}\u202c saw “it” and \x9bdepths 鲸鱼. "
"""Twice in each of four documents stands one of three rare words, between the overrides."""
SETTINGS = {
    "input": {"text_fields": ["text", "paragraphs"], "split_characters": 1500, "unit_bytes": 60_000},
    "rules": {"sets": []},
    "vocabulary": {"size": 2000, "sample_bytes": 200_000, "threads": 1},
    "shards": {"valid_share": 0.2, "test_share": 0.2, "shard_tokens": 10_000},
    "words": {"rare_low": 2, "rare_high": 8, "contexts": 3, "families": True, "ngrams": 2},
}


@pytest.fixture(scope="module")
def corpus(root, tmp_path_factory) -> Path:
    raw = tmp_path_factory.mktemp("shown") / "raw"
    for pattern in ("moby-dick/chapter_1*.txt", "udhr-html/[c]*.html", "zh-classics/lunyu.json"):
        for path in sorted((root / "samples").glob(pattern)):
            target = raw / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for number in range(12):
        hostile = HOSTILE.format(rare=f"quixot{'abc'[number % 3]}l")
        filling = f"Number{number} " * (40 + number)  # or they would be copies of one another
        (raw / "moby-dick" / f"hostile_{number}.txt").write_text(hostile + filling + hostile)
    output = raw.parent / "data"
    prepare(Request((str(raw),), str(output), make_config(SETTINGS)))
    return output


@pytest.fixture
def command(capsys):
    """The command line within this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def rows_of(done: tuple[int, str, str]) -> list[dict]:
    code, shown, problems = done
    assert code == 0, problems
    return [json.loads(line) for line in shown.splitlines()]


def every_row(corpus: Path) -> list[dict]:
    found = []
    for split in ("train", "valid", "test"):
        for number, entry in enumerate(read_manifest(corpus).under(split)):
            found += shard_rows(corpus, f"{split}/{number}", 0, entry.rows)
    return found


def test_rows_are_the_shards_decoded(corpus):
    manifest = read_manifest(corpus)
    tokenizer = Tokenizer(corpus / "vocabulary/siliang.model")
    rows = every_row(corpus)
    schema = example(manifest.vocabulary_size)
    entries = [entry for split in ("train", "valid", "test") for entry in manifest.under(split)]
    table = pa.concat_tables([open_shard(corpus / entry.path, schema).read_all() for entry in entries])
    notes = pa.concat_tables(
        [open_shard(corpus / e.path, note(manifest.vocabulary_size)).read_all() for e in manifest.under("notes")]
    )
    words = notes["word"].to_pylist()
    assert len(rows) == len(table) > 30
    assert sum(len(row["rare"]) for row in rows) > 1000
    for shown, stored in zip(rows, table.to_pylist(), strict=True):
        assert (shown["doc_id"], shown["tokens"]) == (stored["doc_id"], len(stored["tokens"]))
        assert shown["text"] == tokenizer.decode(stored["tokens"])
        assert [(s["start"], s["end"], s["word_id"]) for s in shown["rare"]] == [
            (s["start"], s["end"], s["word"]) for s in stored["rare"]
        ]
        for span in shown["rare"]:
            assert span["word"] == words[span["word_id"]]
            assert normalise_word(shown["text"][span["at"] : span["to"]]) == span["word"]


def test_the_marked_text_is_the_decoded_one_wherever_it_is_cut(corpus):
    tokenizer = Tokenizer(corpus / "vocabulary/siliang.model")
    text = "  Two spaces, 鲸鱼 and \U0001f40b\u200d\u202e \x07 tail ."
    ids = tokenizer.encode([text]).ids
    boundaries = [i for i in range(len(ids) + 1) if i == len(ids) or not tokenizer.byte_pieces[ids[i]]]
    for start in boundaries:
        for end in boundaries:
            if start <= end:
                before, inside, behind = segments(tokenizer, ids, [(start, end)])
                assert before + inside + behind == tokenizer.decode(ids)
    assert segments(tokenizer, ids[:0], []) == [""]
    with pytest.raises(ManifestError, match="order"):
        segments(tokenizer, ids, [(3, 2)])
    with pytest.raises(ManifestError, match="not in the vocabulary"):
        segments(tokenizer, np.array([60_000], np.uint16), [])


def test_show_chooses_rows(corpus, command):
    count = read_manifest(corpus).under("train")[0].rows
    three = rows_of(command("show", corpus, "--shard", "train/0"))
    assert [row["row"] for row in three] == [0, 1, 2]
    last = rows_of(command("show", corpus, "--shard", three[0]["shard"], "--first", count - 1, "--rows", 9))
    assert [row["row"] for row in last] == [count - 1]
    for arguments, word in (
        (("--shard", "train/99"), "train/0 to train/"),
        (("--shard", "audit/0"), "no such shard"),
        (("--shard", "test/0", "--first", 10_000), "there is no row 10,000"),
        ((), "give one of --shard and --word"),
        (("--shard", "train/0", "--word", "whale"), "give one of --shard and --word"),
    ):
        code, shown, problems = command("show", corpus, *arguments)
        assert (code, shown) == (2, "")
        assert word in problems


def test_the_note_of_a_word(corpus, command):
    manifest = read_manifest(corpus)
    tokenizer = Tokenizer(corpus / "vocabulary/siliang.model")
    tables = [open_shard(corpus / e.path, note(manifest.vocabulary_size)).read_all() for e in manifest.under("notes")]
    notes = pa.concat_tables(tables).to_pylist()
    chosen = [max(notes, key=lambda row: len(row["family"])), *notes[:: len(notes) // 20]]
    assert chosen[0]["family"]
    for row in chosen:
        (found,) = rows_of(
            command("show", corpus, "--word", row["word"].upper() if row["word"].isascii() else row["word"])
        )
        assert {key: found[key] for key in ("word", "count", "documents", "word_id", "family")} == {
            key: row[key] for key in ("word", "count", "documents", "word_id", "family")
        }
        assert found["family_words"] == [notes[other]["word"] for other in row["family"]]
        assert len(found["windows"]) == len(row["contexts"])
        for window, context in zip(found["windows"], row["contexts"], strict=True):
            assert window["left"] + window["word"] + window["right"] == tokenizer.decode(context["tokens"])
            assert normalise_word(window["word"]) == row["word"]


def test_a_word_without_a_note_and_no_word(corpus, command):
    table = open_shard(corpus / "frequency/words.arrow", WORD_FREQUENCY).read_all()
    (the,) = rows_of(command("show", corpus, "--word", "THE"))
    assert (the["word"], the["word_id"], the["windows"]) == ("the", None, [])
    assert the["count"] == pc.sum(table.filter(pc.equal(table["word"], "the"))["count"]).as_py()
    for word in ("xyzzyx", "", "%"):
        code, shown, problems = command("show", corpus, "--word", word)
        assert (code, shown) == (0, "")
        assert "no document has this word" in problems


def test_nothing_of_the_text_is_obeyed_by_a_terminal(corpus):
    def drawn(write, what) -> str:
        sink = io.StringIO()
        write(what, Console(file=sink, highlight=False, markup=False, emoji=False, width=200, force_terminal=False))
        return sink.getvalue()

    rows = [row for row in every_row(corpus) if "<script>" in row["text"]]
    assert any("\u202e" in row["text"] for row in rows)
    text = drawn(render_rows, rows)
    assert "⟦" in text
    assert "[red]" in text
    assert "⟨U+202E⟩" in text
    for found in [row["rare"][0]["word"] for row in rows if row["rare"]][:5]:
        text += drawn(render_note, word_note(corpus, found))
    assert all(visible_text(line, len(line) + 1) == line for line in text.splitlines())


def test_json_is_safe_on_a_terminal_too(corpus, command):
    number = [row["row"] for row in shard_rows(corpus, "train/0", 0, 1000) if "\u202e" in row["text"]]
    for first in number[:1]:
        code, shown, _ = command("show", corpus, "--shard", "train/0", "--first", first, "--rows", 1, "--json")
        assert code == 0
        assert visible_text(shown.rstrip("\n"), len(shown) + 1) == shown.rstrip("\n")


@pytest.mark.parametrize("form", ["parquet", "jsonl", "mds"])
def test_export(corpus, tmp_path, command, form):
    output = tmp_path / "out"
    code, shown, problems = command("export", corpus, "--format", form, "--output", output, "--text")
    assert code == 0, problems
    manifest = read_manifest(corpus)
    assert shown.startswith(f"{output}/train: {sum(e.rows for e in manifest.under('train')):,} documents, ")
    rows = {row["doc_id"]: row["text"] for row in every_row(corpus)}
    if form == "jsonl":
        lines = [line for path in output.rglob("*.jsonl") for line in path.read_text().split("\n") if line]
        assert {row["doc_id"]: row["text"] for row in map(json.loads, lines)} == rows
    if form == "parquet":
        found = [
            pyarrow.parquet.read_table(output / split).select(["doc_id", "text"])
            for split in ("train", "valid", "test")
        ]
        assert {row["doc_id"]: row["text"] for table in found for row in table.to_pylist()} == rows
    code, shown, problems = command("export", corpus, "--format", form, "--output", output)
    assert (code, shown) == (2, "")
    assert "is not empty" in problems


def test_the_report_tells_of_growth_splits_and_what_got_no_note(corpus, tmp_path):
    manifest = read_manifest(corpus)
    report = collect(corpus)
    told = report.words.counting
    assert told.words == told.heaps[-1][0] == report.words.total
    assert told.heaps[-1][1] == told.listed["words"] == report.words.distinct
    assert report.tokens.test == sum(entry.tokens for entry in manifest.under("test")) > 0
    splits = {
        name: sum(getattr(source, name) for source in report.tokens.by_source) for name in ("train", "valid", "test")
    }
    assert splits == {name: getattr(report.tokens, name) for name in splits}
    facts = report.rare.facts
    assert (facts.rare_low, facts.rare_high) == (2, 8)
    assert sum(facts.rare_excluded.values()) > 0
    tables = [open_shard(corpus / e.path, note(manifest.vocabulary_size)).read_all() for e in manifest.under("notes")]
    notes = pa.concat_tables(tables).to_pylist()
    assert facts.without_window == sum(not row["contexts"] for row in notes)
    assert facts.in_families == sum(bool(row["family"]) for row in notes)
    page = render(report)
    for text in ("Heaps' law", "numbers, addresses, signs", "Tokens by source and split", "n-grams of at least"):
        assert text in page
    assert page.count("<svg ") == page.count("<figure")

    shutil.copytree(corpus, tmp_path / "bare", ignore=shutil.ignore_patterns("stages"))
    bare = collect(tmp_path / "bare")
    assert (bare.words.counting, bare.rare.facts) == (None, None)
    assert bare.words.model_copy(update={"counting": told}) == report.words
    assert "Heaps" not in render(bare)


def test_facts_of_another_run_are_not_told(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "data")
    manifest = read_manifest(corpus)
    prints = manifest.fingerprints | {"count": "0" * 64}
    write_manifest(tmp_path / "data", manifest.model_copy(update={"fingerprints": prints}))
    (tmp_path / "data/stages/encode/done.json").write_text("{oops")
    report = collect(tmp_path / "data")
    assert (report.words.counting, report.rare.facts) == (None, None)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_the_trainer_opens_every_split(corpus, split):
    opened = Corpus(corpus, split)
    entries = read_manifest(corpus).under(split)
    assert (opened.documents, opened.tokens_total) == (sum(e.rows for e in entries), sum(e.tokens for e in entries))
