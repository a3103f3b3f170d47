import io
import zipfile

import pyarrow as pa
import pytest

from pipeline.io.formats.epub import parse_elements
from pipeline.text.html import main_text

CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
PAGE = """<?xml version="1.0" encoding="{encoding}"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd">
<html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="x.js"/></head>
<body><a id="a/>b"/><p>{text}</p><br/></body></html>"""
LAUGHS = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY x SYSTEM "file:///etc/passwd">]>"""
LOCKED = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"
  xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:EncryptionMethod Algorithm="{method}"/>
  <enc:CipherData><enc:CipherReference URI="{path}"/></enc:CipherData></enc:EncryptedData></encryption>"""
AES = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"


def package(items: str, spine: str, head: str = '<?xml version="1.0"?>') -> str:
    return f"""{head}<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="u">
    <metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A Book</dc:title></metadata>
    <manifest>{items}</manifest><spine>{spine}</spine></package>"""


def item(key: str, href: str, media: str = "application/xhtml+xml") -> str:
    return f'<item id="{key}" href="{href}" media-type="{media}"/>'


def page(text: str, encoding: str = "utf-8") -> bytes:
    return PAGE.format(encoding=encoding, text=text).encode(encoding)


def epub(members: dict[str, str | bytes], compression=zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        for name, content in members.items():
            archive.writestr(name, content)
    return sink.getvalue()


ITEMS = (
    item("two", "text/b%20b.xhtml")
    + item("one", "_a.xhtml")
    + item("nav", "nav.xhtml")
    + item("p", "p.png", "image/png")
)
BOOK = {
    "META-INF/container.xml": CONTAINER,
    "OEBPS/text/b b.xhtml": page("The second page."),
    "OEBPS/_a.xhtml": page("Die erste Seite: größer.", "iso-8859-1"),
    "OEBPS/nav.xhtml": page("the table of contents"),
    "OEBPS/p.png": b"\x89PNG",
    "OEBPS/content.opf": package(ITEMS, '<itemref idref="one"/><itemref idref="two" linear="no"/>'),
}
FIRST, SECOND = "a.epub/OEBPS/_a.xhtml#1", "a.epub/OEBPS/text/b b.xhtml#1"


def outcome(rows):
    return {row["record"]: row["quarantine"] for row in rows}


def texts(rows) -> list[str]:
    columns = {name: [row[name] for row in rows] for name in ("text", "media", "quarantine", "chars_in")}
    columns["repairs"] = pa.array([row["repairs"] for row in rows], pa.list_(pa.string()))
    columns["quarantine"] = pa.array(columns["quarantine"], pa.string())
    columns["detail"] = pa.nulls(len(rows), pa.string())
    return main_text(pa.RecordBatch.from_pydict(columns))["text"].to_pylist()


def test_pages_in_the_order_of_the_spine(read_file):
    rows = read_file("a.epub", epub(BOOK))
    assert list(outcome(rows).items()) == [(FIRST, None), (SECOND, None)]
    assert {row["media"] for row in rows} == {"html"}
    assert [text.strip() for text in texts(rows)] == ["Die erste Seite: größer.", "The second page."]


def test_in_an_archive(read_file):
    rows = read_file("a.zip", epub({"x/b.epub": epub(BOOK)}))
    assert [row["record"] for row in rows] == [
        "a.zip/mimetype#1",
        "a.zip/x/b.epub/OEBPS/_a.xhtml#1",
        "a.zip/x/b.epub/OEBPS/text/b b.xhtml#1",
    ]
    rows = read_file("a.zip", epub({"x/b.epub": epub(BOOK)}), max_archive_depth=1)
    assert outcome(rows)["a.zip/x/b.epub#1"] == "nested_archive"


@pytest.mark.parametrize("container", [None, "<container", LAUGHS + "<container>&c;&x;</container>"])
def test_the_only_package_is_found_without_a_container(read_file, container):
    members = BOOK | {"META-INF/container.xml": container}
    rows = read_file("a.epub", epub({name: content for name, content in members.items() if content}))
    assert outcome(rows) == {FIRST: None, SECOND: None}


@pytest.mark.parametrize(
    "opf",
    [
        "<package><unclosed>",
        package(ITEMS, ""),
        package(ITEMS, '<itemref idref="one"/>', LAUGHS).replace("A Book", "&c;&x;"),
        b"\xff\xfe\x00",
        "<a>" * 100_000,
    ],
)
def test_without_an_order_every_page_is_read(read_file, opf):
    rows = read_file("a.epub", epub(BOOK | {"OEBPS/content.opf": opf}))
    assert list(outcome(rows).items()) == [
        ("a.epub#1", "corrupt_archive"),
        (SECOND, None),
        (FIRST, None),
        ("a.epub/OEBPS/nav.xhtml#1", None),
    ]


def test_old_packages_with_a_document_type(read_file):
    head = '<?xml version="1.0"?><!DOCTYPE package PUBLIC "-//OEB//DTD" "http://openebook.org/dtds/oeb.dtd">'
    opf = package(ITEMS, '<itemref idref="two"/>', head).replace("A Book", "A&nbsp;Book")
    assert outcome(read_file("a.epub", epub(BOOK | {"OEBPS/content.opf": opf}))) == {SECOND: None}


def test_entities_are_refused():
    with pytest.raises(ValueError, match="declares the entity 'a'"):
        parse_elements((LAUGHS + "<x>&c;</x>").encode())


def test_pages_that_are_not_there_or_are_no_pages(read_file):
    spine = "".join(f'<itemref idref="{key}"/>' for key in ("one", "gone", "never", "p", "one", "up"))
    items = ITEMS + item("gone", "gone.xhtml") + item("up", "../../../etc/passwd")
    rows = read_file("a.epub", epub(BOOK | {"OEBPS/content.opf": package(items, spine)}))
    assert outcome(rows) == {
        FIRST: None,
        "a.epub/OEBPS/gone.xhtml#1": "corrupt_archive",
        "a.epub/#never#1": "corrupt_archive",
        "a.epub/OEBPS/p.png#1": "unsupported_format",
        "a.epub/etc/passwd#1": "corrupt_archive",
    }


def test_encryption(read_file):
    locked = LOCKED.format(method=AES, path="OEBPS/_a.xhtml")
    rows = read_file("a.epub", epub(BOOK | {"META-INF/encryption.xml": locked}))
    assert outcome(rows) == {FIRST: "encrypted", SECOND: None}
    fonts = LOCKED.format(method="http://www.idpf.org/2008/embedding", path="OEBPS/font.otf")
    rows = read_file("a.epub", epub(BOOK | {"META-INF/encryption.xml": fonts}))
    assert outcome(rows) == {FIRST: None, SECOND: None}
    rows = read_file("a.epub", epub(BOOK | {"META-INF/encryption.xml": "damaged"}))
    assert outcome(rows) == {FIRST: "encrypted", SECOND: "encrypted"}


def test_bombs_and_damage(read_file):
    bomb = epub(BOOK | {"OEBPS/_a.xhtml": page("x" * 30_000_000)})
    assert outcome(read_file("a.epub", bomb))[FIRST] in ("decompression_bomb", "record_too_long")
    opf = epub(BOOK | {"OEBPS/content.opf": b" " * 30_000_000})
    assert outcome(read_file("a.epub", opf))["a.epub#1"] == "corrupt_archive"
    whole = epub(BOOK)
    [row] = read_file("a.epub", whole[: len(whole) // 2])
    assert row["quarantine"] == "corrupt_archive"
    assert [row["quarantine"] for row in read_file("a.epub", b"")] == ["empty"]


def test_empty_elements_of_xhtml(read_file):
    [row] = read_file("a.xhtml", page("text") + b"<img src='a>b'/><p  class = \"x\" />" + b"<a" + b" b" * 50_000)
    assert "<title></title>" in row["text"]
    assert '<a id="a/>b"></a>' in row["text"]
    assert "<br/>" in row["text"]
    assert '<p  class = "x"></p>' in row["text"]
    assert row["media"] == "html"
