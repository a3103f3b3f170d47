"""Words and URLs of lists in a batch: how many of them each text holds (see `rules.lists` of the config)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from pipeline.config import ListRule, RulesConfig
from pipeline.records import with_columns
from pipeline.text.classes import CODE_POINTS, classes, groups
from pipeline.text.counts import bytes_of, count, row_slices
from pipeline.text.kernels import decode, phrases, words
from pipeline.text.statistics import Statistic

_KINDS = {
    ("words", False): Statistic(
        "words of list {}", "occurrences of the list's words and phrases, in any case; the longest at each place"
    ),
    ("words", True): Statistic("of words are of list {}", "words in occurrences of the list's entries / words", False),
    ("urls", False): Statistic("URLs of list {}", "URLs in the text below the list's domains and URLs"),
    ("urls", True): Statistic("of URLs are of list {}", "URLs below the list's domains and URLs / URLs", False),
}


def column(rule: ListRule) -> str:
    """The statistic that the rule of this list looks at."""
    return f"list.{rule.name}"


def list_statistics(config: RulesConfig) -> dict[str, Statistic]:
    """Column -> its definition, of every list of the config."""
    found = {}
    for rule in config.lists:
        kind = _KINDS[rule.kind, rule.max_count is None]
        found[column(rule)] = Statistic(kind.unit.format(rule.name), kind.meaning, kind.integer)
    return found


@lru_cache(maxsize=1)
def folded() -> np.ndarray:
    """uint32 [CODE_POINTS]: simple case folding, code point by code point. Built once per process."""
    table = np.arange(CODE_POINTS, dtype=np.uint32)
    for point in range(0x20000):
        for low in (chr(point).casefold(), chr(point).lower()):
            if len(low) == 1:
                table[point] = ord(low)
                break
    table.setflags(write=False)
    return table


@dataclass(frozen=True)
class _Phrases:
    """Entries ready for the kernel."""

    points: np.ndarray
    offsets: np.ndarray
    words: np.ndarray
    hashes: np.ndarray
    heads: np.ndarray
    following: np.ndarray

    @classmethod
    def of(cls, entries: tuple[str, ...]) -> "_Phrases":
        # Of entries that start alike the longest is found first: chains are filled from their end.
        texts = pa.array(sorted(entries, key=lambda entry: (len(entry), entry)), pa.string())
        points, kinds, offsets = _decoded(texts)
        fold = folded()
        low = points < len(fold)
        points[low] = fold[points[low]]
        hashes = np.empty(len(texts), np.uint64)
        phrases.first_tokens(points, kinds, fold, offsets, hashes)
        heads = np.full(1 << max(4, (2 * len(texts)).bit_length()), -1, np.int32)
        following = np.full(len(texts), -1, np.int32)
        for entry, slot in enumerate((hashes & np.uint64(len(heads) - 1)).tolist()):
            following[entry] = heads[slot]
            heads[slot] = entry
        sizes = count(texts, np.ones(len(texts), bool)).words[:, words.WORDS].copy()
        return cls(points, offsets, sizes, hashes, heads, following)


def _decoded(texts: pa.StringArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data, offsets = bytes_of(texts)
    size = int(offsets[-1]) - int(offsets[0])
    points, kinds = np.empty(size + 1, np.uint32), np.empty(size + 1, np.uint16)
    at = np.empty(len(offsets), np.int64)
    counts = np.empty((len(texts), decode.COUNTS), np.int64)
    decode.decode(data, offsets, classes(), groups(), points, kinds, at, counts)
    return points[: at[-1]], kinds[: at[-1]], at


class _Urls:
    """Domains and URL prefixes."""

    def __init__(self, entries: tuple[str, ...]) -> None:
        self.known = {normal_url(entry) for entry in entries}

    def holds(self, url: str) -> bool:
        """Whether the URL, its domain or one above, with as much of its path, is on the list."""
        host, *parts = normal_url(url).split("/")
        labels = host.split(".")
        hosts = [".".join(labels[first:]) for first in range(max(1, len(labels) - 1))]
        path = ""
        for part in ["", *parts]:
            path += f"/{part}" if part else ""
            if any(name + path in self.known for name in hosts):
                return True
        return False


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_URL = re.compile(r"""(?:[A-Za-z]://|(?<![A-Za-z0-9./])(?=[wW]{3}\.))([^\s<>"'`|\\^{}\[\]()，。；、）」]*)""")


def normal_url(url: str) -> str:
    """host/path, the host in lower case; no scheme, user, port, "www.", query, fragment, empty part of the path."""
    bare = re.split(r"[?#]", _SCHEME.sub("", url, count=1), maxsplit=1)[0]
    host, *parts = bare.split("/")
    host = host.rpartition("@")[2].partition(":")[0].casefold().strip(".").removeprefix("www.")
    return "/".join([host, *(part for part in parts if part)])


def urls_of(text: str) -> Iterator[str]:
    """The URLs that the statistic `urls` counts, without their scheme and punctuation behind."""
    for match in _URL.finditer(text):
        yield match[1].rstrip(".,;:!?*_")


_COMPILED: dict[tuple[str, str], _Phrases | _Urls] = {}


def _compiled(rule: ListRule) -> _Phrases | _Urls:
    key = (rule.kind, rule.sha256)
    if key not in _COMPILED:
        _COMPILED[key] = _Phrases.of(rule.entries) if rule.kind == "words" else _Urls(rule.entries)
    return _COMPILED[key]


def measure_lists(batch: pa.RecordBatch, config: RulesConfig) -> pa.RecordBatch:
    """Adds the column of every list (needs `words` and `urls`); null in quarantined rows."""
    if not config.lists:
        return batch
    missing = batch["quarantine"].is_valid().to_numpy(zero_copy_only=False)
    tables = {rule: made for rule in config.lists if isinstance(made := _compiled(rule), _Phrases)}
    found = _count_phrases(batch["text"], list(tables.values()))
    every_word, every_url = (batch[name].fill_null(0).to_numpy(zero_copy_only=False) for name in ("words", "urls"))
    columns = {}
    for rule in config.lists:
        made = _compiled(rule)
        if isinstance(made, _Phrases):
            counts = found[list(tables).index(rule)]
            value = counts[:, phrases.OCCURRENCES]
            if rule.max_count is None:
                value = counts[:, phrases.WORDS] / np.maximum(every_word, 1)
        else:
            value = np.zeros(len(batch), np.int64)
            for row in np.flatnonzero(every_url):
                value[row] = sum(made.holds(url) for url in urls_of(batch["text"][row].as_py()))
            if rule.max_count is None:
                value = value / np.maximum(every_url, 1)
        columns[column(rule)] = pa.array(value, mask=missing)
    return with_columns(batch, columns)


def _count_phrases(texts: pa.StringArray, tables: list[_Phrases]) -> np.ndarray:
    """int64 [lists, rows, COUNTS]."""
    counts = np.zeros((len(tables), len(texts), phrases.COUNTS), np.int64)
    if not tables:
        return counts
    _, offsets = bytes_of(texts)
    for part in row_slices(offsets):
        points, kinds, at = _decoded(texts.slice(part.start, part.stop - part.start))
        for table, into in zip(tables, counts, strict=True):
            phrases.phrases(
                points,
                kinds,
                folded(),
                at,
                table.points,
                table.offsets,
                table.words,
                table.hashes,
                table.heads,
                table.following,
                into[part],
            )
    return counts
