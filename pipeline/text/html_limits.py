"""Bounds of HTML pages that hold on every machine, and what is left of a page beyond them: its text without tags."""

import re
from collections.abc import Iterator
from html import unescape

import numpy as np
import numpy.typing as npt

from pipeline.config import HtmlConfig

MAX_ATTRIBUTES = 4096
"""Of one tag. Parsers compare each with those before it: 50,000 took 3.3 s."""
LONG_TAG = 1 << 13
"""Characters: below it a tag cannot hold MAX_ATTRIBUTES, which takes at least a letter and a space each."""

GUARDED_CHARACTERS = 1 << 16
GUARDED_TAGS = 4000
"""Pages above either are parsed in a process that can be ended. Below both, the worst page that we know takes 0.6 s."""

# Raw text and comments hold no tags. Everything is linear: no part can match in two ways at one place.
_TOKEN = re.compile(
    r"<(?:!--(?P<comment>.*?)(?:--!?>|\Z)|(?P<close>/?)(?P<name>[a-zA-Z][^\s/>]*)(?P<rest>[^<>]*)|[!?][^>]*)", re.DOTALL
)
_RAW = frozenset(("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"))
_RAW_END = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _RAW}
_HIDDEN = frozenset(("script", "style", "iframe", "noembed", "noframes"))
# Elements without an end tag, or whose end tag is implied by the next one: they do not nest in themselves.
_FLAT = frozenset(
    [
        *(
            "area",
            "base",
            "br",
            "col",
            "embed",
            "hr",
            "img",
            "input",
            "link",
            "meta",
            "param",
            "source",
            "track",
            "wbr",
        ),
        *("p", "li", "dt", "dd", "td", "th", "tr", "tbody", "thead", "tfoot", "option", "optgroup"),
        *("html", "head", "body"),
    ]
)
_FLAT_KEYS = np.array([int.from_bytes(name.encode()[:6].ljust(6, b"\0")) for name in sorted(_FLAT)], np.uint64)
_NAME = np.array([ord(chr(byte).lower()) if chr(byte).isascii() and chr(byte).isalnum() else 0 for byte in range(256)])
_BLOCK = frozenset(
    [
        *("address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "dialog"),
        *("dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5"),
        *("h6", "head", "header", "hr", "html", "li", "main", "menu", "nav", "ol", "option", "p", "pre", "section"),
        *("select", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "title", "tr", "ul"),
    ]
)
_QUOTED = re.compile(r"""=\s*(?:"[^"]*"|'[^']*')""")
_INLINE_SPACE = re.compile(r"[ \t\r\f\v]+")
_LINES = re.compile(r" ?\n[ \n]*")


def _tokens(html: str) -> Iterator[tuple[int, int, str, str, str]]:
    """(start, end, "/" of an end tag, lower-case name, the rest) of tags and of what shows nothing (name "").

    The end of a raw-text element's token lies before its end tag where it is hidden.
    """
    at = 0
    while (found := _TOKEN.search(html, at)) is not None:
        at = found.end()
        name = (found["name"] or "").lower()
        if not found["close"] and name in _RAW:
            content = at + 1 if html.startswith(">", at) else at
            end = _RAW_END[name].search(html, content)
            stop = end.start() if end is not None else len(html)
            yield found.start(), stop if name in _HIDDEN else at, "", name, found["rest"]
            at = stop
        else:
            yield found.start(), at, found["close"] or "", name, found["rest"] or ""


def _depth_bound(content: npt.NDArray[np.uint8], tags: npt.NDArray[np.int64]) -> int:
    """At least the depth that `_depth` finds, but for end tags in scripts: for each name how many are ever open at
    once, summed over names. NumPy, for most pages end here."""
    # Of a name the first six bytes, in lower case, up to the first that is no letter or digit; padded with zeros.
    closing = content[tags + 1] == ord("/")
    begin = tags + 1 + closing
    keys = np.zeros(len(tags), np.uint64)
    inside = np.ones(len(tags), bool)
    for place in range(6):
        character = _NAME[content[begin + place]]
        inside &= character > 0
        keys = keys * np.uint64(256) + np.where(inside, character, 0).astype(np.uint64)
    wanted = (keys > 0) & ~np.isin(keys, _FLAT_KEYS)
    keys, step = keys[wanted], np.where(closing[wanted], -1, 1)
    order = np.argsort(keys, kind="stable")
    keys, step = keys[order], step[order]
    starts = np.flatnonzero(np.diff(keys, prepend=np.uint64(0)))
    if not len(keys) or len(starts) > 256:
        return len(keys)
    depth = 0
    for first, last in zip(starts, [*starts[1:], len(keys)], strict=True):
        level = np.cumsum(step[first:last])
        floor = np.minimum(np.minimum.accumulate(level), 0)
        depth += max(0, int((level - floor).max()))
    return depth


def _depth(html: str, most: int) -> int:
    """Elements in elements by the tags of the text; end tags close what is open of their name. At most `most` + 1."""
    opened: dict[str, int] = {}
    depth = deepest = 0
    for _, _, close, name, _ in _tokens(html):
        if not name or name in _FLAT or name in _RAW:
            continue
        if not close:
            opened[name] = opened.get(name, 0) + 1
            depth += 1
            deepest = max(deepest, depth)
            if depth > most:
                break
        elif opened.get(name):
            opened[name] -= 1
            depth -= 1
    return deepest


def _attributes(tag: str) -> int:
    """Those of a start tag; what stands in quotes is no attribute. At most MAX_ATTRIBUTES + 1."""
    return len(_QUOTED.sub("", tag).split(None, MAX_ATTRIBUTES + 1)) - 1


def beyond(html: str, config: HtmlConfig) -> str | None:
    """The first bound that the page breaks ("bytes", "tags", "attributes" or "depth"), or None. Linear in its length.

    The depth is that of the tags in the text, about that of the parsed page: what tricks it is left to the guard.
    """
    content = np.frombuffer(html.encode() + b"\0" * 8, np.uint8)
    if len(content) - 8 > config.max_bytes:
        return "bytes"
    tags = np.flatnonzero(content == ord("<"))
    if len(tags) > config.max_tags:
        return "tags"
    for place in np.flatnonzero(np.diff(tags, append=len(content)) > LONG_TAG):
        first = int(tags[place])
        last = int(tags[place + 1]) if place + 1 < len(tags) else len(content)
        tag = content[first:last].tobytes().split(b">", 1)[0]
        if len(tag) > LONG_TAG and _attributes(tag.decode("utf-8", "replace")) > MAX_ATTRIBUTES:
            return "attributes"
    # So deep a page needs that many tags; most pages have fewer, or close them.
    if len(tags) <= config.max_depth or _depth_bound(content, tags) <= config.max_depth:
        return None
    return "depth" if _depth(html, config.max_depth) > config.max_depth else None


def needs_guard(html: str) -> bool:
    return len(html) > GUARDED_CHARACTERS or html.count("<") > GUARDED_TAGS


def without_tags(html: str) -> str:
    """All that the page shows, navigation too: tags, comments, scripts and styles gone, character references resolved,
    a line for each block. Linear in the length of the page, whatever it holds."""
    pieces: list[str] = []
    at = 0
    for start, end, _, name, _ in _tokens(html):
        if start > at:
            pieces.append(html[at:start].replace("\n", " "))
        at = end + 1 if html.startswith(">", end) else end
        pieces.append("\n" if name in _BLOCK else "")
    pieces.append(html[at:].replace("\n", " "))
    text = unescape("".join(pieces)).encode("utf-8", "replace").decode()
    return _LINES.sub("\n", _INLINE_SPACE.sub(" ", text)).strip()
