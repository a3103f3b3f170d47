"""EPUB books: a zip of XHTML pages, read in the order of the book's spine."""

import posixpath
import xml.parsers.expat
import zipfile
from collections.abc import Iterator
from typing import IO
from urllib.parse import unquote

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError
from pipeline.io.formats.lines import collect
from pipeline.io.formats.member import Member, member_name
from pipeline.io.formats.zip import DAMAGE, content_of, one_line, open_zip, problem_of

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_PACKAGE = "application/oebps-package+xml"
_PAGES = frozenset(["application/xhtml+xml", "text/html", "text/x-oeb1-document", "application/x-dtbook+xml", ""])
"""Media types that are read as pages (EPUB 2 and 3, and what old books say)."""
_PAGE_NAMES = (".xhtml", ".html", ".htm")
_OBFUSCATION = frozenset(["http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"])
"""Methods that hide fonts alone: such a book is not locked."""

Element = tuple[str, dict[str, str]]
"""Local name and attributes by local name."""


def read_epub(source: IO[bytes], config: InputConfig) -> Iterator[Member]:
    """One member for each page of the spine, numbered in its order. Pages outside of the spine (the table of contents,
    mostly) are no reading matter. A page under DRM has the problem `encrypted`.

    Where the book does not say its order, that is one `corrupt_archive`, and every page is read as the zip has them.
    """
    archive = open_zip(source, config)
    if not isinstance(archive, zipfile.ZipFile):
        yield from archive
        return
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        entries.setdefault(info.filename, info)
    locked = _locked(archive, entries, config)
    front = 0
    try:
        pages = _spine(archive, entries, config)
    except ReadError as error:
        front = 1
        yield Member(1, "", problem=ReadError("corrupt_archive", f"the book's order of pages: {error.detail}"))
        pages = [(name, "") for name in entries if name.lower().endswith(_PAGE_NAMES)]
    for number, (path, media) in enumerate(pages, front + 1):
        name, renamed = member_name(path)
        entry = entries.get(path)
        if entry is None:
            problem = ReadError("corrupt_archive", f"the book names a page '{path[:200]}' that is not there")
            yield Member(number, name, 0, iter(()), problem, renamed, "xhtml")
            continue
        found = problem_of(entry)
        if locked is None or path in locked:
            found = ReadError("encrypted", f"the page is encrypted (DRM), says {_ENCRYPTION}")
        elif media not in _PAGES:
            found = ReadError("unsupported_format", f"a page of the media type '{media[:80]}' is no text")
        content = content_of(archive, entry, config)
        yield Member(number, name, entry.compress_size, content, found, renamed, "xhtml")


def _spine(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], config: InputConfig) -> list[tuple[str, str]]:
    """Path and media type of each page in order. Raises ReadError."""
    package = _package(archive, entries, config)
    elements = _elements(archive, entries, package, config)
    items: dict[str, tuple[str, str]] = {}
    order: dict[str, None] = {}  # a page that stands twice is read once
    for name, attributes in elements:
        if name == "item" and "id" in attributes:
            path = _resolve(posixpath.dirname(package), attributes.get("href", ""), entries)
            items.setdefault(attributes["id"], (path, attributes.get("media-type", "").strip().lower()))
        elif name == "itemref":
            order.setdefault(attributes.get("idref", ""))
    if not order:
        raise ReadError("corrupt_archive", f"'{package[:200]}' has no spine")
    return [items.get(idref, (f"#{idref}", "")) for idref in order]


def _package(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], config: InputConfig) -> str:
    """The path of the package document. Raises ReadError."""
    try:
        for name, attributes in _elements(archive, entries, _CONTAINER, config):
            if name == "rootfile" and attributes.get("media-type", _PACKAGE) == _PACKAGE:
                path = _resolve("", attributes.get("full-path", ""), entries)
                if path in entries:
                    return path
        problem = ReadError("corrupt_archive", f"{_CONTAINER} names no package document that is there")
    except ReadError as error:
        problem = error
    found = [name for name in entries if name.lower().endswith(".opf")]
    if len(found) == 1:
        return found[0]
    raise problem


def _locked(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], config: InputConfig
) -> frozenset[str] | None:
    """Paths of what is encrypted; None: nobody can tell, so everything."""
    if _ENCRYPTION not in entries:
        return frozenset()
    try:
        elements = _elements(archive, entries, _ENCRYPTION, config)
    except ReadError:
        return None
    found, method = set(), ""
    for name, attributes in elements:
        if name == "EncryptedData":
            method = ""
        elif name == "EncryptionMethod":
            method = method or attributes.get("Algorithm", "")  # the one of the data, not of its key
        elif name == "CipherReference" and method not in _OBFUSCATION:
            found.add(_resolve("", attributes.get("URI", ""), entries))
    return frozenset(found)


def _resolve(directory: str, href: str, entries: dict[str, zipfile.ZipInfo]) -> str:
    """The entry that a reference leads to; some writers forget to escape, or escape what they need not."""
    href = href.partition("#")[0]
    for spelling in (unquote(href), href):
        path = posixpath.normpath(posixpath.join(directory, spelling))
        if path in entries:
            return path
    return posixpath.normpath(posixpath.join(directory, unquote(href)))


def _elements(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], path: str, config: InputConfig
) -> list[Element]:
    """The elements of an XML document in order. Raises ReadError."""
    if path not in entries:
        raise ReadError("corrupt_archive", f"there is no {path[:200]}")
    problem = problem_of(entries[path])
    if problem is not None:
        raise problem
    content, error = collect(content_of(archive, entries[path], config), config.max_record_bytes)
    if error is not None:
        raise ReadError("corrupt_archive", f"{path[:200]}: {error.detail}")
    try:
        return parse_elements(content)
    except (xml.parsers.expat.ExpatError, *DAMAGE) as wrong:
        raise ReadError("corrupt_archive", f"{path[:200]} is no usable XML: {one_line(wrong)}") from wrong


def parse_elements(content: bytes) -> list[Element]:
    """expat expands no external entities, and a document that declares entities is refused (they can grow without
    bound). Raises ExpatError or ValueError."""
    found: list[Element] = []

    def local(name: str) -> str:
        return name.rpartition(" ")[2]

    def start(name: str, attributes: dict[str, str]) -> None:
        found.append((local(name), {local(key): value for key, value in attributes.items()}))

    def entity(name: str, *_: object) -> None:
        raise ValueError(f"it declares the entity '{name[:40]}'")

    parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")
    parser.UseForeignDTD(True)  # entities of an XHTML DTD that is not read are no errors
    parser.StartElementHandler = start
    parser.EntityDeclHandler = entity
    parser.Parse(content, True)
    return found
