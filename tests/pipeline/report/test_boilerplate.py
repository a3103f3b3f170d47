"""The report's table of boilerplate lines, and its warning."""

import pyarrow as pa

from pipeline.io.sink import ArrowSink
from pipeline.report.boilerplate import boilerplate
from pipeline.report.model import Boilerplate, Source
from pipeline.report.source_alarms import boilerplate as boilerplate_alarms
from pipeline.stages.layout import CUT_LINES, CUT_LINES_SCHEMA
from schemas.manifest import Counts


def source(name: str, kept: int, boilerplate: int = 0) -> Source:
    return Source(name=name, counts=Counts(input=1, kept=1), chars_in=kept, chars_kept=kept, boilerplate=boilerplate)


def test_lines_that_took_most_and_sources_that_lost_much(tmp_path):
    rows = {
        "source": ["manual", "manual", "tales"],
        "line": ["x" * 500, "Next page", "The end"],
        "documents": [9, 8, 7],
        "characters": [500, 100, 90],
    }
    sink = ArrowSink(str(tmp_path / CUT_LINES), CUT_LINES_SCHEMA)
    sink.write(pa.table(rows, schema=CUT_LINES_SCHEMA))
    sink.close()
    found = boilerplate(tmp_path, top=2)
    alarms = boilerplate_alarms([source("manual", 1000, 600), source("tales", 1000, 90), source("other", 10)])
    assert (found.distinct, found.characters) == (3, 690)
    assert [(line.source, line.documents, line.characters) for line in found.lines] == [
        ("manual", 9, 500),
        ("manual", 8, 100),
    ]
    assert len(found.lines[0].line) == 160
    assert [alarm.level for alarm in alarms] == ["warning"]
    assert (alarms[0].value, alarms[0].limit) == (0.375, 0.3)
    assert alarms[0].title == "37.5 % of the text of source manual was cut as boilerplate"


def test_nothing_is_told_where_the_stages_files_are_gone(tmp_path):
    assert boilerplate(tmp_path) == Boilerplate()
    assert boilerplate_alarms([source("manual", 0)]) == []
