"""What is and what is not personal data, kind by kind. All numbers are made up or reserved for fiction and examples."""

import random

import pytest

from pipeline.config import PrivacyConfig
from pipeline.text.checksums import IBAN_LENGTH, is_card, is_iban, is_ssn, luhn
from pipeline.text.privacy import find, mask_text

ALL = PrivacyConfig(kinds=("email", "phone", "ip", "credit_card", "iban", "ssn", "secret"))
TOKEN = "a1B2c3D4e5" * 10


def _masked(text: str) -> str:
    return mask_text(text, ALL)[0]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to a.b+c@mail.firma.co.uk.", "write to <EMAIL>."),
        ("<mailto:a_b@firma.de>", "<mailto:<EMAIL>>"),
        ("müller@bücher.de and 邮箱foo@firma.cn谢谢", "<EMAIL> and 邮箱<EMAIL>谢谢"),
        ("用户@例子.中国。почта@пример.рф", "<EMAIL>。<EMAIL>"),
        ("राम@उदाहरण.भारत x@xn--e1afmkfd.xn--p1ai", "<EMAIL> <EMAIL>"),
        ("a@firma.org.Then more. ADA@FIRMA.ORG", "<EMAIL>.Then more. <EMAIL>"),
        ("/off?to=ada@firma.org&x=1 list-ada=firma.org@lists.firma.org", "/off?to=<EMAIL>&x=1 <EMAIL>"),
        ("card 4111 1111 1111 1111, 4111-1111-1111-1111.", "card <CREDIT_CARD>, <CREDIT_CARD>."),
        ("5555555555554444 3782 822463 10005", "<CREDIT_CARD> <CREDIT_CARD>"),
        ("DE89370400440532013000 or GB29 NWBK 6016 1331 9268 19.", "<IBAN> or <IBAN>."),
        ("FR14 2004 1010 0505 0001 3M02 606; KZ86 125K ZT50 0410 0100", "<IBAN>; <IBAN>"),
        ("SSN: 123-45-6789, (212) 456-7890", "SSN: <SSN>, <PHONE>"),
        ("+44 20 7946 0958, +1-212-456-7890 or +49 (0)30 901820", "<PHONE>, <PHONE> or <PHONE>"),
        ("212.456.7890 212-456-7890 1-800-456-7890 1 (212) 456-7890", "<PHONE> <PHONE> <PHONE> <PHONE>"),
        ("Tel: 020 7946 0958, Fax 030/901820 电话：010 6552 9988", "Tel: <PHONE>, Fax <PHONE> 电话：<PHONE>"),
        ("Tel(020) 7946 0958, 电话010 6552 9988", "Tel<PHONE>, 电话<PHONE>"),
        ("tel. +33\u00a01\u00a042\u00a068\u00a053\u00a000", "tel. <PHONE>"),
        ("from 61.122.133.144:80 and http://61.12.3.14/", "from <IP>:80 and http://<IP>/"),
        ("2a00:1450:4001:81b::200e,", "<IP>,"),
        (f"AKIA{'Q7' * 8} AIza{TOKEN[:35]} ghp_{TOKEN[:36]} npm_{TOKEN[:36]}", "<SECRET> <SECRET> <SECRET> <SECRET>"),
        (f'"xoxb-123456789012-{TOKEN[:24]}" sk_live_{TOKEN[:24]}', '"<SECRET>" <SECRET>'),
        (f"Bearer eyJ{TOKEN[:30]}.eyJ{TOKEN[:30]}.{TOKEN[:30]}", "Bearer <SECRET>"),
        (f"-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: A\n\n{TOKEN}\n-----END RSA PRIVATE KEY-----\nx", "<SECRET>\nx"),
    ],
)
def test_is_masked(text, masked):
    assert _masked(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "alice@example.com sip:bob@atlanta.example bob@localhost user@host HEAD@{1}",
        "icon@2x.png lodash@4.17.21 a@1.0.0-beta.rc getty@tty1.service follow @name. a@b",
        "4111 1111 1111 1112 41111111111111111 0.4111111111111111 9 4111 1111 1111 1111 id=4111111111111111",
        "ISBN 978-3-16-148410-0, EAN 4006381333931, 1700000000000, 20240131235959",
        "DE89370400440532013001 GB29 NWBK 6016 1331 9268 18 XX89370400440532013000 DE8937040044053201300012",
        "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000 078-05-1120",
        "WAC 388-14-0100, § 123-45-6789, 123-45-6789-0 and 0123-45-6789",
        "1990-1995, 2002-09-12, 12.10.2002 and fax 1998-2002; 3.14159265358979 1,234,567",
        "http://news.example/mobile3/58201224-219/farm.html",
        "123-456-7890 212 456 7890 2124567890 pages 212-456 x212-456-7890 555-1234 +1 000 000 0000",
        "hotel 1234567, 10 20 30 40 50 60 70",
        "10.0.0.1 192.168.1.1 127.0.0.1 192.0.2.17 255.255.255.0 224.0.0.251 61.122.133.0 61.122.133.144/24",
        "version 61.122.133.144, v61.122.133.144, foo-61.122.133.144, Chrome/61.122.133.144, pkg==61.122.133.144",
        "4.2.1.3 Heading, Section 12.10.11.12, 2.5.29.15, 1.3.6.1.4.1.311, 61.122.133.256, 61.122.133.144.5",
        "12:30:45 00:1a:2b:3c:4d:5e std::dead::beef fe80::1 ::1 2001:db8::1 a::b",
        "AKIA1234 ghp_short sk-learn-is-a-long-slug-name eyJhbGci.eyJ -----BEGIN PUBLIC KEY-----",
        "------------------------------- this_is_a_rather_long_identifier_name",
        "٠١٢٣٤٥٦٧٨٩ @ ４１１１ ¹²³ ½ 一二三",
    ],
)
def test_is_left_alone(text):
    assert mask_text(text, ALL) == (text, {})


def test_reserved_ranges_and_names_can_be_masked():
    config = ALL.model_copy(update={"keep_reserved": False})
    assert mask_text("192.168.10.12 alice@example.com fe80::1", config)[0] == "<IP> <EMAIL> <IP>"


def test_chosen_kinds_alone():
    text = "ada@firma.org, (212) 456-7890, 61.122.133.144"
    assert mask_text(text, PrivacyConfig(kinds=("phone",))) == ("ada@firma.org, <PHONE>, 61.122.133.144", {"phone": 1})
    assert mask_text(text, PrivacyConfig())[0] == "<EMAIL>, <PHONE>, 61.122.133.144"


def test_offsets_are_bytes_of_the_text():
    text = "żółw ada@firma.org 😀 (212) 456-7890"
    found = [(text.encode()[start:end].decode(), kind) for start, end, kind in find(text, ALL)]
    assert found == [("ada@firma.org", "email"), ("(212) 456-7890", "phone")]


def test_luhn_accepts_one_check_digit_of_ten():
    rng = random.Random(3)
    for _ in range(200):
        body = "".join(rng.choice("0123456789") for _ in range(15))
        valid = [digit for digit in "0123456789" if luhn((body + digit).encode())]
        assert len(valid) == 1


@pytest.mark.parametrize("number", [b"4222222222222", b"1234567812345670", b"0000000000000000"])
def test_cards_of_no_issuer(number):
    assert luhn(number)
    assert not is_card(number)


def test_iban_check_digits_catch_changes_and_swaps():
    good = b"GB29NWBK60161331926819"
    assert is_iban(good)
    for place in range(4, len(good)):
        for byte in b"0123456789":
            if byte != good[place] and chr(good[place]).isdigit():
                assert not is_iban(good[:place] + bytes([byte]) + good[place + 1 :])
        if place + 1 < len(good) and good[place] != good[place + 1]:
            swapped = good[:place] + bytes([good[place + 1], good[place]]) + good[place + 2 :]
            assert not is_iban(swapped)
    assert not is_iban(good[:-1])
    assert all(15 <= length <= 34 for length in IBAN_LENGTH.values())


def test_ssn_ranges():
    assert is_ssn(b"001-01-0001")
    assert is_ssn(b"899-99-9999")
    assert not any(map(is_ssn, (b"000-01-0001", b"666-01-0001", b"900-01-0001", b"001-00-0001", b"001-01-0000")))
