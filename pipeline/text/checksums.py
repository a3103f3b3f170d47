"""Check digits and valid ranges of numbers that name a person or an account. Every function takes ASCII bytes."""

from ipaddress import IPv4Address, IPv6Address

# ISO 13616 registry: country -> characters of an IBAN there.
_IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
    "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
    "YE30"
)
IBAN_LENGTH: dict[bytes, int] = {entry[:2].encode(): int(entry[2:]) for entry in _IBAN_LENGTHS.split()}

# First digits from..to -> lengths. Visa's 13 digits are left out: no longer issued, and EAN-13 codes begin with 4 too.
_ISSUERS: tuple[tuple[bytes, bytes, tuple[int, ...]], ...] = (
    (b"4", b"4", (16, 19)),  # Visa
    (b"51", b"55", (16,)),  # Mastercard
    (b"2221", b"2720", (16,)),
    (b"34", b"34", (15,)),  # American Express
    (b"37", b"37", (15,)),
    (b"300", b"305", (14,)),  # Diners Club
    (b"36", b"36", (14,)),
    (b"38", b"39", (14,)),
    (b"6011", b"6011", (16, 19)),  # Discover
    (b"644", b"659", (16, 19)),
    (b"3528", b"3589", (16,)),  # JCB
    (b"62", b"62", (16, 17, 18, 19)),  # UnionPay
)

# Printed on sample cards and in advertisements; the Social Security Administration names both invalid.
_SSN_SAMPLES = (b"078-05-1120", b"219-09-9999")


def luhn(digits: bytes) -> bool:
    """Whether the last digit is the Luhn check digit (ISO/IEC 7812-1, annex B) of the others."""
    total = 0
    for place, byte in enumerate(reversed(digits)):
        value = (byte - 48) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card(digits: bytes) -> bool:
    """A number that an issuer of payment cards may have given out: prefix, length and Luhn digit agree."""
    for first, last, lengths in _ISSUERS:
        if len(digits) in lengths and first <= digits[: len(first)] <= last:
            return luhn(digits)
    return False


def is_iban(iban: bytes) -> bool:
    """Country, length and ISO 7064 mod 97-10 check digits agree; without spaces, capital letters."""
    if len(iban) != IBAN_LENGTH.get(iban[:2]) or not iban.isalnum() or not iban[2:4].isdigit():
        return False
    rearranged = iban[4:] + iban[:4]
    return int("".join(str(int(chr(byte), 36)) for byte in rearranged)) % 97 == 1


def is_ssn(ssn: bytes) -> bool:
    """`ddd-dd-dddd` in the ranges that the Social Security Administration gives out (since 2011 at random)."""
    area, group, serial = ssn.split(b"-")
    ranged = area not in (b"000", b"666") and area < b"900" and group != b"00" and serial != b"0000"
    return ranged and ssn not in _SSN_SAMPLES


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """One host, globally reachable: not private, loopback, link-local, documentation, multicast, nor a netmask.

    IPv4 addresses that end in 0 or 255 are left out too: networks and broadcasts, seldom hosts.
    """
    if isinstance(address, IPv4Address):
        return address.is_global and not (address.is_multicast or address.packed[3] in (0, 255))
    return address.is_global and address.packed[0] >> 5 == 1  # 2000::/3, all that is assigned
