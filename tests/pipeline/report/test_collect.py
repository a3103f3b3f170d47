"""Every number of the report against a brute-force count over the rows."""

import math
import random
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from pipeline.report import audit, rows
from pipeline.report.collect import collect
from pipeline.report.model import Example, Removed, Report, Search
from pipeline.report.page import render
from pipeline.report.rules import EXAMPLES
from pipeline.stages.layout import CUT_LINES, CUT_LINES_SCHEMA
from schemas.manifest import Counts, ManifestError, write_manifest
from schemas.shard import SchemaError


@pytest.fixture(scope="module")
def report(prepared) -> Report:
    return collect(prepared.path)


def test_counts_and_sources(prepared, report: Report) -> None:
    assert report.counts == prepared.manifest.counts
    assert report.counts.balanced()
    for source in report.sources:
        name = source.name.rstrip("…")
        rows = [row for row in prepared.rows if row["source"].startswith(name)]
        tally = Counter(row["verdict"] for row in rows)
        assert source.counts == Counts(input=len(rows), **tally)
        assert source.chars_in == sum(row["chars_in"] for row in rows)
        assert source.chars_kept == sum(row["chars_out"] for row in rows if row["verdict"] == "kept")
    assert sum(source.counts.input for source in report.sources) == len(prepared.rows)


def _fails(score: dict) -> bool:
    return score["score"] < score["limit"] if score["rule"] == "custom.words" else score["score"] > score["limit"]


def test_rules_against_brute_force(prepared, report: Report) -> None:
    rules = {rule.name: rule for rule in report.rules}
    known = ("custom.words", "custom.symbols", "custom.calm")
    for name in known:
        scores = [s for row in prepared.rows for s in row["scores"] if s["rule"] == name]
        decided = [row for row in prepared.rows if (row["verdict"], row["rule"]) == ("filtered", name)]
        alone = [row for row in decided if sum(_fails(s) for s in row["scores"]) == 1]
        rule = rules[name]
        assert rule.scored == len(scores)
        assert rule.fails == ("below" if name == "custom.words" else "above")
        assert rule.fired == sum(map(_fails, scores))
        assert rule.decided == len(decided)
        assert rule.alone == len(alone)
        assert rule.decides
        assert rule.histogram is not None
        assert sum(rule.histogram.failing) == rule.fired
        assert sum(rule.histogram.passing) == rule.scored - rule.fired
        for number, (low, high) in enumerate(pairwise(rule.histogram.edges)):
            inside = [s for s in scores if low <= s["score"] < high]
            assert rule.histogram.failing[number] == sum(map(_fails, inside))
            assert rule.histogram.passing[number] == len(inside) - rule.histogram.failing[number]
    assert 0 < rules["custom.words"].alone < rules["custom.words"].decided
    assert [rule.decided for rule in report.rules] == sorted((rule.decided for rule in report.rules), reverse=True)


def test_a_rule_that_the_config_does_not_name_shows_its_side_by_what_it_dropped(report: Report) -> None:
    foreign = next(rule for rule in report.rules if rule.name.startswith("rule ") and rule.decided)
    assert (foreign.fails, foreign.alone) == ("below", None)
    assert foreign.fired == foreign.scored


def _nearest(prepared, rule: str, wanted) -> list[tuple[float, str]]:
    found: dict[str, float] = {}
    for row in prepared.rows:
        for score in row["scores"]:
            if score["rule"] == rule and wanted(row, score):
                distance = abs(score["score"] - score["limit"])
                found[row["doc_id"]] = min(found.get(row["doc_id"], distance), distance)
    return sorted((distance, doc_id) for doc_id, distance in found.items())[:EXAMPLES]


def test_examples_are_those_nearest_the_limit(prepared, report: Report) -> None:
    def keys(examples: tuple[Example, ...]) -> list[tuple[float, str]]:
        return [(abs(e.score - e.limit), e.doc_id) for e in examples]

    rules = {rule.name: rule for rule in report.rules}
    for name in ("custom.words", "custom.symbols"):
        dropped = _nearest(
            prepared, name, lambda row, _, name=name: (row["verdict"], row["rule"]) == ("filtered", name)
        )
        kept = _nearest(prepared, name, lambda row, s: row["verdict"] == "kept" and not _fails(s))
        assert keys(rules[name].dropped) == dropped
        assert keys(rules[name].kept) == kept
        assert len(dropped) == len(kept) == EXAMPLES
        for shown in (*rules[name].dropped, *rules[name].kept):
            row = next(row for row in prepared.rows if row["record"] == shown.record)
            assert (row["doc_id"], row["source"], row["excerpt"]) == (shown.doc_id, shown.source, shown.excerpt)
    assert rules["custom.calm"].dropped == ()


def test_duplicates_against_brute_force(prepared, report: Report) -> None:
    copies = [row for row in prepared.rows if row["kind"]]
    near = [row for row in copies if row["kind"] == "near"]
    tally = Counter(row["kind"] for row in copies)
    assert {kind: getattr(report.duplicates, kind) for kind in Removed.model_fields} == tally
    edges = report.duplicates.jaccard.edges
    for number, (low, high) in enumerate(pairwise(edges)):
        last = number == len(edges) - 2
        inside = sum(low <= row["jaccard"] < high or (last and row["jaccard"] == high) for row in near)
        assert report.duplicates.jaccard.counts[number] == inside
    sizes = Counter(row["duplicate_of"] for row in copies if row["kind"] != "protected")
    expected = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[: len(report.duplicates.groups)]
    assert [(group.doc_id, group.removed) for group in report.duplicates.groups] == expected
    kept = {row["doc_id"]: row for row in prepared.rows if row["verdict"] == "kept"}
    kept["f" * 32] = {"record": "old/first.txt#1", "excerpt": ""}
    for group in report.duplicates.groups:
        assert group.record == kept[group.doc_id]["record"]
        assert group.share == (group.removed + 1) / len(prepared.rows)
    assert report.duplicates.groups[0].record == "old/first.txt#1"
    assert {pair.kind for pair in report.duplicates.pairs} == {"exact", "near", "contained", "protected"}
    for pair in report.duplicates.pairs:
        row = next(row for row in copies if row["record"] == pair.removed.record)
        assert pair.kind == row["kind"]
        if pair.kind == "protected":
            assert (pair.kept, pair.removed.detail) == (None, row["detail"])
            continue
        assert (pair.kept.doc_id, pair.jaccard) == (row["duplicate_of"], row["jaccard"])
        assert pair.kept.record == row["duplicate_record"]
        assert pair.kept.excerpt == kept[pair.kept.doc_id]["excerpt"][:240]
    shown = [pair.jaccard for pair in report.duplicates.pairs if pair.kind == "near"]
    assert shown == sorted(shown)
    assert shown[0] == min(row["jaccard"] for row in near)


def test_what_each_source_lost_to_deduplication(prepared, report: Report) -> None:
    for source in report.sources:
        rows = [row for row in prepared.rows if row["source"].startswith(source.name.rstrip("…"))]
        removed = Counter(row["kind"] for row in rows if row["kind"])
        assert source.removed == Removed(**removed)
        assert source.reached == sum(row["verdict"] == "kept" or bool(row["kind"]) for row in rows)
        assert source.deduplicated == (removed.total() / source.reached if source.reached else 0)
    mail = next(source for source in report.sources if source.name == "mail")
    assert mail.deduplicated > 0.3
    titles = [alarm.title for alarm in report.alarms if alarm.level == "alarm"]
    assert f"Source mail lost {100 * mail.deduplicated:.1f} % of its documents to deduplication" in titles
    assert not any("books lost" in title and "deduplication" in title for title in titles)


def test_what_boilerplate_took_stands_by_the_source(prepared, tmp_path: Path) -> None:
    shutil.copytree(prepared.path, tmp_path / "data")
    lines = [("mail", "Sent from home", 3, 700), ("mail", "Regards", 2, 30), ("books", "The end", 4, 50)]
    table = pa.Table.from_pylist(
        [dict(zip(CUT_LINES_SCHEMA.names, line, strict=True)) for line in lines], schema=CUT_LINES_SCHEMA
    )
    (tmp_path / "data" / CUT_LINES).parent.mkdir(parents=True)
    with pa.OSFile(str(tmp_path / "data" / CUT_LINES), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    found = collect(tmp_path / "data")
    cut = {source.name: source.boilerplate for source in found.sources if source.boilerplate}
    assert cut == {"mail": 730, "books": 50}


def test_how_duplicates_were_looked_for(prepared, report: Report, tmp_path: Path) -> None:
    assert report.duplicates.search is None  # the stages are gone
    shutil.copytree(prepared.path, tmp_path / "data")
    done = tmp_path / "data/stages/deduplicate/done.json"
    done.parent.mkdir(parents=True)
    facts = {"buckets": 9, "overfull": 2, "largest": 70, "rounds": 3, "unexamined": 11, "copies": 4}
    done.write_bytes(orjson.dumps({"facts": {"duplicates": facts}}))
    found = collect(tmp_path / "data")
    assert found.duplicates.search == Search(buckets=9, overfull=2, largest=70, rounds=3, unexamined=11)
    assert "11 pairs of very large buckets were not looked at" in [alarm.title for alarm in found.alarms]
    assert 'buckets over the cap</th><td data-v="2">2</td>' in render(found)
    done.write_bytes(b'{"facts": 3}')
    assert collect(tmp_path / "data").duplicates.search is None


def test_languages_lengths_and_repairs(prepared, report: Report) -> None:
    told = [row for row in prepared.rows if row["verdict"] != "quarantined"]
    for item in report.languages:
        rows = [row for row in told if row["language"] == item.name]
        kept = sum(row["verdict"] == "kept" for row in rows)
        assert (item.kept, item.dropped) == (kept, len(rows) - kept)
    assert sum(item.kept + item.dropped for item in report.languages) == len(told)

    lengths = report.lengths
    assert lengths.empty == sum(row["chars_out"] == 0 for row in prepared.rows)
    for number, (low, high) in enumerate(pairwise(lengths.edges)):
        inside = [row for row in told if low <= row["chars_out"] < high]
        kept = sum(row["verdict"] == "kept" for row in inside)
        assert (lengths.kept[number], lengths.dropped[number]) == (kept, len(inside) - kept)
    assert sum(lengths.kept) == report.counts.kept

    repairs = Counter(name for row in prepared.rows for name in row["repairs"])
    assert {item.name: item.records for item in report.repairs} == dict(repairs)
    for item in report.repairs:
        for shown in item.examples:
            row = next(row for row in prepared.rows if row["record"][:150] == shown.record[:150])
            assert item.name in [name[:160] for name in row["repairs"]]
    for share, length in lengths.quantiles:
        kept = sorted(row["chars_out"] for row in told if row["verdict"] == "kept")
        assert abs(length / kept[math.ceil(share * len(kept)) - 1] - 1) < 0.03
    scripts = {script.name: script for script in report.scripts}
    shown = [row for row in told if row["excerpt"]]
    assert sum(script.kept + script.dropped for script in report.scripts) == len(shown)
    assert scripts["latin"].kept == sum(row["verdict"] == "kept" for row in shown)


def test_personal_data(prepared, tmp_path: Path, prepare_directory) -> None:
    rows = [dict(row) for row in prepared.rows[:200]]
    masked = [row for row in rows if row["verdict"] == "kept"][:7]
    for row in masked:
        row["repairs"] = [*row["repairs"], "mask_email", *(["mask_phone"] if row is masked[0] else [])]
        row["detail"] = "1 lines cut; masked: 2 email"
    masked[0]["detail"] = "masked: 3 email, 1 phone"
    privacy = collect(prepare_directory(tmp_path, rows, 2).path).privacy
    assert (privacy.records, privacy.dropped) == (7, 0)
    assert [(mask.name, mask.records, mask.items) for mask in privacy.masks] == [
        ("mask_email", 7, 15),
        ("mask_phone", 1, 1),
    ]
    assert privacy.masks[1].examples[0].record == masked[0]["record"]


def test_splits_and_leaks(prepared, report: Report, tmp_path: Path) -> None:
    assert [(split.name, split.documents, split.tokens) for split in report.splits.splits] == [
        ("train", 1400, 50_000),
        ("valid", 4, 120),
    ]
    checks = {check.name: check for check in report.splits.checks}
    assert (checks["documents"].looked_at, checks["documents"].found) == (1404, 0)
    assert (checks["notes"].looked_at, checks["notes"].found) == (270, 0)
    # A document of train in valid, and so in the notes that were made of train.
    data = Path(shutil.copytree(prepared.path, tmp_path / "data"))
    shutil.copyfile(
        data / "train/shard-00000-of-00001.arrow",
        data / "valid/shard-00000-of-00001.arrow",
    )
    leaking = collect(data)
    assert {check.name: check.found for check in leaking.splits.checks} == {"documents": 1400, "notes": 270}
    assert [alarm.kind for alarm in leaking.alarms[:2]] == ["leak", "leak"]
    assert leaking.alarms[0].value == 1400


def test_quarantine(prepared, report: Report) -> None:
    rows = [row for row in prepared.rows if row["verdict"] == "quarantined"]
    assert {item.name: item.count for item in report.quarantine} == dict(Counter(row["rule"] for row in rows))
    for reason in report.quarantine:
        expected = sorted({row["doc_id"] for row in rows if row["rule"] == reason.name})[: len(reason.examples)]
        assert [item.doc_id for item in reason.examples] == expected


def test_tokens_words_and_rare_words(report: Report) -> None:
    tokens = report.tokens
    assert (tokens.train, tokens.valid, tokens.train_documents, tokens.valid_documents) == (50_000, 120, 1400, 4)
    assert tokens.characters_per_token == report.chars_kept / 50_120
    bytes_at = range(6, 6 + 256)  # SentencePiece puts the byte pieces after the special ones
    total = sum(i % 5 for i in range(tokens.vocabulary_size))
    assert math.isclose(tokens.byte_fallback_share, sum(i % 5 for i in bytes_at) / total)
    assert tokens.unused_pieces == sum(i % 5 == 0 for i in range(6 + 256, tokens.vocabulary_size))

    counts = [5000 // (i + 1) for i in range(1500)]
    assert (report.words.distinct, report.words.total) == (1500, sum(counts))
    assert [word.count for word in report.words.frequent] == counts[:40]
    assert all(counts[rank - 1] == count for rank, count in report.words.zipf)
    assert len({rank for rank, _ in report.words.zipf}) == len(report.words.zipf) > 20

    assert (report.rare.words, report.rare.occurrences) == (90, sum(range(1, 91)))
    assert len(report.rare.examples) == 90
    assert report.rare.examples[-1].word == "rare89"
    for word in report.rare.examples:
        assert len(word.windows) == 2
        assert (
            "".join((word.windows[0].left, word.windows[0].word)).strip() in "The whale swam far under the cold water."
        )


def test_the_page_does_not_depend_on_how_rows_lie_in_files(
    prepared, report: Report, tmp_path: Path, prepare_directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "GROUPED_BATCHES", 1)
    shuffled = list(prepared.rows)
    random.Random(3).shuffle(shuffled)
    again = collect(prepare_directory(tmp_path, shuffled, 7).path)
    same = {"provenance", "performance"}
    assert again.model_dump(exclude=same) == report.model_dump(exclude=same)


def test_tables_cut_the_audit_without_loss(prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "GROUPED_BATCHES", 1)
    files = prepared.manifest.under("audit")
    tables = list(audit.tables(prepared.path, files, ("record", "verdict")))
    assert len(tables) == 3  # 870 rows in each file: one batch
    assert tables[0].column_names == ["record", "verdict"]
    assert [r for t in tables for r in t["record"].to_pylist()] == [row["record"] for row in prepared.rows]


def test_alarms(prepared, report: Report) -> None:
    titles = "\n".join(f"{alarm.level}: {alarm.title}" for alarm in report.alarms)
    assert "Source mail lost" in titles
    assert "alarm: 6.1 % of the records are quarantined" in titles
    assert "warning: Validation is nearly empty" in titles
    assert "byte fallback" in titles
    assert [alarm.detail for alarm in report.alarms if alarm.title == "1 rule decided against no record"] == [
        "custom.calm."
    ]
    assert "does not match" not in titles


def test_an_audit_that_contradicts_the_manifest_is_an_alarm(prepared, tmp_path: Path, prepare_directory) -> None:
    made = prepare_directory(tmp_path, prepared.rows[:50], 1)
    counts = made.manifest.counts
    wrong = counts.model_copy(update={"kept": counts.kept + 1, "input": counts.input + 1})
    write_manifest(tmp_path, made.manifest.model_copy(update={"counts": wrong}))
    first = collect(tmp_path).alarms[0]
    assert (first.level, first.title) == ("alarm", "The audit does not match the manifest")
    assert f"kept {counts.kept} against {counts.kept + 1}" in first.detail


def test_run_measurements_may_be_partial_or_damaged(
    prepared, report: Report, tmp_path: Path, prepare_directory
) -> None:
    assert report.performance is not None
    assert report.performance.stages[0].mb_per_s == 2.0
    assert report.performance.stages[1].mb_per_s is None
    made = prepare_directory(tmp_path, prepared.rows[:50], 1)
    assert collect(made.path).performance is None
    (tmp_path / "report").mkdir()
    (tmp_path / "report/run.json").write_bytes(b'{"workers": ')
    damaged = collect(made.path)
    assert damaged.performance is None
    assert damaged.alarms[-1].title == "The run's measurements cannot be read"


def test_an_empty_corpus_has_a_report(tmp_path: Path, prepare_directory) -> None:
    report = collect(prepare_directory(tmp_path, [], 1).path)
    assert report.counts == Counts()
    assert report.sources == report.languages == report.scripts == ()
    assert [(rule.name, rule.scored, rule.decided) for rule in report.rules] == [("custom.calm", 0, 0)]
    assert "Nothing was kept" in {alarm.title for alarm in report.alarms}


def test_unfinished_or_damaged_directories_speak(prepared, tmp_path: Path, prepare_directory) -> None:
    with pytest.raises(ManifestError, match=r"no manifest\.json here"):
        collect(tmp_path)
    made = prepare_directory(tmp_path, prepared.rows[:50], 1)
    shard = tmp_path / "audit/audit-00000-of-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(SchemaError, match="audit-00000-of-00001"):
        collect(made.path)
    whole = (prepared.path / "audit/audit-00000-of-00003.arrow").read_bytes()
    shard.write_bytes(whole[: len(whole) // 2] + bytes(2_000) + whole[len(whole) // 2 + 2_000 :])
    with pytest.raises(SchemaError, match=r"audit-00000-of-00001.*damaged.*verify"):
        collect(made.path)
    config = made.manifest.config | {"surprise": 1}
    write_manifest(tmp_path, made.manifest.model_copy(update={"config": config}))
    with pytest.raises(ManifestError, match=r"config\.surprise"):
        collect(tmp_path)
