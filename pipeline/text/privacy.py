"""Personal data: e-mail addresses, phone numbers, accounts and keys become tags; documents full of them are dropped.

The same text always gives the same masked text: one fixed tag per kind, no counters, no rotation, no made-up names.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pyarrow as pa

from pipeline.config import PrivacyConfig
from pipeline.dedup.normalize import text_buffers
from pipeline.records import with_columns
from pipeline.text import identifiers
from pipeline.text.candidates import AT, COLONS, NUMBER, TOKEN, Candidates, find_candidates
from pipeline.text.email import emails
from schemas.arrow import AUDIT

TAGS: dict[str, str] = {
    "secret": "<SECRET>",
    "email": "<EMAIL>",
    "iban": "<IBAN>",
    "credit_card": "<CREDIT_CARD>",
    "ip": "<IP>",
    "ssn": "<SSN>",
    "phone": "<PHONE>",
}
"""Kind -> what stands in its place. Where two overlap, the kind that stands first here is masked."""

MASKS: dict[str, str] = {
    "mask_secret": "keys, tokens and private keys were replaced by <SECRET>",
    "mask_email": "e-mail addresses were replaced by <EMAIL>",
    "mask_iban": "bank account numbers (IBAN) were replaced by <IBAN>",
    "mask_credit_card": "payment card numbers were replaced by <CREDIT_CARD>",
    "mask_ip": "public IP addresses were replaced by <IP>",
    "mask_ssn": "US social security numbers were replaced by <SSN>",
    "mask_phone": "phone numbers were replaced by <PHONE>",
}
"""Name in the audit's `repairs` -> what it means."""

RULE = "privacy.max_hits"

_PRIORITY = {kind: place for place, kind in enumerate(TAGS)}

Hit = tuple[int, int, str]
"""Start and end (bytes, end exclusive) and kind."""


Finder = Callable[[bytes, int, int], Iterable[identifiers.Span]]


def _finders(config: PrivacyConfig) -> dict[int, list[tuple[str, int, Finder]]]:
    """Candidate -> kinds that are looked for there, the digits that one has at least, and where it is looked for."""
    keep = config.keep_reserved
    every: dict[int, list[tuple[str, int, Finder]]] = {
        AT: [("email", 0, partial(emails, keep_reserved=keep))],
        NUMBER: [
            ("iban", 7, identifiers.ibans),
            ("credit_card", 14, identifiers.cards),
            ("ip", 6, partial(identifiers.ipv4, keep_reserved=keep)),
            ("ssn", 9, identifiers.ssns),
            ("phone", 7, identifiers.phones),
        ],
        COLONS: [("ip", 0, partial(identifiers.ipv6, keep_reserved=keep))],
        TOKEN: [("secret", 0, identifiers.secrets)],
    }
    return {proposal: [entry for entry in entries if entry[0] in config.kinds] for proposal, entries in every.items()}


def _disjoint(hits: list[Hit]) -> list[Hit]:
    """In the order of the text; of overlapping hits the kind of higher priority stays, then the first and longest."""
    chosen: list[Hit] = []
    for hit in sorted(set(hits), key=lambda h: (_PRIORITY[h[2]], h[0], -h[1])):
        place = bisect_left(chosen, hit)
        if (place == 0 or chosen[place - 1][1] <= hit[0]) and (place == len(chosen) or hit[1] <= chosen[place][0]):
            chosen.insert(place, hit)
    return chosen


def _hits(text: bytes, found: Candidates, rows: slice, base: int, config: PrivacyConfig) -> list[Hit]:
    """Hits among the candidates of one row, whose text begins at byte `base` of the batch."""
    hits: list[Hit] = []
    finders = _finders(config)
    columns = (found.kinds[rows], found.starts[rows] - base, found.ends[rows] - base, found.digits[rows])
    for proposal, start, end, digits in zip(*(column.tolist() for column in columns), strict=True):
        for kind, least, finder in finders[proposal]:
            if digits >= least:
                for span in finder(text, start, end):
                    hits.append((*span, kind))
    return _disjoint(hits)


def find(text: str, config: PrivacyConfig) -> list[Hit]:
    """What would be masked: disjoint spans in the order of the text, offsets in the UTF-8 bytes of `text`."""
    found = find_candidates(pa.array([text], pa.string()), np.ones(1, bool))
    return _hits(text.encode(), found, slice(None), 0, config)


def _replaced(text: bytes, hits: list[Hit]) -> bytes:
    parts, place = [], 0
    for start, end, kind in hits:
        parts += [text[place:start], TAGS[kind].encode()]
        place = end
    return b"".join([*parts, text[place:]])


def _mask(text: bytes, hits: list[Hit], config: PrivacyConfig) -> tuple[str, Counter[str]]:
    """Masks until nothing is left: what is masked may have been what kept its neighbour from being seen as a number.

    Every round removes at least an '@' or a digit and adds none; above `max_per_document` one round must do.
    """
    counts: Counter[str] = Counter()
    clean = text.decode()
    while hits:
        counts.update(kind for _, _, kind in hits)
        clean = _replaced(clean.encode(), hits).decode()
        if config.max_per_document and counts.total() > config.max_per_document:
            break
        hits = find(clean, config)
    return clean, counts


def mask_text(text: str, config: PrivacyConfig) -> tuple[str, dict[str, int]]:
    """The masked text and the hits of each kind, in the order of TAGS. Masking masked text changes nothing, unless it
    held more than `max_per_document` hits."""
    clean, counts = _mask(text.encode(), find(text, config), config)
    return clean, {kind: counts[kind] for kind in TAGS if counts[kind]}


def describe(counts: dict[str, int]) -> str:
    """For people: "2 email, 1 phone"."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def mask(batch: pa.RecordBatch, config: PrivacyConfig) -> pa.RecordBatch:
    """Masks the text of kept rows; rows with more than `max_per_document` hits become filtered by `privacy.max_hits`.

    `repairs` names what was masked ("mask_email"), `detail` counts it; a dropped row gets a score of the rule beside.
    Runs after `judge` and `cut_lines`. Without a hit the batch itself comes back.
    """
    if not config.kinds:
        return batch
    kept = np.array([verdict == "kept" for verdict in batch["verdict"].to_pylist()], bool)
    found = find_candidates(batch["text"], kept)
    if not len(found.rows):
        return batch
    data, offsets = text_buffers(batch["text"])
    changed: dict[int, tuple[str, dict[str, int]]] = {}
    rows, firsts = np.unique(found.rows, return_index=True)
    ends = np.append(firsts[1:], len(found.rows))
    for row, first, end in zip(rows.tolist(), firsts.tolist(), ends.tolist(), strict=True):
        base = int(offsets[row])
        text = data[base : offsets[row + 1]].tobytes()
        hits = _hits(text, found, slice(first, end), base, config)
        if hits:
            clean, counts = _mask(text, hits, config)
            changed[row] = clean, {kind: counts[kind] for kind in TAGS if counts[kind]}
    return _written(batch, changed, config.max_per_document) if changed else batch


def _written(batch: pa.RecordBatch, changed: dict[int, tuple[str, dict[str, int]]], limit: int) -> pa.RecordBatch:
    columns = {name: batch[name].to_pylist() for name in ("text", "repairs", "detail")}
    dropped = {row: sum(counts.values()) for row, (_, counts) in changed.items() if 0 < limit < sum(counts.values())}
    if dropped:
        columns.update({name: batch[name].to_pylist() for name in ("verdict", "rule", "scores")})
    for row, (text, counts) in changed.items():
        columns["text"][row] = text
        columns["repairs"][row] = [*columns["repairs"][row], *(f"mask_{kind}" for kind in counts)]
        told = columns["detail"][row]
        columns["detail"][row] = f"{told}; masked: {describe(counts)}" if told else f"masked: {describe(counts)}"
        if row in dropped:
            hits = dropped[row]
            columns["detail"][row] = f"{hits} items of personal data, at most {limit} wanted ({describe(counts)})"
            columns["verdict"][row], columns["rule"][row] = "filtered", RULE
            score = {"rule": RULE, "score": float(hits), "limit": float(limit)}
            columns["scores"][row] = [*columns["scores"][row], score]
    types = {"repairs": pa.list_(pa.string()), "scores": AUDIT.field("scores").type}
    return with_columns(
        batch, {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()}
    )
