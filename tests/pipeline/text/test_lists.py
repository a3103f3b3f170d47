import hashlib
import pickle
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import ConfigError, RulesConfig, load_config, make_config
from pipeline.text.judge import judge
from pipeline.text.lists import folded, normal_url, urls_of
from pipeline.text.rules import RuleError, check_rules_config, describe_rules
from pipeline.text.statistics import measure


def _config(*entries, kind="words", **values):
    listed = {"name": "bad", "kind": kind, "entries": entries} | (values or {"max_count": 1})
    return make_config({"rules": {"sets": (), "lists": [listed]}}).rules


def _judged(texts, config, language="en"):
    columns = {
        "text": pa.array(texts, pa.string()),
        "script": pa.array(["latin"] * len(texts), pa.string()),
        "language": pa.array([language] * len(texts), pa.string()),
        "quarantine": pa.nulls(len(texts), pa.string()),
        "detail": pa.nulls(len(texts), pa.string()),
    }
    return judge(measure(pa.RecordBatch.from_pydict(columns)), config).to_pylist()


def _count(text, *entries, **values):
    return _judged([text], _config(*entries, **values))[0]["list.bad"]


@pytest.mark.parametrize(
    ("text", "entries", "count"),
    [
        ("A bad, BAD badger; not-bad bad's.", ["bad"], 4),
        ("badbad bad1 bad_1 ábad bad\u0301", ["bad"], 1),  # an underscore is no letter
        ("the worst  of\nall worst of", ["worst of all", "worst"], 2),
        ("worst of", ["worst of all"], 0),
        ("worst of all", ["all", "of", "worst of all"], 1),
        ("c++ and C++, c+", ["c++"], 2),
        ("STRASSE straße Maße MASSE", ["straße", "maße"], 2),
        ("ΟΔΟΣ οδος οδός", ["οδος"], 2),
        ("他性格好，女性。", ["性"], 2),
        ("他性格好，女性。", ["性格"], 1),
        ("หนังดี", ["หนัง"], 1),
        ("ก็ดี", ["ก"], 0),  # a letter without its vowel sign is another one
        ("使用Python3写的python", ["python"], 1),
        ("Cafe\u0301 café", ["café"], 1),  # the text is NFC when it comes here
        ("", ["a"], 0),
        ("a", ["a"], 1),
        ("\U00010400 \U00010428", ["\U00010428"], 2),
    ],
)
def test_words_and_phrases(text, entries, count):
    assert _count(text, *entries) == count


def _slow(text, entries):
    """By a regular expression: tokens as the kernel's docstring has them."""
    import unicodedata

    from pipeline.text.script import MARK, SOLO, SPACE, WORD, flags

    def low(string):
        return "".join(chr(folded()[ord(character)]) if ord(character) < 0x40000 else character for character in string)

    def begins(at):
        if at in (0, len(text)):
            return True
        one, two = (int(flags()[ord(text[place])]) for place in (at - 1, at))
        return bool(one & SPACE) or (not two & MARK and not (one & two & WORD and not (one | two) & SOLO))

    patterns = [
        re.compile(r"\s+".join(map(re.escape, low(unicodedata.normalize("NFC", entry)).split())))
        for entry in sorted(entries, key=len, reverse=True)
    ]
    at = found = 0
    while at < len(text):
        step = 1
        if begins(at):
            for pattern in patterns:
                match = pattern.match(low(text), at)
                if match and begins(match.end()):
                    found += 1
                    step = match.end() - at
                    break
        at += step
    return found


PIECES = st.lists(st.sampled_from([*"abAB人权 \n.é\u0301ß+", "ab", " a", "か\u3099", "K"]), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(PIECES.map("".join), st.lists(PIECES.map("".join), min_size=1, max_size=6))
def test_kernel_equals_the_definition(text, entries):
    from pipeline.text.list_file import entries_of

    named = entries_of(entries)
    if named:
        assert _count(text, *entries) == _slow(text, named)


def test_many_entries_in_a_large_text():
    entries = [f"word{number} tail" for number in range(20_000)]
    text = " ".join(f"word{number} tail" for number in range(0, 40_000, 2))
    assert _count(text, *entries) == 10_000
    assert _count("人" * 300_000, "人" * 3, "人人" * 2) == 75_000


def test_verdict_share_scope_and_reason():
    (row,) = _judged(["bad bad bad"], _config("bad", max_count=2))
    assert (row["verdict"], row["rule"]) == ("filtered", "list.bad")
    assert row["detail"] == "3 words of list bad, at most 2 wanted"
    assert row["scores"][-1] == {"rule": "list.bad", "score": 3, "limit": 2}
    (row,) = _judged(["so bad, very bad indeed"], _config("very bad", max_share=0.3))
    assert row["detail"] == "0.4 of words are of list bad, at most 0.3 wanted"
    config = _config("bad", max_count=0, languages=("de",))
    assert [_judged(["bad"], config, code)[0]["verdict"] for code in ("de", "en")] == ["filtered", "kept"]
    told = describe_rules(config)[-1]
    assert (told["name"], told["set"], told["limit_in_force"], told["decides"]) == ("list.bad", "list", 0, True)
    off = config.model_copy(update={"disable": ("list.bad",)})
    check_rules_config(off)
    assert _judged(["bad"], off, "de")[0]["verdict"] == "kept"


@pytest.mark.parametrize(
    ("text", "entries", "count"),
    [
        ("see http://Example.com/x and www.example.com.", ["example.com"], 2),
        ("https://a.b.example.com:80/x http://notexample.com", ["http://www.example.com/"], 1),
        ("http://example.com/foo/bar?x http://example.com/foobar http://example.com/", ["example.com/foo"], 1),
        ("http://user@bad.org/ (ftp://bad.org/a).", ["bad.org"], 2),
        ("bad.org is no URL", ["bad.org"], 0),
        ("http:// http://", ["bad.org"], 0),
    ],
)
def test_urls(text, entries, count):
    assert _count(text, *entries, kind="urls", max_count=5) == count


def test_share_of_urls():
    (row,) = _judged(["http://a.org http://b.org"], _config("a.org", kind="urls", max_share=0.4))
    assert row["detail"] == "0.5 of URLs are of list bad, at most 0.4 wanted"


def test_urls_are_those_that_are_counted(samples):
    for path in sorted(samples.glob("*/*.txt")):
        text = path.read_text(encoding="utf-8")
        assert len(list(urls_of(text))) == measure_urls(text)
    assert normal_url("HTTPS://U:p@WWW.Ex.org:8/a//b/?q#f") == "ex.org/a/b"


def measure_urls(text):
    return _judged([text], RulesConfig(sets=()))[0]["urls"]


def _write(folder, words):
    (folder / "bad.txt").write_text(words, encoding="utf-8")
    config = folder / "config.toml"
    config.write_text('[[rules.lists]]\nname = "bad"\npath = "bad.txt"\nmax_count = 2\n')
    return config


def test_lists_come_from_files_beside_the_config(tmp_path):
    words = "\ufeff# comment\r\nbad\r\n\r\n  very   bad \nbad\n"
    path = _write(tmp_path, words)
    config = load_config(path)
    (listed,) = config.rules.lists
    assert listed.entries == ("bad", "very bad")
    assert listed.sha256 == hashlib.sha256(words.encode()).hexdigest()
    check_rules_config(config.rules)
    assert pickle.loads(pickle.dumps(config)).rules.lists[0].entries == listed.entries
    # No path and no word of the list in what a manifest holds; a changed list is another config.
    dumped = config.model_dump(mode="json")
    assert str(tmp_path) not in str(dumped)
    assert dumped["rules"]["lists"][0].keys().isdisjoint({"path", "entries"})
    changed = load_config(_write(tmp_path, "good\n"))
    assert changed.model_dump(mode="json") != dumped
    # What a manifest holds can be described, but not be prepared with.
    read = make_config(dumped).rules
    assert describe_rules(read)[-1]["name"] == "list.bad"
    with pytest.raises(RuleError, match="sha256 alone names no entries"):
        check_rules_config(read)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"path": "none.txt"}, "none.txt: cannot be read"),
        ({"path": "empty.txt"}, "empty.txt: names nothing"),
        ({"path": "latin.txt"}, "latin.txt: byte 1 is not UTF-8"),
        ({"path": "bad.txt", "sha256": "0" * 64}, "it has changed"),
        ({"path": "bad.txt", "entries": ["x"]}, "give one of them"),
        ({"path": "bad.txt", "max_share": 0.1}, "one of max_count and max_share"),
        ({}, "give the file of the list"),
        ({"path": "bad.txt", "limit": 3}, "unknown key 'rules.lists.0.limit'"),
        ({"path": "bad.txt", "kind": "hosts"}, "'words' or 'urls'"),
    ],
)
def test_bad_lists_are_named(tmp_path, listed, message):
    _write(tmp_path, "bad\n")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "latin.txt").write_bytes(b"a\xff")
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_config({"rules": {"lists": [{"name": "bad", "max_count": 1} | listed]}}, "config", tmp_path)


def test_bad_scopes_and_names_are_named():
    one = {"name": "bad", "entries": ["x"], "max_count": 1}
    with pytest.raises(RuleError, match="two lists have this name"):
        check_rules_config(RulesConfig(lists=[one, one]))
    with pytest.raises(RuleError, match=r"rules\.lists 'bad': no language is called 'xx'"):
        check_rules_config(RulesConfig(lists=[one | {"languages": ["xx"]}]))
