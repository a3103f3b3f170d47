"""Personal numbers, addresses and keys in UTF-8 bytes: for each kind, what is one and where it begins and ends.

Precision goes first: what could as well be a date, a version, a section or a part number is left alone. Every
expression is bounded or possessive, so the time is linear in the text. ASCII digits only;
full-width ones became ASCII in `repair`.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import phonenumbers

from pipeline.text.checksums import IBAN_LENGTH, is_card, is_iban, is_public, is_ssn

Span = tuple[int, int]
"""Byte offsets, end exclusive."""

_SEP = rb"(?:[ .\-]|\xc2\xa0|\xe2\x80\x91)"  # also the no-break space and the no-break hyphen
# Not inside a longer number, word, path or decimal, nor the second group of a table of figures.
_BEFORE = rb"(?<![\w.+=#-])(?<![^\d]/)(?<!\d )"
_AFTER = rb"(?!\w|[./-]\d)"

_CARD = re.compile(
    _BEFORE + rb"(?:\d{4}([ -])\d{4}\1\d{4}\1\d{4}|3\d{3}([ -])\d{6}\2\d{4,5})(?! \d)" + _AFTER
    + rb"|(?<![\w.+=#/-])\d{14,19}" + _AFTER
)  # fmt: skip
_SSN = re.compile(_BEFORE + rb"\d{3}-\d\d-\d{4}(?! \d)" + _AFTER)
# "WAC 388-14-0100", "OAR 123-04-0567", "§ 123-04-0567": codes of law and stock numbers have the same form.
_CODE_BEFORE = re.compile(rb"(?:\xc2\xa7\s?|[Ss]ections? |\b(?!SSN|SSA?\b|NO\b|ID\b|I?TIN\b)[A-Z]{2,6}[ .:#]{1,2})\Z")

_IBAN = re.compile(rb"(?<![A-Za-z0-9])[A-Z]{2}\d\d(?=[A-Z0-9]| [A-Z0-9]{4})")

_IPV4 = re.compile(
    rb"(?<![\w.])(?<![A-Za-z_).]-)(?<![\w.)]/)(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\w|-[A-Za-z]|/\d\d?(?![\d.]))"
)
_VERSION_BEFORE = re.compile(
    rb"(?:(?<![a-z])(?:v|ver|versions?|rel|releases?|builds?|firmware|rev|revision|sec|sections?|chapter|clause|article"
    rb"|para|paragraph|appendix|annex|table|figure|fig|oid|driver|kernel|patch|update|upgrade|sdk|runtime)|\xc2\xa7"
    rb"|[=<>~]=)[\s.:=\"'(]{0,3}\Z",
    re.IGNORECASE,
)
_ADDRESS_BEFORE = re.compile(
    rb"(?:[\[@]|//|(?<![a-z])(?:ip|ipv4|ip4|addr|address|host)[\s:=(\[]{1,3})\Z", re.IGNORECASE
)
_IPV6 = re.compile(rb"(?<![\w:.])[0-9A-Fa-f]{4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]|\.\d|/\d)")

_PLUS = re.compile(
    rb"(?<![\w+.=-])\+ ?\(?\d{1,3}\)?(?:(?:" + _SEP + rb"|/)?\(?\d{1,4}\)?){1,7}(?:" + _SEP + rb"?\d{1,4}){1,3}"
    rb"(?!\w|[.-]\d)"
)  # fmt: skip
_NANP = re.compile(
    _BEFORE + rb"(?:1[ .-]?)?(?:\([2-9]\d\d\)[ -]{0,2}[2-9]\d\d[ .-]\d{4}|[2-9]\d\d([.-])[2-9]\d\d\1\d{4}"
    rb"|[2-9]\d\d[ /][2-9]\d\d-\d{4})" + _AFTER
)  # fmt: skip
_LABEL = re.compile(
    rb"(?:(?<![A-Za-z])(?:tele?phone|tel|phone|fax|telefax|mobile|mobil|telefon|handy|celular|telefono|cellulare"
    rb"|t\xc3\xa9l|t\xc3\xa9l\xc3\xa9phone|tel\xc3\xa9fono|m\xc3\xb3vil|(?:ph|cell|mob)(?=[.:]))(?:s|es)?"
    rb"|\xd1\x82\xd0\xb5\xd0\xbb|\xd0\xa2\xd0\xb5\xd0\xbb|\xd1\x82\xd0\xb5\xd0\xbb\xd0\xb5\xd1\x84\xd0\xbe\xd0\xbd"
    rb"|\xe7\x94\xb5\xe8\xaf\x9d|\xe6\x89\x8b\xe6\x9c\xba|\xe4\xbc\xa0\xe7\x9c\x9f|\xe9\x9b\xbb\xe8\xa9\xb1"
    rb"|\xe6\x90\xba\xe5\xb8\xaf|\xec\xa0\x84\xed\x99\x94)"
    rb"(?: (?:no|nr|number)\b)?(?:[.:)]|\xef\xbc\x9a)?[.:]? {0,2}\Z",
    re.IGNORECASE,
)
_NATIONAL = re.compile(rb"\(?\d{1,5}\)?(?:(?:" + _SEP + rb"|/)?\(?\d{1,5}\)?){1,7}(?!\w|[./-]\d| \d)")
_DATES = re.compile(rb"(?:19|20)\d\d\D(?:19|20)\d\d|\d{4}\D\d\d?\D\d\d?|\d\d?\D\d\d?\D(?:19|20)\d\d")

_KEY_HEAD = re.compile(
    rb"(?<![A-Za-z0-9])(?:A[KS]IA|AIza|gh[pousr]_|github_pat_|glpat-|xox[abposr]-|[sr]k_live_|sk-|npm_|pypi-AgE|hf_"
    rb"|(?<![_-])eyJ|(?<!-)-----BEGIN)"
)
_KEY = re.compile(
    rb"A[KS]IA[A-Z2-7]{16}(?![A-Za-z0-9])"  # Amazon Web Services
    rb"|AIza[\w-]{35}(?![\w-])"  # Google
    rb"|gh[pousr]_[A-Za-z0-9]{36,255}(?!\w)|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}(?!\w)"
    rb"|glpat-[\w-]{20,64}(?![\w-])"  # GitLab
    rb"|xox[abposr]-\d[A-Za-z0-9-]{15,250}(?![\w-])"  # Slack
    rb"|[sr]k_live_[A-Za-z0-9]{16,128}(?!\w)"  # Stripe
    rb"|sk-(?:[A-Za-z0-9]{48}|(?:ant|proj|svcacct)-[\w-]{40,200})(?![\w-])"  # OpenAI, Anthropic
    rb"|npm_[A-Za-z0-9]{36}(?!\w)|pypi-AgE[\w-]{50,300}(?![\w-])|hf_[A-Za-z]{34}(?!\w)"
    rb"|eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]{16,}+"  # JSON Web Token
    rb"|-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rb"(?:[A-Za-z0-9+/=\s:,.()]|-(?!----))*+-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
)


def cards(text: bytes, start: int, end: int) -> Iterator[Span]:
    """Payment card numbers, in one piece or in the groups that are printed on cards."""
    for found in _CARD.finditer(text, start, end + 1):
        if is_card(found[0].replace(b" ", b"").replace(b"-", b"")):
            yield found.span()


def ssns(text: bytes, start: int, end: int) -> Iterator[Span]:
    """US social security numbers written with hyphens, but for codes of law and the like."""
    for found in _SSN.finditer(text, start, end + 2):
        if is_ssn(found[0]) and not _CODE_BEFORE.search(text, max(0, found.start() - 10), found.start()):
            yield found.span()


def ibans(text: bytes, start: int, end: int) -> Iterator[Span]:
    """International bank account numbers in one piece or in groups of four, beginning at most 14 bytes before start."""
    before = text[max(0, start - 2) : start]
    if not (before[-1:].isupper() or (before[-1:] == b" " and before[:1].isupper())):
        return
    for found in _IBAN.finditer(text, max(0, start - 14), end + 6):
        length = IBAN_LENGTH.get(found[0][:2])
        if length is None:
            continue
        place = found.start()
        spaced = text[place + 4 : place + 5] == b" "
        stop = place + length + ((length - 1) // 4 if spaced else 0)
        written = text[place:stop]
        if spaced and any(written[4::5].strip(b" ")):
            continue
        follows = text[stop : stop + 1]
        if not (follows.isalnum() or follows == b"_") and is_iban(written.replace(b" ", b"") if spaced else written):
            yield place, stop


def ipv4(text: bytes, start: int, end: int, keep_reserved: bool) -> Iterator[Span]:
    """IPv4 addresses. Versions, sections and object identifiers look the same: a word before them tells, and
    addresses of fewer than eight digits need a word or a bracket that says that they are one."""
    for found in _IPV4.finditer(text, start, min(len(text), end + 4)):
        try:
            address = IPv4Address(found[0].decode())
        except AddressValueError:
            continue
        before = max(0, found.start() - 16), found.start()
        if keep_reserved and not is_public(address):
            continue
        if len(found[0]) < 11 and not _ADDRESS_BEFORE.search(text, *before):
            continue
        if not _VERSION_BEFORE.search(text, *before):
            yield found.span()


def ipv6(text: bytes, start: int, end: int, keep_reserved: bool) -> Iterator[Span]:
    """IPv6 addresses whose first group has four digits, as all that are publicly assigned have."""
    for found in _IPV6.finditer(text, start, min(len(text), end + 3)):
        try:
            address = IPv6Address(found[0].decode())
        except AddressValueError:
            continue
        if not keep_reserved or is_public(address):
            yield found.span()


@lru_cache(maxsize=4096)
def _valid(number: bytes, region: str | None) -> bool:
    """Whether the numbering plan of its country knows such a number. region None: it begins with '+'."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number.decode(), region))
    except phonenumbers.NumberParseException:
        return False


def phones(text: bytes, start: int, end: int) -> Iterator[Span]:
    """International numbers with '+', North American ones as they are usually written, and what a label calls one."""
    first = start
    while first > max(0, start - 3) and text[first - 1 : first] in (b"+", b"(", b" "):
        first -= 1
    label_end = first if text[first : first + 1] != b" " else start
    labelled = _LABEL.search(text, max(0, start - 32), first) or _LABEL.search(text, max(0, start - 32), label_end)
    stop = min(len(text), end + 2)
    for found in _PLUS.finditer(text, first, stop):
        place, last = found.span()
        for _ in range(3):  # the last groups may be another figure
            if _valid(text[place:last], None):
                yield place, last
                break
            last = max(text.rfind(byte, place, last) for byte in (b" ", b"-", b"."))
            if last - place < 8:
                break
    for found in _NANP.finditer(text, first, stop):
        if _valid(found[0], "US"):
            yield found.span()
    if labelled and text[start - 1 : start] != b"+":
        place = start - 1 if text[start - 1 : start] == b"(" else start
        # "/mobile3/58201224-219/": a label written on to its number is part of an address, but for "Tel(020)".
        glued = text[place - 1 : place].isalpha() and text[place : place + 1] != b"("
        match = None if glued else _NATIONAL.match(text, place, stop)
        if match and 7 <= sum(48 <= byte < 58 for byte in match[0]) <= 15 and not _DATES.fullmatch(match[0]):
            yield match.span()


def secrets(text: bytes, start: int, end: int) -> Iterator[Span]:
    """Keys and tokens with a prefix of their issuer, JSON Web Tokens, and private keys in PEM."""
    place = start
    while head := _KEY_HEAD.search(text, place, end):
        key = _KEY.match(text, head.start())
        place = key.end() if key else head.end()
        if key:
            yield key.span()
