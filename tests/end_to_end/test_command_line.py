"""The command line as a user meets it: exit codes, one clear line for each mistake, no traceback."""

import gzip
import json

import pytest

pytestmark = pytest.mark.xdist_group("prepared")


def wrong(done, code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_inspect_finds_why(prepared, siliang_pipeline):
    done = siliang_pipeline("inspect", prepared, "--rule", "exact", "--limit", 2, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2
    assert all(row["verdict"] == "duplicate" and row["duplicate_of"] for row in rows)
    one = siliang_pipeline("inspect", prepared, "--record", rows[0]["record"], "--json")
    assert [json.loads(line)["record"] for line in one.stdout.splitlines()] == [rows[0]["record"]]
    other = siliang_pipeline("inspect", prepared, "--doc", rows[0]["doc_id"][:12], "--json")
    assert rows[0]["record"] in [json.loads(line)["record"] for line in other.stdout.splitlines()]


def test_verify_names_the_damaged_file(prepared, tmp_path, siliang_pipeline):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(prepared, copy, ignore=shutil.ignore_patterns("stages"))
    assert siliang_pipeline("verify", copy).returncode == 0
    shard = sorted((copy / "train").iterdir())[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    sorted((copy / "audit").iterdir())[0].unlink()
    done = siliang_pipeline("verify", copy)
    wrong(done, 1, f"train/{shard.name}: sha256", "missing", "2 of")


def test_rules_lists_each_with_limit_and_source(siliang_pipeline):
    rules = [json.loads(line) for line in siliang_pipeline("rules", "--json").stdout.splitlines()]
    assert {"gopher.min_words", "c4.min_sentences"} <= {rule["name"] for rule in rules}
    assert all(rule["source"] for rule in rules)


def test_no_input(tmp_path, siliang_pipeline):
    done = siliang_pipeline("prepare", tmp_path / "nowhere", "--output", tmp_path / "out")
    wrong(done, 2, "nowhere")
    assert not (tmp_path / "out").exists()


def test_unknown_key(tmp_path, siliang_pipeline):
    (tmp_path / "c.toml").write_text("[deduplicate]\ntreshold = 0.8\n")
    done = siliang_pipeline("prepare", tmp_path, "--output", tmp_path / "out", "--config", tmp_path / "c.toml")
    wrong(done, 2, "unknown key 'deduplicate.treshold'", "threshold")


def test_an_output_of_another_config(prepared, raw, tmp_path, siliang_pipeline):
    done = siliang_pipeline("prepare", raw, "--output", prepared)
    wrong(done, 2, "was made with", "choose another --output")
    assert (prepared / "manifest.json").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("precious")
    done = siliang_pipeline("prepare", raw, "--output", tmp_path / "mine")
    wrong(done, 2, "holds files that are not this program's")


def test_unknown_runner_and_missing_option(tmp_path, siliang_pipeline):
    wrong(siliang_pipeline("prepare", tmp_path, "--output", tmp_path / "o", "--runner", "Dask"), 2, "FnApiRunner")
    wrong(siliang_pipeline("prepare", tmp_path), 2, "--output")


def test_a_vocabulary_without_the_special_pieces(prepared, raw, tmp_path, siliang_pipeline):
    (tmp_path / "bad.model").write_bytes(b"no model at all")
    done = siliang_pipeline("prepare", raw, "--output", tmp_path / "o", "--vocabulary", tmp_path / "bad.model")
    wrong(done, 2, "bad.model")


def test_a_given_vocabulary_is_used(prepared, raw, tmp_path, config_file, siliang_pipeline):
    model = prepared / "vocabulary/siliang.model"
    done = siliang_pipeline(
        "prepare", raw / "sotu", "--output", tmp_path / "o", "--config", config_file, "--vocabulary", model
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o/vocabulary/siliang.model").read_bytes() == model.read_bytes()


def test_too_much_quarantine_names_the_worst_file(raw, tmp_path, siliang_pipeline):
    source = tmp_path / "in"
    source.mkdir()
    (source / "good.txt").write_text((sorted((raw / "sotu").iterdir())[0]).read_text())
    (source / "bad.jsonl").write_text("{nonsense\n" * 9)
    done = siliang_pipeline("prepare", source, "--output", tmp_path / "o")
    wrong(done, 1, "9 of 10 records are quarantined", "bad.jsonl (9)", "max_quarantined")
    (tmp_path / "c.toml").write_text("[input]\nmax_quarantined = 0.95\n[vocabulary]\nsize = 400\n")
    done = siliang_pipeline("prepare", source, "--output", tmp_path / "o", "--config", tmp_path / "c.toml")
    wrong(done, 2, "vocabulary.size")
    (tmp_path / "d.toml").write_text("[input]\nmax_quarantined = 0.95\n")
    done = siliang_pipeline("prepare", source, "--output", tmp_path / "o", "--config", tmp_path / "d.toml")
    assert done.returncode == 0, done.stderr


def test_nothing_kept_says_what_decided(tmp_path, siliang_pipeline):
    with gzip.open(tmp_path / "short.jsonl.gz", "wt") as handle:
        handle.write('{"text": "Too short."}\n' * 3)
    done = siliang_pipeline("prepare", tmp_path / "short.jsonl.gz", "--output", tmp_path / "o")
    wrong(done, 1, "no document was kept of 3 records", "siliang.min_words (3)")


def test_a_full_disk_is_one_clear_line_and_the_next_run_goes_on(raw, tmp_path, siliang_pipeline):
    """A limit on file size stands in for a full disk: the kernel refuses the write in the same place."""
    import resource

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    arguments = ("prepare", raw / "sotu", "--output", tmp_path / "o")
    wrong(siliang_pipeline(*arguments, preexec_fn=limit), 1, "File too large")
    assert not (tmp_path / "o/manifest.json").exists()
    done = siliang_pipeline(*arguments)
    assert done.returncode == 0, done.stderr


def test_version_and_help(siliang_pipeline):
    assert siliang_pipeline("--version").stdout.startswith("siliang 0.")
    text = siliang_pipeline("--help").stdout
    for command in ("prepare", "report", "inspect", "verify", "rules"):
        assert command in text
