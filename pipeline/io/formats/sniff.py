"""Formats told by content, where the name says nothing."""

from collections.abc import Iterator

from pipeline.io.formats.encoding import peek
from pipeline.io.formats.mail import sniff_mail
from pipeline.io.formats.sqlite import MAGIC
from pipeline.io.formats.wikiextractor import is_wikiextractor

_SNIFFED = 4096


def sniff(chunks: Iterator[bytes]) -> tuple[str | None, Iterator[bytes]]:
    """ "sqlite", "wikiextractor", "mail", "mbox" or None, and the whole stream again."""
    head, chunks = peek(chunks, _SNIFFED)
    if head.startswith(MAGIC):
        return "sqlite", chunks
    return ("wikiextractor" if is_wikiextractor(head) else sniff_mail(head)), chunks
