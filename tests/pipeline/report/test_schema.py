"""report.json against its documented schema."""

import jsonschema
import orjson
import pytest

from pipeline.report.collect import collect
from pipeline.report.model import REPORT_SCHEMA, Report, report_schema
from pipeline.report.page import SCHEMA_FILE


def test_the_file_in_the_package_is_the_schema_of_the_model() -> None:
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    wanted = orjson.dumps(report_schema(), option=options)
    if SCHEMA_FILE.read_bytes() != wanted:
        SCHEMA_FILE.write_bytes(wanted)
        pytest.fail(f"{SCHEMA_FILE.name} was of another model; it is written anew: look at it and commit it")


def test_a_report_meets_its_schema(prepared, tmp_path, prepare_directory) -> None:
    schema = orjson.loads(SCHEMA_FILE.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in (prepared.path, prepare_directory(tmp_path, [], 1).path):
        data = orjson.loads(collect(path).to_bytes())
        assert data["schema_"] == REPORT_SCHEMA
        validator.validate(data)
        assert Report.model_validate(data).to_bytes() == collect(path).to_bytes()
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(data | {"counts": {"input": "many"}})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(data | {"surprise": 1})


def test_every_part_is_described() -> None:
    schema = report_schema()
    assert schema["description"]
    undescribed = [name for name, part in schema["$defs"].items() if not part.get("description")]
    assert undescribed == []
    assert [
        name for name, part in schema["properties"].items() if not (part.get("description") or "$ref" in part)
    ] == []
