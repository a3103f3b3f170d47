"""Tasks become parts once; a finished part is found, an unfinished one is made again."""

from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
import pytest

from pipeline.stages.parts import MakeParts, ReadTasks, Task, collect_parts, digest_of, finished_part, write_tasks

SCHEMA = pa.schema([pa.field("n", pa.int64())])


@dataclass(frozen=True)
class MakeNumbers:
    log: str
    fail_at: int = -1

    def __call__(self, spec, part):
        with open(self.log, "a") as log:
            log.write(f"{part.index}\n")
        with part.sink(f"numbers/{part.index:05d}.arrow", SCHEMA) as sink:
            sink.write(pa.table([list(range(spec["n"]))], schema=SCHEMA))
            if part.index == self.fail_at:
                raise OSError("No space left on device")
        part.count_tokens(f"numbers/{part.index:05d}.arrow", spec["n"])
        return {"n": spec["n"]}


def tasks(count: int, salt: str = "") -> list[Task]:
    return [Task(i, {"n": 10 * i}, digest_of(salt, i), weight=i) for i in range(count)]


def run(output, some, make) -> None:
    path = write_tasks(str(output), "numbers", some)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        pipeline | ReadTasks(path) | MakeParts(str(output), "numbers", make)


def made(log) -> list[int]:
    return sorted(int(line) for line in log.read_text().split()) if log.exists() else []


def test_every_part_is_made_once_and_found_again(tmp_path):
    log = tmp_path / "log"
    run(tmp_path / "out", tasks(5), MakeNumbers(str(log)))
    run(tmp_path / "out", tasks(5), MakeNumbers(str(log)))
    assert made(log) == [0, 1, 2, 3, 4]
    records = collect_parts(str(tmp_path / "out"), "numbers", tasks(5))
    assert [(r.index, r.facts["n"], r.files[0].rows, r.files[0].tokens) for r in records] == [
        (i, 10 * i, 10 * i, 10 * i) for i in range(5)
    ]


def test_a_changed_key_or_a_damaged_file_is_made_again(tmp_path):
    log, out = tmp_path / "log", tmp_path / "out"
    run(out, tasks(3), MakeNumbers(str(log)))
    with open(out / "numbers" / "00001.arrow", "ab") as handle:
        handle.write(b"x")
    assert finished_part(str(out), "numbers", tasks(3)[1]) is None
    run(out, tasks(3), MakeNumbers(str(log)))
    assert made(log) == [0, 1, 1, 2]
    run(out, tasks(3, "other"), MakeNumbers(str(log)))
    assert made(log) == [0, 0, 1, 1, 1, 2, 2]


def test_a_failed_part_leaves_no_file_and_no_sidecar(tmp_path):
    log, out = tmp_path / "log", tmp_path / "out"
    with pytest.raises(Exception, match="No space left on device"):
        run(out, tasks(3), MakeNumbers(str(log), fail_at=1))
    assert finished_part(str(out), "numbers", tasks(3)[1]) is None
    assert not (out / "numbers" / "00001.arrow").exists()
    assert [p.name for p in (out / "numbers").iterdir() if p.name.startswith(".")] == []
    with pytest.raises(RuntimeError, match="part 1 is missing"):
        collect_parts(str(out), "numbers", tasks(3)[1:2])
    run(out, tasks(3), MakeNumbers(str(log)))
    assert len(collect_parts(str(out), "numbers", tasks(3))) == 3
