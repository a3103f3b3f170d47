"""`prepare --vocabulary`, `prepare --strict` and `siliang-pipeline vocabulary` on a prepared corpus."""

import base64
import json

import orjson
import pytest

from pipeline.cli import run
from pipeline.config import PipelineConfig
from pipeline.report.vocabulary import vocabulary_quality
from pipeline.run import PrepareError, Request, prepare
from pipeline.words.model_file import parse_model
from pipeline.words.vocabulary import VocabularyError
from schemas.manifest import read_manifest, verify_files

FEW = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@pytest.fixture(scope="module")
def tokenizer_json(prepared, tmp_path_factory):
    """The corpus's own vocabulary as a Hugging Face tokenizer, special pieces renamed and moved."""
    model = parse_model((prepared / "vocabulary/siliang.model").read_bytes())
    kept = [[row.piece, row.score] for row in list(model.pieces)[6:]]
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    raw = {
        "added_tokens": [{"id": number, "content": name, "special": True} for number, name in enumerate(FEW)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": charsmap},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": True, "vocab": [[name, 0.0] for name in FEW] + kept},
    }
    path = tmp_path_factory.mktemp("huggingface") / "tokenizer.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    return path


def shards(directory) -> dict[str, str]:
    return {
        e.path: e.sha256 for e in read_manifest(directory).files if e.path.startswith(("train/", "valid/", "notes/"))
    }


def test_the_same_vocabulary_from_a_tokenizer_json_gives_the_same_shards(
    raw, prepared, config, tokenizer_json, tmp_path
):
    output = tmp_path / "data"
    manifest = prepare(Request((str(raw),), str(output), config, vocabulary=str(tokenizer_json)))
    assert shards(output) == shards(prepared)
    assert manifest.vocabulary_size == read_manifest(prepared).vocabulary_size
    assert not [problem for _, problem in verify_files(output, manifest) if problem]
    told = orjson.loads((output / "vocabulary/vocabulary.json").read_bytes())
    assert (told["given"], told["format"], told["specials"]["[MASK]"]) == (True, "tokenizer.json", "<mask>")
    own = orjson.loads((prepared / "vocabulary/vocabulary.json").read_bytes())
    assert told["languages"] == own["languages"]


def test_a_tokenizer_without_a_mask_is_refused_before_any_work(raw, tokenizer_json, tmp_path):
    named = tokenizer_json.read_text(encoding="utf-8").replace("<mask>", "<sentinel>")
    (tmp_path / "tokenizer.json").write_text(named, encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"\[MASK\] is missing.*<sentinel>"):
        prepare(
            Request((str(raw),), str(tmp_path / "o"), PipelineConfig(), vocabulary=str(tmp_path / "tokenizer.json"))
        )
    assert not (tmp_path / "o").exists()


def test_strict_fails_where_the_vocabulary_is_lowered_and_otherwise_changes_nothing(raw, tmp_path):
    config = PipelineConfig.model_validate({"vocabulary": {"size": 30000}, "rules": {"sets": []}})
    request = Request((str(raw / "rfc"),), str(tmp_path / "o"), config)
    with pytest.raises(PrepareError, match=r"vocabulary lowered from 30000 to \d+ pieces.*--strict"):
        prepare(Request(request.inputs, request.output, config, strict=True))
    assert not (tmp_path / "o/manifest.json").exists()
    manifest = prepare(request)
    told = orjson.loads((tmp_path / "o/vocabulary/vocabulary.json").read_bytes())
    assert told["size"] == manifest.vocabulary_size < told["wanted"] == 30000
    assert "lowered from 30000" in told["note"]


def test_the_report_is_told_how_well_the_vocabulary_fits(prepared):
    manifest = read_manifest(prepared)
    quality = vocabulary_quality(prepared, manifest)
    assert quality["size"] == manifest.vocabulary_size
    assert {"en", "zh"} <= {row["language"] for row in quality["languages"]}
    assert quality["pieces"]["ordinary"] == quality["size"] - 6 - 256
    assert quality["fertility"][0]["low"] == 1
    json.dumps(quality)


def test_sizes_are_compared_on_the_same_sample(prepared, capsys):
    assert run(["vocabulary", str(prepared), "--compare", "2600,300,2000"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["wanted"] for row in rows] == [300, 2000, 2600]
    assert "no room for the characters" in rows[0]["problem"]
    assert rows[2]["tokens_per_word"] < rows[1]["tokens_per_word"]
    own = orjson.loads((prepared / "vocabulary/vocabulary.json").read_bytes())
    assert (rows[1]["size"], rows[1]["languages"]) == (own["size"], own["languages"])

    assert run(["vocabulary", str(prepared)]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == own["total"]
    assert run(["vocabulary", str(prepared), "--compare", "many"]) == 2
    assert "give sizes like" in capsys.readouterr().err
