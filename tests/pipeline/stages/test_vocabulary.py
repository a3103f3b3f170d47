import hashlib
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from pipeline.config import VocabularyConfig
from pipeline.io.sink import ArrowSink
from pipeline.runner import Execution, run_job
from pipeline.settle_vocabulary import VocabularyRun
from pipeline.stages import vocabulary
from pipeline.stages.deduplicate import DECISIONS, decisions_path
from pipeline.stages.layout import documents_path
from pipeline.stages.parts import collect_parts, finished_part, write_tasks
from pipeline.words.sample import DOCUMENT_BYTES
from schemas.arrow import DOCUMENTS

SAMPLES = Path(__file__).parents[3] / "samples"


def documents() -> list[tuple[str, str, str]]:
    """(source, language, text): speeches, a novel, a Chinese book by its passages, and one long text."""
    rows = [("sotu", "en", path.read_text("utf-8", "replace")[:20_000]) for path in sorted(SAMPLES.glob("sotu/*.txt"))]
    for path in sorted(SAMPLES.glob("moby-dick/*.txt")):
        rows.append(("moby-dick", "en", path.read_text("utf-8", "replace")))
    lines = orjson.loads((SAMPLES / "zh-classics" / "lunyu.json").read_bytes())
    rows += [("classics", "zh", part) for chapter in lines for part in chapter["paragraphs"]]
    return [*rows, ("moby-dick", "en", "Call me Ishmael. " * (2 * DOCUMENT_BYTES // 17))]


def write_parts(output: Path, rows: list[tuple[str, str, str]], cuts: list[int]) -> dict[int, int]:
    """The parts as clean and deduplicate leave them, every seventh document dropped; bytes of text by part."""
    sizes = {}
    for part, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(rows)], strict=True)):
        some = rows[start:end]
        ids = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for _, _, text in some]
        columns = [ids, [f"f#{start + i}" for i in range(len(some))], *([row[i] for row in some] for i in range(3))]
        sink = ArrowSink(str(output / documents_path(part)), DOCUMENTS)
        sink.write(pa.table([pa.array(column, pa.string()) for column in columns], schema=DOCUMENTS))
        sink.close()
        gone = [row for row in range(len(some)) if (start + row) % 7 == 3]
        decisions = ArrowSink(str(output / decisions_path(part)), DECISIONS)
        drop = {"rule": "exact", "duplicate_of": "", "duplicate_record": "", "jaccard": 1.0, "kind": "exact"}
        rows_gone = [{**dict.fromkeys(DECISIONS.names), **drop, "row": row} for row in gone]
        decisions.write(pa.Table.from_pylist(rows_gone, schema=DECISIONS))
        decisions.close()
        sizes[part] = sum(len(text.encode()) for _, _, text in some)
    return sizes


def run(output: Path, cuts: list[int], **config) -> tuple[dict, bytes]:
    """(vocabulary.json, model) of the stage."""

    def job(name, tasks, build):
        if None in [finished_part(str(output), name, task) for task in tasks]:
            path = write_tasks(str(output), name, tasks)
            run_job(name, lambda p: build(p, path), Execution(), len(tasks))
        return collect_parts(str(output), name, tasks)

    sizes = write_parts(output, documents(), cuts)
    settings = VocabularyConfig(threads=1, **config)
    result = VocabularyRun(str(output), settings, None, sizes, "fingerprint", Execution(), job)()
    assert [entry.path for entry in result.files] == [vocabulary.MODEL, vocabulary.FACTS]
    told = orjson.loads((output / vocabulary.FACTS).read_bytes())
    assert result.facts["size"] == told["size"]
    return told, (output / vocabulary.MODEL).read_bytes()


def test_sample_and_model_are_the_same_however_the_documents_lie_in_parts(tmp_path):
    config = {"size": 2500, "sample_bytes": 250_000, "language_temperature": 0.5, "reserved": 3}
    told, model = run(tmp_path / "a", [], **config)
    again = run(tmp_path / "b", [5, 40, 40, 200], **config)
    assert again == (told, model)
    assert told["size"] == 2500
    assert told["reserved"] == ["[RESERVED0]", "[RESERVED1]", "[RESERVED2]"]
    assert told["words"]["without spaces"] == "pieces"

    kept = [row for number, row in enumerate(documents()) if number % 7 != 3]
    sizes = {}
    for source, language, text in kept:
        size = min(len(text.encode()), DOCUMENT_BYTES)
        sizes[source, language] = sizes.get((source, language), 0) + size
    assert {(row["source"], row["language"]): row["bytes"] for row in told["sample"]} == sizes
    total = sum(row["sampled"] for row in told["sample"])
    assert 250_000 - 4 * len(sizes) <= total <= 250_000
    by_language = {row["language"]: row["bytes"] for row in told["languages"]}
    assert sum(by_language.values()) == total
    natural = sum(size for (_, language), size in sizes.items() if language == "zh") / sum(sizes.values())
    assert by_language["zh"] / total > 1.5 * natural


def test_a_small_corpus_is_taken_whole_in_one_job(tmp_path):
    told, _ = run(tmp_path, [9, 30], size=2500, sample_bytes=64 << 20)
    assert all(row["sampled"] == row["bytes"] for row in told["sample"])
    assert not (tmp_path / "stages/vocabulary/candidates").exists()
    assert max(row["bytes_per_token"] for row in told["languages"]) > 2


@pytest.mark.parametrize("name", ["language_temperature", "source_temperature"])
def test_a_temperature_out_of_range_is_an_error(name):
    with pytest.raises(ValueError, match=name):
        VocabularyConfig(**{name: 1.5})
