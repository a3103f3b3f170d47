import itertools
import os
import random

import fsspec
import pytest

from pipeline.io.inputs import InputError, list_inputs


@pytest.fixture
def corpus(tmp_path):
    """Two directories and a file; names in an order that differs between bytes and locales."""
    for name in (
        "news/b.txt",
        "news/deep/er/A.jsonl.gz",
        "news/Zeta.md",
        "books/one.txt",
        "books/x/wiki_00",
        "lone.csv",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def summary(files):
    return [(file.relative, file.source, file.problem) for file in files]


def test_one_directory_is_the_root(corpus):
    assert summary(list_inputs([str(corpus)])) == [
        ("books/one.txt", "books", None),
        ("books/x/wiki_00", "books", None),
        ("lone.csv", corpus.name, None),
        ("news/Zeta.md", "news", None),
        ("news/b.txt", "news", None),
        ("news/deep/er/A.jsonl.gz", "news", None),
    ]


def test_one_file_lies_at_the_root_and_names_its_source(corpus):
    [file] = list_inputs([str(corpus / "news/deep/er/A.jsonl.gz")])
    assert (file.relative, file.source, file.size) == ("A.jsonl.gz", "A", len("news/deep/er/A.jsonl.gz"))


def test_several_inputs_are_told_apart_by_name(corpus):
    inputs = [str(corpus / "news"), f"old={corpus / 'books'}", str(corpus / "lone.csv"), f"mine={corpus / 'lone.csv'}"]
    expected = [
        ("lone.csv", "lone", None),
        ("mine/lone.csv", "mine", None),
        ("news/Zeta.md", "news", None),
        ("news/b.txt", "news", None),
        ("news/deep/er/A.jsonl.gz", "news", None),
        ("old/one.txt", "old", None),
        ("old/x/wiki_00", "old", None),
    ]
    for order in itertools.permutations(inputs):
        assert summary(list_inputs(order)) == expected


def test_a_named_input_is_one_source(corpus):
    assert {file.source for file in list_inputs([f"all={corpus}"])} == {"all"}


def test_order_of_directory_entries_does_not_matter(corpus, monkeypatch):
    expected = list_inputs([str(corpus)])
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path):
            self.entries = scandir(path)

        def __enter__(self):
            found = list(self.entries)
            random.Random(7).shuffle(found)
            return iter(found)

        def __exit__(self, *_):
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Shuffled)
    assert list_inputs([str(corpus)]) == expected


def test_same_name_twice(corpus):
    with pytest.raises(InputError, match="NAME=PATH"):
        list_inputs([str(corpus / "news"), str(corpus / "news")])
    (corpus / "books/news").mkdir()
    with pytest.raises(InputError, match=r"called 'news'.*NAME=PATH"):
        list_inputs([str(corpus / "news"), str(corpus / "books/news")])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("news/*.txt", ["b.txt"]),
        ("*/*.txt", ["books/one.txt", "news/b.txt"]),
        ("**/*.txt", ["books/one.txt", "news/b.txt"]),
        ("news/**", ["Zeta.md", "b.txt", "deep/er/A.jsonl.gz"]),
        ("[nb]*", ["books/one.txt", "books/x/wiki_00", "news/Zeta.md", "news/b.txt", "news/deep/er/A.jsonl.gz"]),
    ],
)
def test_patterns(corpus, pattern, expected):
    assert [file.relative for file in list_inputs([str(corpus / pattern)])] == expected


def test_a_file_name_with_wildcards_or_an_equals_sign_is_a_file(corpus, monkeypatch):
    (corpus / "a[1]=2.txt").write_text("x")
    monkeypatch.chdir(corpus)
    assert [file.relative for file in list_inputs(["a[1]=2.txt"])] == ["a[1]=2.txt"]


@pytest.mark.parametrize("missing", ["nothing-here", "*.none", "empty", "NAME=nothing", "gs-not-a-protocol://x/y", ""])
def test_no_input_is_one_clear_line(corpus, missing, monkeypatch):
    (corpus / "empty").mkdir()
    (corpus / "empty/.hidden.txt").write_text("x")
    monkeypatch.chdir(corpus)
    with pytest.raises(InputError) as error:
        list_inputs([missing])
    assert missing in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError):
        list_inputs([str(corpus), missing])
    with pytest.raises(InputError, match="no INPUT"):
        list_inputs([])


def test_unknown_formats_are_returned_and_hidden_names_are_not(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/a.txt").write_text("x")
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / "export").write_bytes(b'\xef\xbb\xbf \n<doc id="1" url="" title="T">\nT\n</doc>\n')
    assert [(file.relative, file.problem) for file in list_inputs([str(tmp_path)])] == [
        ("export", None),
        ("picture.png", "unsupported_format"),
    ]


def test_special_files_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    assert [file.problem for file in list_inputs([str(tmp_path)])] == ["unsupported_format"]


def test_links(tmp_path, read_input):
    (tmp_path / "in/b/c").mkdir(parents=True)
    (tmp_path / "in/b/c/x.txt").write_text("text")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/y.txt").write_text("more")
    (tmp_path / "in/b/c/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/above").symlink_to(tmp_path)
    (tmp_path / "in/a").symlink_to(tmp_path / "in/b")  # sorts before the real directory, yet does not take its place
    (tmp_path / "in/away").symlink_to(tmp_path / "outside")
    (tmp_path / "in/z.txt").symlink_to(tmp_path / "outside/y.txt")
    (tmp_path / "in/nowhere.txt").symlink_to(tmp_path / "gone.txt")
    (tmp_path / "in/self.txt").symlink_to(tmp_path / "in/self.txt")
    files = list_inputs([str(tmp_path / "in")])
    assert [(file.relative, file.problem) for file in files] == [
        ("a", "link_loop"),
        ("above", "link_loop"),
        ("away/y.txt", None),
        ("b/c/up", "link_loop"),
        ("b/c/x.txt", None),
        ("nowhere.txt", "unreadable"),
        ("self.txt", "link_loop"),
        ("z.txt", None),
    ]
    assert list_inputs([str(tmp_path / "in/**")]) == files
    for file in files:
        [row] = read_input(file)
        assert row["quarantine"] == file.problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_no_permission(tmp_path):
    for name in ("shut.txt", "closed/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "shut.txt").chmod(0)
    (tmp_path / "closed").chmod(0)
    try:
        found = [(file.relative, file.problem) for file in list_inputs([str(tmp_path)])]
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert found == [("closed", "unreadable"), ("shut.txt", "unreadable")]


def test_file_names_that_are_not_utf8(tmp_path, read_input):
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(path, "wb") as file:
        file.write(b"text")
    [found] = list_inputs([str(tmp_path)])
    assert found.relative == "caf\\xe9.txt"
    assert read_input(found)[0]["text"] == "text"


def test_urls(read_input):
    fs = fsspec.filesystem("memory")
    for name in ("/corpus/a/x.txt", "/corpus/y.jsonl", "/corpus/_tmp/z.txt", "/corpus/p.png", "/corpus/a/export"):
        fs.pipe(name, b'<doc id="1">\nT\n</doc>\n' if name.endswith("export") else b'{"text": "hello"}')
    try:
        files = list_inputs(["memory://corpus"])
        assert summary(files) == [
            ("a/export", "a", None),
            ("a/x.txt", "a", None),
            ("p.png", "corpus", "unsupported_format"),
            ("y.jsonl", "corpus", None),
        ]
        assert all(file.path.startswith("memory://") for file in files)
        assert read_input(files[3])[0]["text"] == "hello"
        assert summary(list_inputs(["N=memory://corpus/y.jsonl"])) == [("y.jsonl", "N", None)]
        assert [file.relative for file in list_inputs(["memory://corpus/*.jsonl"])] == ["y.jsonl"]
        assert [file.relative for file in list_inputs(["memory://corpus/**/*.txt"])] == ["a/x.txt"]
        with pytest.raises(InputError, match="no such file"):
            list_inputs(["memory://elsewhere/x"])
    finally:
        fs.rm("/corpus", recursive=True)
