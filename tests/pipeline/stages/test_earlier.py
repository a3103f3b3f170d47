"""Documents of earlier runs in the deduplicate stage: first in the order, never dropped, never compared."""

import random
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest

from pipeline.config import PipelineConfig, make_config
from pipeline.dedup.refs import parts_of
from pipeline.stages.candidates import PAIRS, is_earlier, path_of
from pipeline.stages.documents import EARLIER, FIRST_EARLIER
from pipeline.stages.exchange import read_columns

WORDS = [f"word{number}" for number in range(3000)]


def config(**values) -> PipelineConfig:
    return make_config({"deduplicate": {"partitions": 3, **values}})


def mails(count: int) -> list[str]:
    """One template of 150 words; most differ in every 40th word, each fifth is a near or exact copy of another."""
    generator = random.Random(4)
    body = generator.choices(WORDS, k=150)
    texts: list[str] = []
    for number in range(count):
        words = list(body)
        words[number % 40 :: 40] = [f"x{number}y{place}" for place in range(len(words[number % 40 :: 40]))]
        if number % 5 == 4:
            words = texts[generator.randrange(len(texts))].split()
            for place in (20, 70, 120)[: number % 4]:
                words[place + generator.randrange(20)] = f"new{number}"
        texts.append(" ".join(words))
    return texts


def against(duplicates, root: Path, old: list[str], new: list[str], values: PipelineConfig):
    """(drops, facts, output) of `new` against what a run over `old` keeps."""
    first = duplicates.deduplication(root / "old", [old], values)
    first.write_decisions(first.decide()[0])
    stage = duplicates.deduplication(root / "new", [new], values)
    stage.documents[FIRST_EARLIER] = len(old)
    place = root / "new" / EARLIER
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(orjson.dumps([[str(root / "old"), 0, "past"]]))
    drops, facts = stage.decide()
    stage.write_decisions(drops)
    return drops, facts, root / "new"


@pytest.mark.parametrize(
    "values",
    [{"bucket_cap": 2}, {"bucket_cap": 2, "resolution": "rounds"}, {"bucket_cap": 64}, {"near": False}],
    ids=["overfull", "rounds", "all-pairs", "exact"],
)
def test_the_new_documents_of_a_joint_run(duplicates, tmp_path, values):
    texts = mails(240)
    random.Random(1).shuffle(texts)
    old, new = texts[:140], texts[140:]
    drops, facts, output = against(duplicates, tmp_path, old, new, config(**values))
    later = {text: 1 for text in new if text not in old}
    joint = duplicates.deduplication(tmp_path / "joint", [old, new], config(**values), later)
    together, joint_facts = joint.decide()
    assert (parts_of(drops.ref) == 0).all()
    assert len(drops.ref) > 5
    gone = {new[int(ref)] for ref in drops.ref}
    assert gone == {new[row] for (part, row) in duplicates.told(together, [old, new]) if part == 1}
    assert is_earlier(drops.twin).any()
    named = pa.ipc.open_file(output / path_of("decisions", 0)).read_all()["duplicate_record"].to_pylist()
    assert {name.startswith("past//f0#") for name in named} == {True, False}
    if values.get("near", True):
        assert facts["unexamined"] == joint_facts["unexamined"] == 0
        assert facts["compared"] <= len(set(new))
        assert (facts["rounds"] > 0) == (values["bucket_cap"] == 2)
        for path in [*output.glob("stages/deduplicate/pairs/*"), *output.glob("stages/deduplicate/further-*/*.arrow")]:
            if path.suffix == ".arrow":
                assert not is_earlier(read_columns(str(output), str(path))[PAIRS.get_field_index("right")]).any()


def test_copies_in_two_earlier_runs_stay(duplicates, tmp_path):
    text = " ".join(random.Random(2).choices(WORDS, k=60))
    for name in ("one", "two"):
        stage = duplicates.deduplication(tmp_path / name, [[text, f"{name} alone"]], config())
        stage.write_decisions(stage.decide()[0])
    stage = duplicates.deduplication(tmp_path / "new", [[text, "two alone", "new"]], config())
    stage.documents.update({FIRST_EARLIER: 2, FIRST_EARLIER + 1: 2})
    place = tmp_path / "new" / EARLIER
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(orjson.dumps([[str(tmp_path / name), 0, name] for name in ("one", "two")]))
    drops, facts = stage.decide()
    assert drops.ref.tolist() == [0, 1]
    assert facts["copies"] == 2
    stage.write_decisions(drops)
    told = pa.ipc.open_file(tmp_path / "new" / path_of("decisions", 0)).read_all()
    assert told["duplicate_record"].to_pylist() == ["one//f0#0", "two//f0#1"]


def test_what_the_earlier_run_dropped_counts_for_nothing(duplicates, tmp_path):
    """A chain a-b-c: b was dropped for a, so that c, which resembles b alone, stays."""
    words = random.Random(6).choices(WORDS, k=130)
    chain = [" ".join(words[9 * step : 9 * step + 100]) for step in range(3)]
    for order in ([0, 1], [1, 0]):
        first = duplicates.deduplication(
            tmp_path / f"old{order[0]}", [chain[:2]], config(), {chain[order[1]]: 1, chain[order[0]]: 0}
        )
        first.write_decisions(first.decide()[0])
        stage = duplicates.deduplication(tmp_path / f"new{order[0]}", [[chain[2]]], config())
        stage.documents[FIRST_EARLIER] = 2
        place = tmp_path / f"new{order[0]}" / EARLIER
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(orjson.dumps([[str(tmp_path / f"old{order[0]}"), 0, "old"]]))
        drops, _ = stage.decide()
        assert len(drops.ref) == (0 if order[0] == 0 else 1)


def test_containment_spares_earlier_documents(duplicates, tmp_path):
    words = random.Random(7).choices(WORDS, k=600)
    page, book = " ".join(words[200:300]), " ".join(words)
    values = config(containment=0.9)
    for number, (old, new, dropped) in enumerate((([page], [book], 0), ([book], [page], 1))):
        drops, _, _ = against(duplicates, tmp_path / str(number), old, new, values)
        assert len(drops.ref) == dropped
        assert np.isnan(drops.containment).sum() == 0
