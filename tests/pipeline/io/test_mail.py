import base64
import random
import time
from email.header import Header
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import InputConfig
from pipeline.io.formats.mail import read_mail, read_mbox, sniff_mail
from pipeline.io.inputs import list_inputs
from pipeline.io.read import read_batches

CONFIG = InputConfig()
BODY = "Hello there,\n\nthis is the body of the mail — with a dash.\n"


def message(subject: str = "Grüße aus Köln", plain: str = "", html: str = "") -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "A <a@example.com>"
    mail["To"] = "b@example.com"
    mail["Date"] = "Thu, 22 Aug 2002 18:26:25 +0700"
    mail["Subject"] = subject
    if plain:
        mail.set_content(plain)
    if html:
        mail.add_alternative(html, subtype="html")
    return mail


def only(content: bytes, **config):
    [record] = read_mail(iter([content]), InputConfig(**config))
    return record


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64", "8bit"])
def test_plain(read_file, encoding):
    mail = message()
    mail.set_content(BODY, cte=encoding)
    [row] = read_file("a.eml", mail.as_bytes())
    assert row["text"] == "Grüße aus Köln\n\n" + BODY.rstrip("\n")
    assert (row["media"], row["repairs"]) == ("text", [])


def test_crlf_and_a_from_line():
    content = b"From a@example.com Thu Aug 22 12:36:23 2002\r\nSubject: one\r\n two\r\n\r\nfirst\r\nsecond\r\n"
    assert only(content).text == "one two\n\nfirst\nsecond"


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("koi8-r", "koi8-r"), ("iso-8859-5", "iso8859-5"), ("windows-1251", "cp1251"), ("utf-8", None)],
)
def test_charsets(charset, codec):
    mail = message("Тема")
    mail.set_content("Все люди рождаются свободными.\n", charset=charset)
    record = only(mail.as_bytes())
    assert record.text == "Тема\n\nВсе люди рождаются свободными."
    assert record.repairs == ((f"decoded:{codec}",) if codec else ())


def test_undeclared_8bit_body_and_subject():
    text = "Все люди рождаются свободными и равными в своем достоинстве и правах."
    record = only(b"Subject: " + "Свобода".encode("koi8-r") + b"\n\n" + text.encode("koi8-r"))
    assert record.text == "Свобода\n\n" + text
    assert record.repairs == ("decoded:koi8-r",)


def test_a_body_that_cannot_be_decoded_and_a_subject_that_cannot():
    record = only(b"Subject: one\n\n" + random.Random(0).randbytes(2000).replace(b"\0", b"x"))
    assert record.reason == "invalid_utf8"
    record = only(b"Subject: caf\xe9\n\nplain body")
    assert record.text == "caf\ufffd\n\nplain body"
    assert record.repairs == ("subject_replaced",)


def test_encoded_words():
    words = Header("中文主题" * 10, "gb2312").encode() + "\n and =?utf-8?b?broken?="
    record = only(f"Subject: {words}\n\nbody".encode())
    assert record.text.startswith("中文主题" * 10)
    assert record.text.endswith("\n\nbody")


def test_plain_is_preferred_among_alternatives(read_file):
    [row] = read_file("a.eml", message(plain=BODY, html="<p>markup</p>").as_bytes())
    assert row["media"] == "text"
    assert row["text"].endswith("with a dash.")
    [row] = read_file("b.eml", message(plain=" \n", html="<p>markup &amp; more</p>").as_bytes())
    assert row["media"] == "html"
    assert row["text"].startswith("<h1>Grüße aus Köln</h1>")


def test_html_with_a_charset_in_the_page():
    page = "<html><head><meta charset=koi8-r></head><body class=x><p>Привет</p></body></html>"
    record = only(b"Subject: a < b\nContent-Type: text/html\n\n" + page.encode("koi8-r"))
    assert record.media == "html"
    assert record.text == page.replace("<body class=x>", "<body class=x><h1>a &lt; b</h1>\n")
    assert record.repairs == ("decoded:koi8-r",)


def test_attachments_are_left_out_and_mixed_parts_joined():
    mail = message(plain="The text.\n")
    mail.add_attachment("not this", filename="notes.txt")
    mail.add_attachment(b"\x89PNG\0", maintype="image", subtype="png", filename="a.png")
    assert only(mail.as_bytes()).text == "Grüße aus Köln\n\nThe text."
    mixed = b"Content-Type: multipart/mixed; boundary=b\n\npreamble\n--b\n\none\n--b\nContent-Type: text/html\n\n"
    record = only(mixed + b"<b>two</b>\n--b\nContent-Type: text/plain\n\n1 < 2\n--b--\nepilogue")
    assert record.text == "<pre>one\n</pre>\n<b>two</b>\n\n<pre>1 &lt; 2\n</pre>"
    assert record.media == "html"


def test_format_flowed():
    content = b"Content-Type: text/plain; format=flowed\n\nA long \nline.\n> a quoted \n> one\nnext\n-- \nme"
    assert only(content).text == "A long line.\n> a quoted one\nnext\n-- \nme"
    content = "Content-Type: text/plain; format=flowed; delsp=yes\n\n漢字 \n漢字".encode()
    assert only(content).text == "漢字漢字"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"no header at all\nbut text", "no header at all\nbut text"),
        (b"Subject: only this", "only this"),
        (b"\nbody alone", "body alone"),
        (b"Content-Type: multipart/mixed\n\nno boundary", "no boundary"),
        (b'Content-Type: multipart/alternative; boundary="b"\n\n-- b\nContent-Type: text/plain\n\nwrong', "wrong"),
        (b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\ncut off", "cut off"),
        (b"Content-Type: text/plain charset=us-ascii\n\nno semicolon", "no semicolon"),
        (b"Content-Type: nonsense\n\ntext", "text"),
        (b"Content-Type: text/plain; charset=nonsense\n\ntext", "text"),
        (b"Content-Transfer-Encoding: base64\n\n" + base64.b64encode(b"cut base64")[:-3], "cut base6"),
        (
            b"Content-Transfer-Encoding: base64\n\n" + base64.b64encode(b"two words") + b"\n\n----\nA list, a footer",
            "two words",
        ),
        (b"Content-Transfer-Encoding: base64\n\n" + base64.b64encode(b"padded wrds") + b"\nFooter", "padded wrds"),
        (
            b"Content-Transfer-Encoding: base64\n\n" + b"dHdvIHdvcmRzIHR3by!B3b3JkcyB0d28" + b"\n",
            "two words two words two",
        ),
        (b"Content-Transfer-Encoding: quoted-printable\n\na=3Db=ZZ=\nc", "a=b=ZZc"),
        (b"Content-Type: text/plain; charset*=utf-8''%ff%fe; name*0=x\n\ntext", None),
    ],
)
def test_broken_mime(content, text):
    record = only(content)
    assert record.text == text if text is not None else record.reason in (None, "empty")


def test_without_text(read_file):
    for content in (b"", b"\n\n", b"Subject:\n\n", b"Content-Type: image/png\n\nabc"):
        [row] = read_file("a.eml", content)
        assert row["quarantine"] == "empty"
    [row] = read_file("a.eml", b"Subject: a\n\na\0b")
    assert row["quarantine"] == "nul_bytes"
    [row] = read_file("a.eml", b"x" * 101, max_record_bytes=100)
    assert row["quarantine"] == "record_too_long"


def test_time_is_linear_in_nested_and_many_parts():
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(2000))
    many = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 50_000
    hostile = b"Subject: " + b"=?a?q?" * 200_000 + b"\nContent-Type: text/plain; " + b"a=" * 200_000 + b"\n\nbody"
    begin = time.perf_counter()
    for content in (nested + b"x\n" * 100_000, many, hostile):
        assert only(content).position == 1
    assert time.perf_counter() - begin < 10


MBOX = b"".join(
    b"From a@example.com Thu Aug 22 12:36:23 2002\nSubject: mail %d\n\nText %d\n>From here\nFrom us\n\n" % (i, i)
    for i in range(1, 4)
)


def test_mbox(read_file):
    rows = read_file("a.mbox", MBOX)
    assert [row["text"] for row in rows] == [f"mail {i}\n\nText {i}\nFrom here\nFrom us" for i in (1, 2, 3)]
    assert [row["record"] for row in rows] == ["a.mbox#1", "a.mbox#2", "a.mbox#3"]
    assert [row["text"] for row in read_file("b.mbox", b"stray\n\n" + MBOX)][:2] == ["stray", rows[0]["text"]]


def test_a_bad_mail_in_an_mbox_costs_only_itself(read_file):
    mails = MBOX.split(b"From a@")[1:]
    rows = read_file(
        "a.mbox", b"From a@".join([b"", mails[0], mails[1] + b"x" * 2000 + b"\n\n", mails[2]]), max_record_bytes=1000
    )
    assert [row["quarantine"] for row in rows] == [None, "record_too_long", None]
    assert "mail 2 from line 8 at byte" in rows[1]["detail"]


def test_mbox_streams():
    asked = 0

    def chunks():
        nonlocal asked
        for _ in range(64):
            asked += 1
            yield (MBOX * 8000)[: 1 << 20]

    for count, record in enumerate(read_mbox(chunks(), CONFIG), 1):
        assert asked <= 2 + count * len(MBOX) // 3 // (1 << 19)
        assert len(record.raw) <= CONFIG.max_record_bytes
        if count == 20_000:
            break


def test_sniffing():
    assert sniff_mail(MBOX) == "mbox"
    assert sniff_mail(message(plain=BODY).as_bytes()) == "mail"
    for text in (
        b"From here to 10:30\nnothing",
        b"Subject: a talk\n\ntext",
        b"Note: one\nTo: two\n\n",
        b"",
        b"plain text",
    ):
        assert sniff_mail(text) is None


def test_formats_override_the_extension(tmp_path):
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "one.txt").write_bytes(b"Subject: one\n\ntext\n")
    (tmp_path / "mails" / "two.unknown").write_bytes(b"Subject: two\n\ntext\n")
    (tmp_path / "other.txt").write_bytes(b"Subject: three\n\ntext\n")
    config = InputConfig(formats={"mails/*": "mail", "*.txt": "text"})
    files = list_inputs([str(tmp_path)], config.formats)
    texts = [row["text"] for file in files for batch in read_batches(file, config) for row in batch.to_pylist()]
    assert texts == ["one\n\ntext", "two\n\ntext", "Subject: three\n\ntext\n"]


PIECES = [
    *(
        b"From a@b Thu Aug 22 12:36:23 2002\n",
        b"\n",
        b"\r\n\r\n",
        b"--b\n",
        b"--b--\n",
        b"\xff\xfe",
        b"YWJj",
        b"=E9=\n",
    ),
    b"Content-Type: multipart/mixed; boundary=b\n",
    b'Content-Type: multipart/alternative; boundary*0="\n',
    b"Content-Type: text/html; charset=utf-8\n",
    b"Content-Type: message/rfc822\n",
    b"Content-Transfer-Encoding: base64\n",
    b"Content-Transfer-Encoding: quoted-printable\n",
    b"Content-Disposition: attachment; filename*=x'y'%zz\n",
    b"Subject: =?utf-8?q?=C3?=\n",
    b" text\n",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=30)), max_size=25))
def test_any_bytes(pieces):
    content = b"".join(pieces)
    assert len(list(read_mail(iter([content]), CONFIG))) == 1
    records = list(read_mbox(iter([content]), CONFIG))
    assert bool(records) == bool(content.strip())
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    for record in records:
        record.text.encode()


def test_a_wrong_charset_is_named_as_what_it_is(read_file):
    text = "“中路通配件厂”专业生产泵头，分配泵，泵头总成，主要型号有五十铃"
    head = b"From: a@b.c\nTo: d@e.f\nSubject: parts\nContent-Type: text/plain; charset=iso-8859-1\n\n"
    [row] = read_file("a.eml", head + text.encode("gb18030"))
    assert (row["text"], row["repairs"]) == (f"parts\n\n{text}", ["decoded:gb18030"])
    [row] = read_file("a.eml", head + text.encode())
    assert (row["text"], row["repairs"]) == (f"parts\n\n{text}", [])
