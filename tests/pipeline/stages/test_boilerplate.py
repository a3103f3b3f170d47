"""The stage `boilerplate` over clean's parts: equal to a plain reference however the documents lie."""

import random
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import boilerplate as driver
from pipeline.boilerplate import BoilerplateRun
from pipeline.config import PipelineConfig, make_config
from pipeline.dedup.boilerplate import limit_of
from pipeline.dedup.normalize import normalise
from pipeline.io import filesystem
from pipeline.io.sink import ArrowSink
from pipeline.runner import Execution
from pipeline.stages import boilerplate_cut, clean
from pipeline.stages.boilerplate_survey import AddArrays, _ArrayCoder
from pipeline.stages.candidates import signature_rows, signature_values
from pipeline.stages.documents import (
    audit_batches,
    cut_texts_path,
    document_batches,
    emptied_rows,
    signature_table,
)
from pipeline.stages.layout import CUT_LINES
from pipeline.stages.parts import PartRecord
from schemas.arrow import AUDIT, DOCUMENTS

Document = tuple[str, str]
"""(source, text)"""

CONFIG = make_config({"boilerplate": {"min_documents": 3, "min_share": 0.1, "min_characters": 6}})


def write(path, schema, table) -> None:
    sink = ArrowSink(str(path), schema)
    sink.write(table)
    sink.close()


def audit_row(source: str, record: str, verdict: str, text: str) -> dict:
    empty = dict.fromkeys(AUDIT.names) | {"scores": [], "repairs": ["ftfy"], "doc_id": "0" * 32}
    return empty | {
        "source": source,
        "record": record,
        "verdict": verdict,
        "rule": None if verdict == "kept" else "some.rule",
        "chars_in": len(text),
        "chars_out": len(text),
    }


def cleaned(output, parts: list[list[Document]], config: PipelineConfig = CONFIG) -> list[PartRecord]:
    """What `clean` would leave: documents, signatures, and an audit with a filtered record before each document."""
    records = []
    for index, part in enumerate(parts):
        texts = pa.array([text for _, text in part], pa.string())
        names = pa.array([f"f#{index}.{row}" for row in range(len(part))], pa.string())
        ids = pa.array([f"{index:016x}{row:016x}" for row in range(len(part))], pa.string())
        sources = pa.array([source for source, _ in part], pa.string())
        language = pa.array(["en"] * len(part), pa.string())
        documents = pa.RecordBatch.from_arrays([ids, names, sources, language, texts], schema=DOCUMENTS)
        signed = clean.signature_rows(documents, config, np.arange(len(part), dtype=np.uint16))
        write(output / clean.documents_path(index), DOCUMENTS, documents)
        write(output / clean.signatures_path(index), signed.schema, signed)
        rows = []
        for (source, text), name in zip(part, names.to_pylist(), strict=True):
            rows += [audit_row(source, f"{name}x", "filtered", "bad"), audit_row(source, name, "kept", text)]
        write(output / clean.audit_path(index), AUDIT, pa.Table.from_pylist(rows, schema=AUDIT))
        counts = Counter(source for source, _ in part)
        facts = {
            "sources": {source: {"kept": count} for source, count in counts.items()},
            "text_bytes": sum(len(text.encode()) for _, text in part),
        }
        records.append(PartRecord(index, str(index), (), facts))
    return records


def run(output, parts: list[list[Document]], config: PipelineConfig = CONFIG, workers: int = 1) -> dict:
    made = cleaned(output, parts, config)
    return BoilerplateRun(str(output), config, made, "print", Execution(workers=workers))().facts


def texts(output, parts: int) -> list[list[str]]:
    return [[t for b in document_batches(str(output), part) for t in b["text"].to_pylist()] for part in range(parts)]


def chosen(documents: list[Document], config: PipelineConfig = CONFIG) -> dict[str, set[str]]:
    """Source -> its boilerplate lines, normalised, in plain Python."""
    wanted = config.boilerplate
    distinct: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for source, text in documents:
        distinct[source].add(tuple(filter(None, map(normalise, text.split("\n")))))
    out = {}
    for source, some in distinct.items():
        limit = limit_of(len(some), wanted.min_documents, wanted.min_share)
        counts = Counter(line for lines in some for line in set(lines) if len(line) >= wanted.min_characters)
        candidates = {line for line, count in counts.items() if count >= limit}
        vouched: Counter[str] = Counter()
        for lines in some:
            covered = sum(len(line) for line in lines if line in candidates)
            if covered <= wanted.max_shared * sum(map(len, lines)):
                vouched.update(candidates & set(lines))
        out[source] = {line for line, count in vouched.items() if count >= limit}
    return out


def without(text: str, lines: set[str]) -> list[str]:
    """The lines with words in them that stay."""
    return [line for line in text.split("\n") if (folded := normalise(line)) and folded not in lines]


def assert_equal_to_reference(output, parts: list[list[Document]], config: PipelineConfig = CONFIG) -> None:
    gone = chosen([document for part in parts for document in part], config)
    found = texts(output, len(parts))
    for part, after in zip(parts, found, strict=True):
        for (source, text), cut in zip(part, after, strict=True):
            kept = without(text, gone[source])
            assert [line for line in cut.split("\n") if normalise(line)] == kept
            if len(kept) == len([line for line in text.split("\n") if normalise(line)]):
                assert cut == text


MENU = ["Home page", "HOME PAGE!", "Next chapter", "Größe ändern", "next"]
PROSE = [f"a sentence of its own, number {number}" for number in range(30)]


@pytest.mark.parametrize(("seed", "buckets"), [(1, 2), (2, 4), (3, 1 << 16)])
def test_equal_to_a_plain_reference_whatever_collides_in_the_sketch(tmp_path, monkeypatch, seed, buckets):
    monkeypatch.setattr(driver, "bucket_count", lambda documents: buckets)
    chance = random.Random(seed)
    lines = [*MENU, *MENU, "", "---", *PROSE]
    parts = [
        [(chance.choice("ab"), "\n".join(chance.choices(lines, k=chance.randrange(7)))) for _ in range(size)]
        for size in (25, 0, 12)
    ]
    facts = run(tmp_path, parts)
    assert facts["documents"] > 0
    assert_equal_to_reference(tmp_path, parts)


def corpus(documents: int = 60) -> list[Document]:
    """Manual pages with a menu on top and a notice below, and tales without."""
    chance = random.Random(7)
    pages = []
    for number in range(documents):
        own = "\n".join(f"Paragraph {number}.{k} says {chance.random()} and nothing else." for k in range(5))
        if number % 3:
            pages.append(("manual", f"Contents of the manual\nSearch this site\n\n{own}\n\nCopyright by the makers"))
        else:
            pages.append(("tales", f"CHAPTER {number}\n\n{own}"))
    return pages


def split(documents: list[Document], parts: int) -> list[list[Document]]:
    return [documents[part::parts] for part in range(parts)]


def outcome(output, parts: list[list[Document]], workers: int = 1) -> tuple:
    facts = run(output, parts, workers=workers)
    after = texts(output, len(parts))
    pairs = [
        (before, cut)
        for some, cuts in zip(parts, after, strict=True)
        for (_, before), cut in zip(some, cuts, strict=True)
    ]
    return facts, sorted(pairs), (output / CUT_LINES).read_bytes()


def test_the_same_for_any_order_and_parts(tmp_path):
    documents = corpus()
    shuffled = documents[:]
    random.Random(1).shuffle(shuffled)
    first = outcome(tmp_path / "one", split(documents, 4))
    assert first == outcome(tmp_path / "two", split(shuffled, 3))
    assert first[0] == {"documents": 40, "lines": 120, "characters": 40 * 66, "emptied": 0, "distinct_lines": 3}
    assert_equal_to_reference(tmp_path / "one", split(documents, 4))
    shown = filesystem.open_arrow(str(tmp_path / "one" / CUT_LINES)).read_all().to_pylist()
    assert [(row["source"], row["line"], row["documents"]) for row in shown] == [
        ("manual", "Copyright by the makers", 40),
        ("manual", "Contents of the manual", 40),
        ("manual", "Search this site", 40),
    ]


@pytest.mark.slow
def test_the_same_for_two_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "WORKER_BYTES", 1)
    parts = split(corpus(), 4)
    assert outcome(tmp_path / "one", parts) == outcome(tmp_path / "two", parts, workers=2)


def test_copies_of_one_document_do_not_make_its_text_boilerplate(tmp_path):
    tale = "Once upon a time there was a line.\nAnd then there was another.\n"
    parts = split([*corpus(), *[("tales", tale)] * 30, *[("tales", tale.upper())] * 30], 4)
    run(tmp_path, parts)
    after = [text for part in texts(tmp_path, 4) for text in part]
    assert after.count(tale) == 30
    assert after.count(tale.upper()) == 30


def test_near_copies_of_one_document_do_not_either(tmp_path):
    body = "\n".join(f"Line {number} of a letter that was sent many times." for number in range(20))
    letters = [("mail", f"Dear customer {number},\n{body}") for number in range(30)]
    parts = split([*letters, *[("mail", text) for _, text in corpus(20)]], 2)
    run(tmp_path, parts)
    assert_equal_to_reference(tmp_path, parts)
    assert all(body in text for part in texts(tmp_path, 2) for text in part if text.startswith("Dear"))


def test_a_document_of_nothing_else_is_emptied_and_said_to_be(tmp_path):
    stub = "Contents of the manual\n=====\nSearch this site"
    parts = split([*corpus(), ("manual", stub), ("manual", "Kept: one line of text.")], 3)
    facts = run(tmp_path, parts)
    place, row = next((p, r) for p, part in enumerate(parts) for r, (_, text) in enumerate(part) if text == stub)
    assert facts["emptied"] == 1
    assert facts["documents"] == 41
    assert texts(tmp_path, 3)[place][row] == ""
    assert [emptied_rows(str(tmp_path), part).tolist() for part in range(3)] == [
        [row] if part == place else [] for part in range(3)
    ]
    signed = signature_table(str(tmp_path), place)
    assert signed["shingles"][row].as_py() == 0
    assert signed["record"][row].as_py() == f"f#{place}.{row}"
    assert signed["quality"].to_pylist() == list(range(len(parts[place])))

    told = [(batch, places) for batch, places in audit_batches(str(tmp_path), place)]
    rows = pa.Table.from_batches([batch for batch, _ in told]).to_pylist()
    documents = np.concatenate([places for _, places in told])
    assert [rows[k]["record"] for k in documents] == [f"f#{place}.{k}" for k in range(len(parts[place]))]
    mine = rows[documents[row]]
    assert (mine["verdict"], mine["rule"], mine["chars_out"]) == ("filtered", "boilerplate.empty", 0)
    assert mine["detail"] == f"2 lines, {len(stub)} characters of boilerplate cut"
    assert mine["repairs"] == ["ftfy", "boilerplate"]
    after = texts(tmp_path, 3)[place]
    for number, audited in enumerate(documents.tolist()):
        assert rows[audited]["chars_out"] == len(after[number])
        assert ("boilerplate" in rows[audited]["repairs"]) == (after[number] != parts[place][number][1])


def test_signatures_are_those_of_the_cut_texts(tmp_path):
    parts = split(corpus(), 2)
    run(tmp_path, parts)
    again = cleaned(
        tmp_path / "again",
        [[(s, t) for (s, _), t in zip(p, a, strict=True)] for p, a in zip(parts, texts(tmp_path, 2), strict=True)],
    )
    assert len(again) == 2
    for part in range(2):
        expected = signature_table(str(tmp_path / "again"), part)
        assert signature_table(str(tmp_path), part).equals(expected)
        rows = np.arange(expected.num_rows)[::-2]
        assert np.array_equal(signature_rows(str(tmp_path), part, rows), signature_values(expected)[rows])


def test_parts_without_boilerplate_leave_no_file_and_a_second_run_does_nothing(tmp_path, monkeypatch):
    manual = [document for document in corpus() if document[0] == "manual"]
    parts = [manual, [("tales", f"one tale, numbered {number}") for number in range(12)], [("few", "alone")]]
    run(tmp_path, parts)
    assert filesystem.exists(str(tmp_path / cut_texts_path("boilerplate", 0)))
    assert not any(
        filesystem.exists(str(tmp_path / path)) for part in (1, 2) for path in boilerplate_cut.cut_paths(part)
    )

    def never(*_):
        raise AssertionError("a finished part was made again")

    monkeypatch.setattr(boilerplate_cut.Cut, "__call__", never)
    run(tmp_path, parts)


def test_what_an_earlier_run_cut_is_forgotten(tmp_path):
    parts = split(corpus(), 2)
    run(tmp_path, parts)
    assert texts(tmp_path, 2) != [[text for _, text in part] for part in parts]
    off = make_config({"boilerplate": {"enabled": False}})
    facts = BoilerplateRun(str(tmp_path), off, cleaned(tmp_path, parts), "other", Execution())().facts
    assert facts == {"documents": 0, "lines": 0, "characters": 0, "emptied": 0, "distinct_lines": 0}
    assert texts(tmp_path, 2) == [[text for _, text in part] for part in parts]
    assert filesystem.open_arrow(str(tmp_path / CUT_LINES)).read_all().num_rows == 0


@given(st.lists(st.lists(st.integers(0, 2**31), min_size=4, max_size=4), max_size=5), st.randoms())
def test_sketches_add_up_in_any_order(arrays, chance):
    combine, coder = AddArrays(), _ArrayCoder()
    inputs = [np.array(array, np.uint32) for array in arrays]
    expected = np.sum(inputs, axis=0, dtype=np.uint32) if inputs else np.empty(0, np.uint32)
    chance.shuffle(inputs)
    accumulators = [combine.add_input(combine.create_accumulator(), coder.decode(coder.encode(a))) for a in inputs]
    total = combine.merge_accumulators([combine.create_accumulator(), *accumulators])
    assert combine.extract_output(total).tolist() == expected.tolist()
