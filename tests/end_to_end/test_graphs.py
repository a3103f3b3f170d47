"""Every stage's graph: runs on the portable runner (see test_determinism), and Dataflow accepts it offline."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

from pipeline.config import PipelineConfig
from pipeline.stages import candidates, chain, clean, count, deduplicate, encode, heavy, verify, vocabulary

CONFIG = PipelineConfig()
OUT = "gs://siliang-bucket/out"
TASKS = f"{OUT}/tasks.jsonl"
PARTS = f"{OUT}/parts.json"
CANDIDATES = [
    ("deduplicate/digests", TASKS, candidates.MakeDigests(OUT, 16)),
    ("deduplicate/copies", TASKS, candidates.MakeCopies(OUT, PARTS)),
    ("deduplicate/bands", TASKS, candidates.MakeBands(OUT, CONFIG.deduplicate)),
    ("deduplicate/pairs", TASKS, candidates.MakePairs(OUT, PARTS, CONFIG.deduplicate)),
    ("deduplicate/shingles", TASKS, verify.MakeShingles(OUT, CONFIG.deduplicate)),
    ("deduplicate/edges", TASKS, verify.MakeEdges(OUT, PARTS, CONFIG.deduplicate)),
]

GRAPHS = {
    "clean": lambda p: clean.build(p, OUT, TASKS, CONFIG),
    "candidates": lambda p: chain.build_chain(p, OUT, CANDIDATES),
    "audit": lambda p: deduplicate.build_audit(p, OUT, TASKS),
    "vocabulary_candidates": lambda p: vocabulary.build_candidates(p, OUT, TASKS, 1 << 20),
    "vocabulary_sample": lambda p: vocabulary.build_sample(p, OUT, TASKS),
    "count": lambda p: count.build(
        p, OUT, TASKS, f"{OUT}/vocabulary/siliang.model", count.CountOptions.of(CONFIG), count.KINDS
    ),
    "cells": lambda p: heavy.build_cells(p, OUT, TASKS, "words", 1 << 22),
    "left": lambda p: heavy.build_left(p, OUT, TASKS, "ngrams", 1 << 22),
    "shards": lambda p: encode.build_shards(p, OUT, TASKS, f"{OUT}/vocabulary/siliang.model", 8),
    "windows": lambda p: encode.build_windows(p, OUT, TASKS, 16384, 16),
    "notes": lambda p: encode.build_notes(p, OUT, TASKS, 16384),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_graph_is_small_and_asks_for_nothing_special(name):
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(["--no_save_main_session"]))
    GRAPHS[name](pipeline)
    proto = pipeline.to_runner_api()
    assert proto.ByteSize() < 1 << 20, "Dataflow refuses large requests; paths travel, not tasks"
    assert not [r for r in proto.requirements if "stateful" in r or "splittable" in r]
    labels = [t.unique_name for t in proto.components.transforms.values()]
    assert len(labels) == len(set(labels))


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
    assert any("Make" in label or "Split signatures" in label for label in names)
