"""Tables: formats, headers, and errors that name the line."""

import json
from pathlib import Path

import pytest

from trainer.finetune.labels import LabelError, balanced_weights, learn_labels
from trainer.finetune.table import Columns, Row, TableError, read_rows

NAMED = Columns("text", None, "label")


def rows(path: Path, content: str | bytes, columns: Columns = NAMED) -> list[Row]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(path, columns))


def test_tsv_has_no_quotes(tmp_path: Path) -> None:
    found = rows(tmp_path / "a.tsv", '\ufefflabel\ttext\r\n1\t"an open quote\r\n0\tb\x85c\n\n')
    assert [(row.text, row.label) for row in found] == [('"an open quote', "1"), ("b\x85c", "0")]
    assert found[1].where.endswith("a.tsv: line 3")


def test_columns_by_number_need_no_header(tmp_path: Path) -> None:
    found = rows(tmp_path / "cola.tsv", "gj04\t1\t\tThe sailors rode.\n", Columns("4", None, "2"))
    assert [(row.text, row.label) for row in found] == [("The sailors rode.", "1")]


def test_csv_fields_may_hold_lines(tmp_path: Path) -> None:
    found = rows(
        tmp_path / "a.csv", 'text,b,label\n"one, ""two""\n\nthree",x,1\nfour,y,0\n\n', Columns("text", "b", "label")
    )
    assert [(row.text, row.text_b, row.label) for row in found] == [
        ('one, "two"\n\nthree', "x", "1"),
        ("four", "y", "0"),
    ]
    assert found[1].where.endswith("line 5")


def test_json_lines(tmp_path: Path) -> None:
    records = [{"text": "a", "label": 1, "other": []}, {"text": ["b", "c"], "label": ["X", "Y"]}]
    found = rows(tmp_path / "a.jsonl", "\n".join(map(json.dumps, records)))
    assert [(row.text, row.label) for row in found] == [("a", "1"), (["b", "c"], ["X", "Y"])]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "text\tlabel\na\t1\nb\t0\tx\n", "line 3 has 3 fields, the first line has 2"),
        ("a.tsv", "text\tlabel\na\n", "line 2 has 1 fields"),
        ("a.tsv", "text\tlabel\n\na\t1\n", "line 2 is empty"),
        ("a.tsv", b"text\tlabel\na\xff\t1\n", "line 2: not UTF-8"),
        ("a.tsv", "texts\tlabel\na\t1\n", "no column 'text'; the first line has texts, label"),
        ("a.tsv", "text\ttext\tlabel\na\tb\t1\n", "column 'text' twice"),
        ("a.csv", 'text,label\na,1\n"b\n', "line 3: not CSV"),
        ("a.csv", "text,label\n\na,1\n", "line 2 is empty"),
        ("a.csv", "text,label\na,1,2\n", "line 2 has 3 fields"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "a"}\n', "line 2: no key 'label'"),
        ("a.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("a.jsonl", "{\n", "line 1: not JSON"),
        ("a.jsonl", '{"text": null, "label": 1}\n', "line 1: key 'text' is null, not text"),
        ("a.jsonl", '{"text": {}, "label": 1}\n', "line 1: key 'text' is dict"),
        ("a.jsonl", "[" * 100_000, "line 1: not JSON"),
    ],
)
def test_bad_rows_are_told_with_their_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        rows(tmp_path / name, content)


def test_a_number_beyond_the_columns_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no column 3"):
        rows(tmp_path / "a.tsv", "a\tb\n", Columns("3", None, "1"))
    with pytest.raises(TableError, match="cannot be read"):
        list(read_rows(tmp_path / "none.tsv", NAMED))


def labelled(*labels: str, text: str = "a b") -> list[Row]:
    return [Row(f"train.tsv: line {k}", text, None, label) for k, label in enumerate(labels, 2)]


def test_classes_are_sorted_numbers_first() -> None:
    assert learn_labels(labelled("10", "9", "b", "9"), "classification").names == ("9", "10", "b")
    assert learn_labels(labelled("no", "yes"), "classification", ["yes", "no"]).names == ("yes", "no")
    labels = learn_labels(labelled("1", "3"), "regression")
    assert [labels.encode(row) for row in labelled("1", "2", "3")] == [[-1.0], [0.0], [1.0]]
    tokens = learn_labels(labelled("O X", "X X"), "tokens")
    assert tokens.encode(labelled("X O")[0]) == [1, 0]


@pytest.mark.parametrize(
    ("kind", "labels", "told", "message"),
    [
        ("classification", ["1", "1"], None, "train.tsv: every label is '1'"),
        ("classification", ["1", "0"], ["0", "1", "2"], "train.tsv: class '2' has no training example"),
        ("classification", ["1", "0", "3"], ["0", "1"], "line 4: label '3' was never seen"),
        ("classification", ["1", " "], None, "line 3: no label"),
        ("regression", ["1", "x"], None, "line 3: label 'x' is not a number"),
        ("regression", ["1", "nan"], None, "line 3: label 'nan' is not a number"),
        ("regression", ["2", "2"], None, "every label is 2"),
        ("tokens", ["X Y", "X"], None, "line 3: 1 labels for 2 words"),
    ],
)
def test_bad_labels(kind, labels: list[str], told: list[str] | None, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        learn_labels(labelled(*labels), kind, told)


def test_an_unseen_label_names_its_line() -> None:
    labels = learn_labels(labelled("a", "b"), "classification")
    with pytest.raises(LabelError, match=r"valid\.tsv: line 9: label 'c' was never seen in training; known: a, b"):
        labels.encode(Row("valid.tsv: line 9", "x", None, "c"))


def test_balanced_weights_have_mean_one() -> None:
    weights = balanced_weights([[0.0]] * 3 + [[1.0]], 2)
    assert weights.tolist() == [4 / 6, 4 / 2]
    assert (3 * weights[0] + weights[1]) / 4 == 1
