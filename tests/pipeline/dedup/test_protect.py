"""Decontamination: what is found is what a plain reference finds, and nothing else goes."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import PipelineConfig, ProtectConfig, make_config
from pipeline.dedup.normalize import normalise, normalise_batch
from pipeline.dedup.protect import explain, protect, units_of, without_protected
from pipeline.dedup.protect_index import ProtectIndex
from pipeline.dedup.protect_passages import (
    ProtectError,
    passage_of,
    passage_table,
    passages_of,
    protected_files,
    read_passages,
    with_files,
)

SAMPLES = Path(__file__).parents[3] / "samples"
ITEM = "Call me Ishmael some years ago never mind how long precisely having little or no money in my purse"
SHORT = "the sailors rode the breeze clear of the rocks"
CHINESE = "我们在这里说明一个很长的句子它没有空格并且需要用字符来比较才能找到它的副本"


def index_of(*texts: str, config: ProtectConfig | None = None) -> ProtectIndex:
    return ProtectIndex([passage_of(f"set#{n}", text) for n, text in enumerate(texts, 1)], config or ProtectConfig())


def rows(*texts: str) -> pa.RecordBatch:
    verdicts = ["kept"] * len(texts)
    columns = {"text": pa.array(texts), "verdict": pa.array(verdicts), "rule": pa.nulls(len(texts), pa.string())}
    columns |= {
        "detail": pa.nulls(len(texts), pa.string()),
        "repairs": pa.array([[]] * len(texts), pa.list_(pa.string())),
    }
    return pa.RecordBatch.from_pydict(columns)


def plain(text: str, items: list[str], config: ProtectConfig) -> bool:
    """Whether the document shares a protected run of words with an item, by loops over lists of words."""
    words = normalise(text).split()
    for item in items:
        wanted = normalise(item).split()
        size = min(config.ngram, len(wanted))
        if size < config.min_words:
            continue
        shared = {tuple(wanted[i : i + size]) for i in range(len(wanted) - size + 1)}
        if any(tuple(words[i : i + size]) in shared for i in range(len(words) - size + 1)):
            return True
    return False


WORDS = st.lists(st.sampled_from(["a", "b", "B.", "c,", "é", "d"]), max_size=30).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    documents=st.lists(WORDS, min_size=1, max_size=6),
    items=st.lists(WORDS, max_size=4),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_equal_to_a_plain_reference(documents, items, sizes):
    config = ProtectConfig(ngram=max(sizes), min_words=min(sizes))
    hits = index_of(*items, config=config).find(normalise_batch(pa.array(documents)))
    assert hits.document.tolist() == [n for n, text in enumerate(documents) if plain(text, items, config)]


@settings(max_examples=60, deadline=None)
@given(document=WORDS, items=st.lists(WORDS, max_size=3), sizes=st.tuples(st.integers(2, 5), st.integers(2, 5)))
def test_after_cutting_nothing_protected_is_left_and_nothing_else_is_gone(document, items, sizes):
    config = ProtectConfig(ngram=max(sizes), min_words=min(sizes))
    text = document.replace(", ", ",\n")
    after, cut = without_protected(text, index_of(*items, config=config))
    assert not plain(after, items, config)
    assert bool(cut) == plain(text, items, config)
    if not cut:
        assert after == text
    left = iter(normalise(text).split())
    assert all(word in left for word in normalise(after).split())  # in their order


@pytest.mark.parametrize("before", ["", "Some words of its own come first. "])
@pytest.mark.parametrize("behind", ["", " And others follow it."])
@pytest.mark.parametrize(
    "copy",
    [
        ITEM,
        ITEM.upper(),
        ITEM.replace(" ", ", "),
        ITEM.replace(" ", "\n"),
        ITEM.replace(" ", "\n\n"),
        " ".join(ITEM.split()[2:15]),
        "\u201c" + ITEM.replace("some", "So\u00adme") + "\u201d",
    ],
)
def test_copies_are_found_wherever_and_however_they_stand(before, copy, behind):
    out = protect(rows("nothing to see", before + copy + behind), index_of("of no use", ITEM), ProtectConfig())
    assert out["verdict"].to_pylist() == ["kept", "filtered"]
    assert out["rule"].to_pylist() == [None, "protected"]
    assert out["detail"][1].as_py().endswith("words) with set#2")


def test_one_word_less_is_not_shared():
    out = protect(rows(" ".join(ITEM.split()[:12]), " ".join(ITEM.split()[:13])), index_of(ITEM), ProtectConfig())
    assert out["verdict"].to_pylist() == ["kept", "filtered"]


def test_words_are_whole_words():
    words = " ".join(ITEM.split()[:13])
    texts = [words + "s", "x" + words, words + " s"]
    assert protect(rows(*texts), index_of(ITEM), ProtectConfig())["verdict"].to_pylist() == ["kept", "kept", "filtered"]


def test_short_items_match_as_a_whole_and_shorter_ones_never():
    config = ProtectConfig()
    texts = [f"It says: {SHORT}!", "The sailors rode the breeze clear of the", "Birds sing here today."]
    out = protect(rows(*texts), index_of(SHORT, "birds sing here today"), config)
    assert out["verdict"].to_pylist() == ["filtered", "kept", "kept"]
    assert "(9 words) with set#1" in out["detail"][0].as_py()


def test_the_detail_says_how_much_is_shared():
    words = ITEM.split()
    out = protect(rows("Well: " + " ".join(words[1:17]) + " and more"), index_of(ITEM), ProtectConfig())
    assert out["detail"][0].as_py() == "shares 'me ishmael some years ago never mind how ...' (16 words) with set#1"


def test_scripts_without_spaces_by_characters():
    texts = [f"开头。{CHINESE[4:30]}，结尾", CHINESE[:23], "An English page quotes: " + "，".join(CHINESE), "东京"]
    out = protect(rows(*texts), index_of(CHINESE), ProtectConfig())
    assert out["verdict"].to_pylist() == ["filtered", "kept", "filtered", "kept"]
    assert out["detail"][0].as_py().endswith("(26 characters) with set#1")


def test_latin_letters_of_a_chinese_item_protect_no_english_page():
    item = CHINESE + "internationalbusinessmachinescorporation" + CHINESE
    assert passage_of("x", item).by_character
    out = protect(rows("The International Business Machines Corporation."), index_of(item), ProtectConfig())
    assert out["verdict"].to_pylist() == ["kept"]


def test_only_the_sentences_that_share_go():
    config = ProtectConfig(action="cut")
    kept = ["It begins well.", "It ends well, too.\nAnd a last line."]
    out = protect(rows(f"{kept[0]} He said:\n{ITEM}. {kept[1]}", ITEM), index_of(ITEM), config)
    assert out["text"].to_pylist() == [f"{kept[0]} He said:\n{kept[1]}", ITEM]
    assert out["verdict"].to_pylist() == ["kept", "filtered"]
    assert out["repairs"].to_pylist() == [["protected"], []]
    assert out["detail"][0].as_py().startswith("1 sentence cut: shares 'call me ishmael")


def test_an_item_across_sentences_takes_all_of_them():
    item = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen."
    text = f"Before it. {item} After it. Nine ten."
    assert without_protected(text, index_of(item)) == ("Before it. After it. Nine ten.", 3)


def test_what_meets_after_a_cut_is_looked_at_again():
    item = "alpha beta gamma delta"
    config = ProtectConfig(ngram=4, min_words=4)
    assert without_protected(f"Alpha beta. {item}. Gamma delta. Rest.", index_of(item, config=config)) == ("Rest.", 3)


def test_units_joined_are_the_text():
    text = 'One. "Two!" Three…\n\n四。「五！」六\n  seven'
    assert "".join(units_of(text)) == text
    assert len(units_of(text)) == 7


def test_equal_hashes_of_other_words_are_no_hit(monkeypatch):
    index = index_of(ITEM, SHORT)
    index._hashes[:] = index._hashes[0]  # every lookup meets all n-grams, none of the right words
    index._bloom[:] = ~np.uint64(0)
    assert not len(index.find(normalise_batch(pa.array(["words of another kind " * 20]))).document)


def test_rows_that_are_not_kept_are_left_alone():
    batch = rows(ITEM, ITEM)
    batch = batch.set_column(1, "verdict", pa.array(["quarantined", "kept"]))
    assert protect(batch, index_of(ITEM), ProtectConfig())["verdict"].to_pylist() == ["quarantined", "filtered"]
    assert protect(batch, None, ProtectConfig()) is batch


def test_n_grams_that_items_share_are_kept_once():
    items = [
        f"question number {n} of the very same set of questions that all look alike: who is it" for n in range(20_000)
    ]
    index = index_of(*items)
    assert 20_000 < len(index) < 20_000 * 6
    assert index.find(normalise_batch(pa.array([items[777]]))).passage.tolist() == [777]


# ---- files


def read(path: Path, config: PipelineConfig | None = None):
    config = config or PipelineConfig()
    return read_passages(protected_files([str(path)], config.input), config.input, config.protect)


def test_every_format_names_its_record(tmp_path):
    (tmp_path / "lines.txt").write_text(f"too short\n\n{SHORT} .\n")
    (tmp_path / "fields.tsv").write_text(f"id\t1\t\tThe first of two fields that both are protected\t{ITEM}\n")
    (tmp_path / "rows.csv").write_text('id,premise\n1,"a field\nof two lines, and commas, is one passage"\n')
    (tmp_path / "objects.jsonl").write_text(
        json.dumps({"id": 1, "options": [{"a": "an answer of some nine or ten words in all"}]})
    )
    (tmp_path / "array.json").write_text(json.dumps(["short", "a string in an array is a passage of its own"]))
    pq.write_table(
        pa.table({"question": ["what is in a table is protected just as well"], "n": [1]}), tmp_path / "t.parquet"
    )
    passages, counts = read(tmp_path)
    assert [(passage.item, passage.text.split()[0]) for passage in passages] == [
        ("array.json#2", "a"),
        ("fields.tsv#1", "the"),
        ("fields.tsv#1", "call"),
        ("lines.txt#3", "the"),
        ("objects.jsonl#1", "an"),
        ("rows.csv#1", "a"),
        ("t.parquet#1", "what"),
    ]
    assert counts == {"items": 8, "passages": 7, "short_items": 2}
    assert passages_of(passage_table(passages)) == passages


def test_the_first_item_stands_for_equal_ones(tmp_path):
    (tmp_path / "a.txt").write_text(f"{ITEM}\n{ITEM.upper()}!\n")
    passages, counts = read(tmp_path)
    assert [passage.item for passage in passages] == ["a.txt#1"]
    assert counts["items"] == 2


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", b'{"text": '), ("a.parquet", b"PAR1no"), ("a.txt.gz", b"\x1f\x8bno")]
)
def test_what_cannot_be_read_is_an_error_that_names_the_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ProtectError, match=name):
        read(tmp_path)


def test_the_config_names_the_files_and_holds_them_to_it(tmp_path):
    (tmp_path / "a.txt").write_text(ITEM)
    files = protected_files([str(tmp_path)], PipelineConfig().input)
    config = with_files(PipelineConfig(), files)
    assert list(config.protect.files) == ["a.txt"]
    assert len(config.protect.files["a.txt"]) == 64
    again = make_config(config.model_dump(mode="json"))
    assert with_files(again, files) == config
    (tmp_path / "a.txt").write_text(SHORT)
    for other in (files, []):
        with pytest.raises(ProtectError, match=r"a\.txt"):
            with_files(again, other)


def test_planted_passages_of_the_samples_are_all_found_and_nothing_else():
    text = (SAMPLES / "moby-dick" / "chapter_1.txt").read_text(encoding="utf-8")
    words = text.split()
    items = [" ".join(words[start : start + 20]) for start in range(0, 1500, 50)]
    chance = random.Random(5)
    address = (SAMPLES / "sotu" / "1863_abraham_lincoln_r.txt").read_text(encoding="utf-8").split()
    documents, planted = [], []
    for number in range(60):
        body = address[number * 80 : number * 80 + 80]
        if number % 2:
            at = chance.choice([0, 40, 80])
            body = [*body[:at], *chance.choice(items).upper().split(), *body[at:]]
            planted.append(number)
        documents.append(" ".join(body))
    normalised = normalise_batch(pa.array(documents))
    index = index_of(*items)
    hits = index.find(normalised)
    assert hits.document.tolist() == planted
    said = [explain(normalised[n].as_py(), hits, place, index) for place, n in enumerate(planted)]
    sizes = {passage.item: passage.items for passage in index.passages}
    assert all(f"({sizes[line.rpartition(' ')[2]]} words)" in line for line in said)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"One here.\n\n{ITEM}.\n\nAnd two.", "One here.\n\nAnd two."),
        (f"One here. {ITEM}.\n\nAnd two.", "One here.\n\nAnd two."),
        (f"One here.\n{ITEM}.\nAnd two.", "One here.\nAnd two."),
        (f"{ITEM}.\n\nAnd two. {ITEM}.", "And two."),
    ],
)
def test_paragraphs_stay_paragraphs(text, left):
    assert without_protected(text, index_of(ITEM))[0] == left
