import base64
import json

import pytest
import sentencepiece

import trainer.tokenizer
from pipeline.config import VocabularyConfig
from pipeline.words.given import given_vocabulary
from pipeline.words.model_file import NORMAL, parse_model
from pipeline.words.tokenizer import Tokenizer
from pipeline.words.vocabulary import VocabularyError, lines, train_vocabulary
from schemas.vocabulary import MASK, SPECIAL_PIECES

HF_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ODD = [
    "",
    " ",
    "a  b\n\nc",
    "🙂🙃",
    "日本語 and ไทย",
    "<s> <mask> [MASK]",
    "x" * 3000,
    "ﬁne ½ Ⅷ",
    "1234 12,345",
    "▁ ▁▁",
]


def tokenizer_json(model_file, byte_fallback: bool = True) -> dict:
    """A SentencePiece model of ours as the tokenizer.json that a converter would write, special pieces renamed."""
    model = parse_model(model_file.read_bytes())
    kept = [(p.piece, p.score) for p in list(model.pieces)[len(SPECIAL_PIECES) :]]
    vocabulary = [(name, 0.0) for name in HF_SPECIALS[:4]] + kept + [("<mask>", 0.0)]
    ids = {piece: number for number, (piece, _) in enumerate(vocabulary)}
    added = [
        {"id": ids[name], "content": name, "special": True, "lstrip": False, "rstrip": False, "normalized": False,
         "single_word": False}
        for name in HF_SPECIALS
    ]  # fmt: skip
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    normalizers = [{"type": "Precompiled", "precompiled_charsmap": charsmap}]
    if model.trainer_spec.model_type == 1:
        unknown = ids["<unk>"]
        core = {"type": "Unigram", "unk_id": unknown, "byte_fallback": byte_fallback, "vocab": vocabulary}
        normalizers += [
            {"type": "Strip", "strip_left": True, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
        ]
        cut = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    else:
        normal = {p.piece for p in model.pieces if p.type == NORMAL}
        by_score = sorted((p for p in model.pieces if p.type == NORMAL and len(p.piece) > 1), key=lambda p: -p.score)
        merges = [
            [p.piece[:cut], p.piece[cut:]]
            for p in by_score
            for cut in range(1, len(p.piece))
            if p.piece[:cut] in normal and p.piece[cut:] in normal
        ]
        core = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": byte_fallback, "vocab": ids,
                "merges": merges}  # fmt: skip
        normalizers += [
            {"type": "Strip", "strip_left": True, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]
        cut = None
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers}, "pre_tokenizer": cut, "post_processor": None,
        "decoder": None, "model": core,
    }  # fmt: skip


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def original(request, texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("original") / "siliang.model"
    chosen = [text for name, text in texts.items() if name.endswith((".txt", ".json"))][::2]
    train_vocabulary(chosen, path, VocabularyConfig(size=5000, model=request.param, threads=1))
    return path


@pytest.fixture(scope="module")
def converted(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_json(original)), encoding="utf-8")
    return path


def test_a_tokenizer_made_from_our_model_becomes_our_model_again(original, converted, texts, tmp_path):
    given = given_vocabulary(converted)
    assert given.note is None
    assert given.facts["specials"] == dict(
        zip(SPECIAL_PIECES, ["<pad>", "<unk>", "<s>", "</s>", "<mask>"], strict=False)
    )
    (tmp_path / "m.model").write_bytes(given.model)
    ours, theirs = Tokenizer(tmp_path / "m.model"), Tokenizer(original)
    assert (ours.size, given.size) == (theirs.size, theirs.size)
    for text in [*texts.values(), *ODD]:
        assert ours.encode([text]).ids.tolist() == theirs.encode([text]).ids.tolist()
    assert (ours.piece_kinds == theirs.piece_kinds).all()


def test_pieces_are_those_of_the_tokenizers_library(converted, texts, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    reference = tokenizers.Tokenizer.from_file(str(converted))
    (tmp_path / "m.model").write_bytes(given_vocabulary(converted).model)
    ours = Tokenizer(tmp_path / "m.model")
    different = compared = 0
    for text in [*list(texts.values())[::4], *ODD[:5], *ODD[6:]]:
        for line in lines([text]):
            found = [ours.piece(token) for token in ours.encode([line]).ids]
            wanted = reference.encode(line, add_special_tokens=False).tokens
            compared += 1
            different += found != wanted
    assert compared > 1000
    assert different <= compared // 1000  # equal scores are told apart by the order of additions


def test_the_trainer_reads_a_converted_tokenizer(converted, tmp_path):
    (tmp_path / "m.model").write_bytes(given_vocabulary(converted).model)
    reader = trainer.tokenizer.Tokenizer(tmp_path / "m.model")
    assert reader.decode(reader.encode("Call me Ishmael. 鯨")) == "Call me Ishmael. 鯨"
    ids = reader.encode_masked("the [MASK] sat")
    assert ids.count(MASK) == 1
    assert reader.decode([token for token in ids if token != MASK]) == "the sat"


def refused(tmp_path, raw, match):
    path = tmp_path / "tokenizer.json"
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw), encoding="utf-8")
    with pytest.raises(VocabularyError, match=match):
        given_vocabulary(path)


def test_what_cannot_be_used_is_refused_by_name(original, tmp_path):
    def changed(**parts):
        return {**tokenizer_json(original), **parts}

    word_piece = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": {"[UNK]": 0}}
    refused(tmp_path, changed(model=word_piece), "WordPiece")
    refused(tmp_path, changed(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False}), "ByteLevel")
    refused(tmp_path, changed(normalizer={"type": "Lowercase"}), "normaliser Lowercase")
    refused(tmp_path, changed(pre_tokenizer={"type": "BertPreTokenizer"}), "BertPreTokenizer")
    refused(tmp_path, changed(pre_tokenizer=None, normalizer=None), "not written ▁")
    refused(tmp_path, changed(model={"type": "WordLevel", "vocab": {}}), "a WordLevel model")
    refused(tmp_path, "{", "cannot be read as a tokenizer.json")
    refused(tmp_path, '{"a": 1}', "no 'model'")
    refused(tmp_path, changed(model={"type": "Unigram"}), "damaged")


def test_a_missing_mask_is_named_with_what_is_there(original, tmp_path):
    raw = tokenizer_json(original)
    for token in raw["added_tokens"]:
        token["content"] = token["content"].replace("<mask>", "<extra_id_0>")
    vocabulary = raw["model"]["vocab"]
    if isinstance(vocabulary, list):
        raw["model"]["vocab"] = [[piece.replace("<mask>", "<extra_id_0>"), score] for piece, score in vocabulary]
    else:
        raw["model"]["vocab"] = {
            piece.replace("<mask>", "<extra_id_0>"): number for piece, number in vocabulary.items()
        }
    refused(tmp_path, raw, r"\[MASK\] is missing \(looked for \[MASK\], <mask>.*special pieces are <s>, .*<extra_id_0>")


def test_merges_that_follow_no_order_of_pieces_are_refused(tmp_path):
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "▁", "a", "b", "c", "ab", "bc", "abc"]
    raw = {
        "added_tokens": [{"id": i, "content": name, "special": True} for i, name in enumerate(HF_SPECIALS)],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "model": {"type": "BPE", "vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": []},
    }
    raw["model"]["merges"] = ["a b", "b c", "ab c"]
    refused(tmp_path, raw, "never join 'a' and 'bc'")
    raw["model"]["merges"] = ["a b", "ab c", "b c", "a bc"]
    refused(tmp_path, raw, "'abc' at two places")
    raw["model"]["merges"] = ["a b", "b c", "ab c", "a bc"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    given = given_vocabulary(tmp_path / "tokenizer.json")
    assert "become [UNK]" in given.note
    model = sentencepiece.SentencePieceProcessor(model_proto=given.model)
    assert model.encode("abc bc", out_type=str) == ["▁", "abc", "▁", "bc"]
