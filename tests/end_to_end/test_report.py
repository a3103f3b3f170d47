"""The report of a real small corpus, and the commands of docs/report.md."""

import re
import shlex
import shutil

import jsonschema
import orjson

from pipeline.report.collect import collect
from pipeline.report.page import SCHEMA_FILE


def test_the_commands_of_the_page(prepared, root, siliang_pipeline, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    shutil.rmtree(data / "report")
    blocks = re.findall(r"```bash\n(.*?)```", (root / "docs/report.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(commands) == 2
    schema = ""
    for program, *words in commands:
        assert program == "siliang-pipeline"
        done = siliang_pipeline(*[str(data) if word.startswith("runs/") else word for word in words])
        assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
        schema = done.stdout
    assert schema == SCHEMA_FILE.read_text(encoding="utf-8")
    assert (data / "report/index.html").stat().st_size > 10_000
    jsonschema.Draft202012Validator(orjson.loads(schema)).validate(
        orjson.loads((data / "report/report.json").read_bytes())
    )


def test_what_a_rule_drops_alone_and_where_documents_lie(prepared):
    report = collect(prepared)
    assert report.rules
    for rule in report.rules:
        if rule.decides and rule.alone is not None:
            assert rule.alone <= rule.decided <= (rule.fired or rule.decided)
        if rule.histogram:
            assert sum(rule.histogram.failing) + sum(rule.histogram.passing) == rule.scored
    most = report.rules[0]
    assert most.decided > 0
    assert most.dropped
    assert most.kept
    below = most.fails == "below"
    assert all((example.score < example.limit) == below for example in most.dropped)
    assert all(example.score == example.limit or (example.score > example.limit) == below for example in most.kept)
    checks = {check.name: check for check in report.splits.checks}
    assert checks["documents"].looked_at == report.counts.kept
    assert checks["notes"].looked_at > 0
    assert [check.found for check in checks.values()] == [0, 0]
    assert {script.name for script in report.scripts} >= {"latin", "han"}
    near = [pair for pair in report.duplicates.pairs if pair.kind == "exact"]
    assert near[0].difference.of == "documents"
