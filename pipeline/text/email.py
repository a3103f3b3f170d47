"""E-mail addresses around an '@', also with international local parts and domains (RFC 6531, RFC 5890)."""

import re
from collections.abc import Iterator

_LOCAL = re.compile(rb"[A-Za-z0-9_.+%=-]*")  # of reversed bytes
_WIDE_LOCAL = re.compile(r"[A-Za-z0-9_.+%=-]*")
_MAX_LOCAL = 128
"""RFC 5321 allows 64; addresses of mailing lists that hold another address are longer."""
_DOMAIN = re.compile(rb"[A-Za-z0-9\x80-\xff-]{1,190}(?:\.[A-Za-z0-9\x80-\xff-]{1,190}){1,9}")

_LETTER = "(?:[^\\W_]|[\u0300-\u036f\u0900-\u0eff])"  # with the vowel signs of India, Thailand and Laos
_LABELS = re.compile(rf"{_LETTER}(?:{_LETTER}|-(?=[^.])|\.(?=[^.-]))*")
_UNCASED = re.compile(rf"(?:(?![\d_A-Za-z]){_LETTER}){{1,9}}\Z")

_COUNTRIES = (
    "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc cd "
    "cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gd ge "
    "gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh "
    "ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw "
    "mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb "
    "sc sd se sg sh si sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk "
    "us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw"
)
_GENERIC = (
    "com net org edu gov mil int info biz name pro aero coop museum jobs mobi travel tel cat asia post xxx arpa app "
    "dev blog shop site online store tech xyz club cloud email live news world today agency digital solutions services "
    "company group global media network systems design studio life space website press top vip wiki art bio berlin "
    "london paris wien hamburg koeln tokyo nyc moscow amsterdam"
)
_INTERNATIONAL = (
    "рф бел укр мкд срб бг ею қаз мон 中国 中國 香港 台湾 台灣 新加坡 澳门 澳門 公司 网络 网址 网站 商城 在线 "
    "中文网 我爱你 集团 组织机构 机构 政务 公益 한국 みんな コム 日本 ไทย ελ ευ հայ გე भारत ভারত বাংলা தமிழ் இலங்கை సింగపూర్ "
    "السعودية مصر امارات الاردن الجزائر المغرب تونس قطر عمان فلسطين سوريا عراق ایران پاکستان موقع شبكة ישראל "
    "онлайн сайт дети москва рус орг ком संगठन 网店 广东 佛山 移动 世界 企业 娱乐 游戏"
)
_KNOWN = frozenset(f"{_COUNTRIES} {_GENERIC} {_INTERNATIONAL}".split())

_FILE_ENDS = (
    "png jpg jpeg gif svg webp bmp ico tif tiff css scss jsx tsx html htm xhtml xml json yaml yml toml pdf txt csv "
    "doc docx xls xlsx ppt php asp aspx jsp exe dll zip tar tgz bz2 rar jar class java cpp hpp log cfg ini conf "
    "service socket timer target mount mp3 mp4 avi mov wav ogg local localdomain lan internal corp home intranet"
)
_FILES = frozenset(_FILE_ENDS.split())
"""Ends of file, unit and host names: "icon@2x.png", "getty@tty1.service"."""

_RESERVED = frozenset(("example", "invalid", "test", "localhost"))  # RFC 2606


def _top(label: str, first: str) -> bool | None:
    """True for a known top-level domain, False for what could be one, None for what is none."""
    if not (label.islower() or label.isupper() or not label.isascii() or first[:1].isupper()):
        return None  # "a@b.org.Then": the next sentence
    lower = label.lower()
    if lower in _KNOWN or re.fullmatch(r"xn--[a-z0-9-]{2,59}", lower):
        return True
    return False if re.fullmatch("[a-z]{3,18}", lower) and lower not in _FILES else None


def _domain(text: str) -> str | None:
    """The longest part from the beginning that is a domain name under a top-level domain, preferably a known one."""
    match = _LABELS.match(text)
    labels = match[0].split(".") if match else [""]
    if len(labels) < 2:
        return None
    if labels[0].isdigit() and labels[1][:1].isdigit():  # "package@1.0.0-beta.rc"
        return None
    known = possible = None
    for count, label in enumerate(labels):
        head = re.match("[A-Za-z]+", label)
        cut = not label.isascii() and label not in _KNOWN
        last = head[0] if cut and head else label
        if count:
            top = _top(last, labels[0])
            if top is not None:
                name = ".".join([*labels[:count], last])
                known, possible = (name, possible) if top else (known, name)
        if (cut and head and count) or label[:1] == "-" or label[-1:] == "-" or len(label) > 63:
            break
    return known or possible


def _reserved(domain: str) -> bool:
    labels = domain.lower().split(".")
    return labels[-1] in _RESERVED or (labels[-2] == "example" and labels[-1] in ("com", "net", "org", "edu"))


def _wide_local(text: bytes, at: int) -> int:
    """Bytes of a local part with characters beyond ASCII that ends before `at`; 0 if there is none."""
    before = text[max(0, at - 2 * _MAX_LOCAL) : at].decode("utf-8", "ignore")
    length = 0
    for char in reversed(before):
        # Cased letters only: in Chinese, Japanese and Thai nothing tells the sentence from the name.
        if not (_WIDE_LOCAL.fullmatch(char) if char.isascii() else char.lower() != char.upper()):
            break
        length += 1
    if length == 0:
        run = _UNCASED.search(before[-10:])
        alone = run and (len(before) == len(run[0]) or not re.match(rf"{_LETTER}", before[-len(run[0]) - 1]))
        length = len(run[0]) if run and alone else 0
    return len(before[len(before) - length :].encode()) if length < _MAX_LOCAL else 0


def emails(text: bytes, start: int, end: int, keep_reserved: bool) -> Iterator[tuple[int, int]]:
    """The span of the address whose '@' is at byte start, if it is one; keep_reserved leaves example.com out."""
    span = _email(text, start, keep_reserved)
    if span:
        yield span


def _email(text: bytes, at: int, keep_reserved: bool) -> tuple[int, int] | None:
    match = _DOMAIN.match(text, at + 1, at + 255)
    if match is None:
        return None
    local = _LOCAL.match(text[max(0, at - _MAX_LOCAL) : at][::-1])
    length = len(local[0]) if local else 0
    if at > length and text[at - length - 1] >= 0x80:
        length = max(length, _wide_local(text, at))
    if not 0 < length < _MAX_LOCAL:
        return None
    start = at - length
    if text[start - 1 : start] in (b"?", b"&") and b"=" in text[start:at]:  # "?to=someone@..."
        start = text.index(b"=", start) + 1
    written = text[start:at]
    start = at - len(written.lstrip(b".+%=-"))
    if start == at:
        return None
    name = match[0].decode("utf-8", "ignore")
    domain = _domain(name)
    if domain is None or (keep_reserved and _reserved(domain)):
        return None
    return start, at + 1 + len(domain.encode())
