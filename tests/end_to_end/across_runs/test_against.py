"""`prepare --against`: what an earlier run kept is dropped from the next one, and nothing else is."""

import os
import shutil
from pathlib import Path

import orjson
import pytest

from pipeline.config import make_config
from pipeline.earlier import EarlierError, read_earlier
from pipeline.io import filesystem
from pipeline.run import Request, prepare
from pipeline.runner import Execution
from schemas.manifest import read_manifest

pytestmark = pytest.mark.xdist_group("across")


@pytest.fixture(scope="module")
def second(halves, first, settings, tmp_path_factory) -> Path:
    """The output of b against that of a."""
    output = tmp_path_factory.mktemp("second") / "new-run"
    prepare(Request((f"b={halves.b}",), str(output), settings, against=(str(first),)))
    return output


def test_every_drop_names_a_kept_document_that_it_resembles(first, second, outputs):
    old, new = outputs.audit(first), outputs.audit(second)
    old_texts, new_texts = outputs.texts(first), outputs.texts(second)
    named = {"old": 0, "new": 0}
    kinds = set()
    for record, row in new.items():
        if row["verdict"] != "duplicate":
            continue
        run, _, other = row["duplicate_record"].rpartition("//")
        assert run in ("", "old-run")
        kept, texts = (old, old_texts) if run else (new, new_texts)
        assert kept[other]["verdict"] == "kept"
        assert kept[other]["doc_id"] == row["duplicate_of"]
        assert row["jaccard"] == outputs.jaccard(new_texts[record], texts[other]) >= 0.8
        named["old" if run else "new"] += 1
        kinds.add((bool(run), row["kind"]))
    assert named["old"] > 10
    assert {(True, "exact"), (True, "near")} <= kinds
    # Nothing that was kept resembles what was kept before.
    kept_old = [old_texts[record] for record, row in old.items() if row["verdict"] == "kept"]
    for record, row in new.items():
        if row["verdict"] == "kept" and record.startswith("edited/"):
            assert max(outputs.jaccard(new_texts[record], text) for text in kept_old) < 0.8


def test_only_the_new_records_are_counted(first, second, outputs):
    manifest = read_manifest(second)
    assert manifest.counts.balanced()
    assert manifest.counts.input == len(outputs.audit(second))
    (run,) = manifest.against
    assert run.name == "old-run"
    assert run.kept == read_manifest(first).counts.kept
    assert run.manifest == filesystem.digest(str(first / "manifest.json"))
    assert str(first) not in (second / "manifest.json").read_text()
    assert read_manifest(first).against == []


def test_the_rest_of_a_joint_run_with_the_earlier_sources_first(halves, first, second, settings, outputs, tmp_path):
    """Boilerplate is counted by source, so that it is the same; containment, where size goes before order, is off."""
    joint = settings.model_copy(update={"input": settings.input.model_copy(update={"priority": ("a", "b")})})
    prepare(Request((f"a={halves.a}", f"b={halves.b}"), str(tmp_path / "joint"), joint))
    together = {
        (row["source"], record.partition("/")[2])
        for record, row in outputs.audit(tmp_path / "joint").items()
        if row["verdict"] == "kept"
    }
    apart = {
        (row["source"], record)
        for output in (first, second)
        for record, row in outputs.audit(output).items()
        if row["verdict"] == "kept"
    }
    assert apart == together


def test_a_remote_output_gives_the_same_bytes(halves, first, second, settings):
    output = "memory://siliang-across/new-run"
    prepare(Request((f"b={halves.b}",), output, settings, against=(str(first),)))
    assert filesystem.read_bytes(f"{output}/manifest.json") == (second / "manifest.json").read_bytes()


@pytest.mark.slow
def test_two_workers_and_a_run_in_rounds_give_the_same_drops(halves, first, second, settings, outputs, tmp_path):
    arguments = {"against": (str(first),), "execution": Execution(workers=2)}
    prepare(Request((f"b={halves.b}",), str(tmp_path / "two"), settings, **arguments))
    assert (tmp_path / "two/manifest.json").read_bytes() == (second / "manifest.json").read_bytes()
    rounds = settings.deduplicate.model_copy(update={"resolution": "rounds", "bucket_cap": 2})
    rounded = settings.model_copy(update={"deduplicate": rounds})
    prepare(Request((f"b={halves.b}",), str(tmp_path / "rounds"), rounded, against=(str(first),)))
    assert outputs.audit(tmp_path / "rounds") == outputs.audit(second)


# ---- earlier runs that cannot be used


def refused(arguments: list[str], output: Path, config) -> str:
    with pytest.raises(EarlierError) as caught:
        read_earlier(arguments, str(output), config.deduplicate)
    return str(caught.value)


def test_a_directory_without_a_finished_run(first_copy, settings, tmp_path):
    (first_copy / "manifest.json").unlink()
    assert "no manifest.json" in refused([str(first_copy)], tmp_path, settings)
    (first_copy / "manifest.json").write_text("{oops")
    assert "not valid JSON" in refused([str(first_copy)], tmp_path, settings)


@pytest.mark.parametrize(
    "path",
    [
        "stages",
        "stages/clean/documents/00000.arrow",
        "stages/clean/signatures/00001.arrow",
        "stages/clean/parts/00001.json",
        "stages/deduplicate/decisions/00000.arrow",
        "stages/deduplicate/done.json",
    ],
)
def test_a_missing_or_short_part_is_named(first_copy, settings, tmp_path, path):
    victim = first_copy / path
    if victim.suffix == ".arrow":
        os.truncate(victim, victim.stat().st_size - 8)
        assert str(victim) in refused([str(first_copy)], tmp_path, settings)
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    said = refused([str(first_copy)], tmp_path, settings)
    assert str(victim) in said
    assert "is missing" in said


def test_stages_of_another_run_than_the_manifest(first_copy, settings, tmp_path):
    path = first_copy / "stages/deduplicate/done.json"
    done = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps({**done, "fingerprint": "0" * 64}))
    assert "another run" in refused([str(first_copy)], tmp_path, settings)


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({"shingle_words": 4}, ["shingle_words = 5 there and 4 here"]),
        ({"permutations": 64}, ["permutations = 120 there and 64 here"]),
        ({"bands": 10, "rows": 5}, ["bands = 0 there and 10 here", "rows = 0 there and 5 here"]),
    ],
)
def test_other_signatures_are_named_by_their_keys(first, tmp_path, values, keys):
    said = refused([str(first)], tmp_path, make_config({"deduplicate": values}))
    for key in keys:
        assert f"deduplicate.{key}" in said


def test_exact_copies_alone_need_no_like_signatures(first, tmp_path):
    config = make_config({"deduplicate": {"near": False, "shingle_words": 4}})
    assert read_earlier([str(first)], str(tmp_path), config.deduplicate).runs[0].name == "old-run"


def test_names(first, first_copy, settings, tmp_path):
    assert "are called 'old-run'" in refused([str(first), str(first_copy)], tmp_path, settings)
    assert "--output itself" in refused([str(first)], first, settings)
    found = [
        read_earlier(arguments, str(tmp_path), settings.deduplicate)
        for arguments in ([str(first), f"other={first_copy}"], [f"other={first_copy}", str(first)])
    ]
    assert [run.name for run in found[0].runs] == ["old-run", "other"]
    assert found[0] == found[1], "the order of the arguments does not count"


def test_a_changed_byte_is_found_and_named(halves, first_copy, settings, tmp_path):
    victim = first_copy / "stages/clean/signatures/00001.arrow"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    request = Request((str(halves.b / "copied"),), str(tmp_path / "data"), settings, against=(str(first_copy),))
    for _ in range(2):  # a check that failed is not taken for done
        with pytest.raises(EarlierError, match=r"signatures/00001\.arrow: sha256"):
            prepare(request)
    assert not (tmp_path / "data/manifest.json").exists()
