"""Every stage's graph: small, of core primitives, shuffled by coders of our own; Dataflow accepts it offline.

Labels are a promise: a streaming or updated Dataflow job matches steps by them, dashboards and logs name them.
`SILIANG_WRITE_LABELS=1 pytest tests/end_to_end/test_graphs.py` writes the list anew after a change that is meant.
"""

import json
import os
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam import coders
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.pipeline_context import PipelineContext

from pipeline.config import make_config
from pipeline.stages import (
    boilerplate,
    boilerplate_cut,
    boilerplate_survey,
    candidates,
    chain,
    clean,
    contained,
    count,
    deduplicate,
    encode,
    heavy,
    overfull,
    resolution,
    substrings,
    verify,
    vocabulary,
)

GOLDEN = Path(__file__).parent / "golden" / "labels.json"
CONFIG = make_config({"substrings": {"min_words": 50}, "words": {"ngrams": 3}})
NEAR = CONFIG.deduplicate
OUT = "gs://siliang-bucket/out"
TASKS = f"{OUT}/tasks.jsonl"
PARTS = f"{OUT}/parts.json"
MODEL = f"{OUT}/vocabulary/siliang.model"
SOURCES = boilerplate.Sources(("a", "b"))


def steps(*makes):
    return [(f"stage/{name}", TASKS, make) for name, make in makes]


CANDIDATES = steps(
    ("digests", candidates.MakeDigests(OUT, 16)),
    ("copies", candidates.MakeCopies(OUT, PARTS)),
    ("bands", candidates.MakeBands(OUT, NEAR)),
    ("pairs", candidates.MakePairs(OUT, PARTS, NEAR)),
    ("shingles", verify.MakeShingles(OUT, NEAR)),
    ("edges", verify.MakeEdges(OUT, PARTS, NEAR)),
)
ROUNDS = steps(
    ("incoming", resolution.MakeIncoming(OUT, 16)),
    ("round", resolution.MakeRound(OUT, 16)),
    ("offers", resolution.MakeOffers(OUT, 16)),
    ("twins", resolution.MakeTwins(OUT, 16)),
)
OVERFULL = steps(("further", overfull.MakeFurther(OUT, NEAR)), ("edges", verify.MakeEdges(OUT, PARTS, NEAR)))
CONTAINED = steps(
    ("anchors", contained.MakeAnchors(OUT, NEAR)),
    ("contained-pairs", contained.MakeContainedPairs(OUT, PARTS, NEAR)),
    ("contained-shingles", verify.MakeShingles(OUT, NEAR, "contained-wanted", "contained-shingles")),
    ("held", contained.MakeHeld(OUT, PARTS, NEAR)),
)
SUBSTRINGS = steps(
    ("fingerprints", substrings.MakeFingerprints(OUT, CONFIG)),
    ("meetings", substrings.MakeMeetings(OUT, 16, 64)),
    ("cut", substrings.MakeCuts(OUT, CONFIG)),
)

GRAPHS = {
    "clean": lambda p: clean.build(p, OUT, TASKS, CONFIG),
    "boilerplate_survey": lambda p: boilerplate_survey.build_survey(
        p, OUT, TASKS, CONFIG.boilerplate, SOURCES, 1 << 20
    ),
    "boilerplate_count": lambda p: boilerplate.build_count(p, OUT, TASKS, CONFIG.boilerplate, SOURCES, (9, 9)),
    "boilerplate_vouch": lambda p: boilerplate.build_vouch(p, OUT, TASKS, CONFIG.boilerplate),
    "boilerplate_cut": lambda p: boilerplate_cut.build_cut(p, OUT, TASKS, CONFIG, SOURCES),
    "candidates": lambda p: chain.build_chain(p, OUT, CANDIDATES),
    "resolution": lambda p: chain.build_chain(p, OUT, ROUNDS),
    "overfull": lambda p: chain.build_chain(p, OUT, OVERFULL),
    "contained": lambda p: chain.build_chain(p, OUT, CONTAINED),
    "substrings": lambda p: chain.build_chain(p, OUT, SUBSTRINGS),
    "audit": lambda p: deduplicate.build_audit(p, OUT, TASKS),
    "vocabulary_candidates": lambda p: vocabulary.build_candidates(p, OUT, TASKS, 1 << 20),
    "vocabulary_sample": lambda p: vocabulary.build_sample(p, OUT, TASKS),
    "count": lambda p: count.build(p, OUT, TASKS, MODEL, count.CountOptions.of(CONFIG), count.KINDS),
    "cells": lambda p: heavy.build_cells(p, OUT, TASKS, "words", 1 << 22),
    "left": lambda p: heavy.build_left(p, OUT, TASKS, "ngrams", 1 << 22),
    "shards": lambda p: encode.build_shards(p, OUT, TASKS, MODEL, 8),
    "windows": lambda p: encode.build_windows(p, OUT, TASKS, 16384, 16),
    "notes": lambda p: encode.build_notes(p, OUT, TASKS, 16384),
}
PICKLES = (coders.PickleCoder, coders.DillCoder, coders.FastPrimitivesCoder, coders.CloudpickleCoder)


def built(name: str):
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(["--no_save_main_session"]))
    GRAPHS[name](pipeline)
    return pipeline.to_runner_api()


def leaves(coder: coders.Coder) -> list[coders.Coder]:
    parts = coder._get_component_coders()
    return [leaf for part in parts for leaf in leaves(part)] if parts else [coder]


def shuffles(proto):
    """(label, key and value coders) of what goes through a shuffle; Reshuffle's own inner GroupByKey is Beam's affair,
    its elements are not."""
    context = PipelineContext(proto.components)
    kinds = {"beam:transform:group_by_key:v1", "beam:transform:reshuffle:v1", "beam:transform:combine_per_key:v1"}
    for transform in proto.components.transforms.values():
        if transform.spec.urn in kinds and "/ReshufflePerKey" not in transform.unique_name:
            for collection in transform.inputs.values():
                coder_id = proto.components.pcollections[collection].coder_id
                yield transform.unique_name, context.coders.get_by_id(coder_id)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_graph_is_small_and_asks_for_nothing_special(name):
    proto = built(name)
    assert proto.ByteSize() < 1 << 20, "Dataflow refuses large requests; paths travel, not tasks"
    assert not [r for r in proto.requirements if "stateful" in r or "splittable" in r]
    labels = [t.unique_name for t in proto.components.transforms.values()]
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_is_shuffled_by_pickles_and_keys_are_deterministic(name):
    found = list(shuffles(built(name)))
    assert found, "every stage spreads its tasks over the workers"
    for label, coder in found:
        pickled = [leaf for leaf in leaves(coder) if isinstance(leaf, PICKLES)]
        assert pickled == [], f"{label}: {coder}"
        if coder.is_kv_coder():
            assert coder.key_coder().is_deterministic(), f"{label}: {coder}"
            value = coder.value_coder()
            ours = type(value).__module__.startswith("pipeline.")
            assert ours or isinstance(value, coders.VarIntCoder), f"{label}: {coder}"
        else:
            assert isinstance(coder, coders.BytesCoder), f"{label}: {coder}"


def test_this_would_see_a_pickle():
    """The check above is only as good as it sees what Beam does without type hints."""
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(["--no_save_main_session"]))
    _ = pipeline | beam.Create([(1, {1})]) | "Keyed" >> beam.Map(lambda pair: pair) | beam.GroupByKey()
    ((_, coder),) = shuffles(pipeline.to_runner_api())
    assert [leaf for leaf in leaves(coder) if isinstance(leaf, PICKLES)]


def test_labels_are_those_of_the_golden_list():
    labels = {name: sorted(t.unique_name for t in built(name).components.transforms.values()) for name in GRAPHS}
    if os.environ.get("SILIANG_WRITE_LABELS"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(labels, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert labels.keys() == golden.keys()
    for name in GRAPHS:
        assert labels[name] == golden[name], f"{name}: an update of a running job would not find its steps again"


@pytest.mark.parametrize("name", GRAPHS)
def test_dataflow_accepts_the_graph_offline(name):
    options = PipelineOptions(
        [
            "--project=test-project",
            "--region=us-central1",
            "--temp_location=gs://siliang-bucket/tmp",
            "--staging_location=gs://siliang-bucket/staging",
            "--no_auth",
            "--dry_run=True",
            "--sdk_location=container",
            "--sdk_container_image=siliang/worker:test",
            "--no_save_main_session",
            "--job_name=siliang-test",
        ]
    )
    runner = DataflowRunner()
    pipeline = beam.Pipeline(runner=runner, options=options)
    GRAPHS[name](pipeline)
    pipeline.run()
    names = [t.unique_name for t in runner.proto_pipeline.components.transforms.values()]
    assert any(label.endswith(("/Make", "/Spread")) or label == "Spread" for label in names)
