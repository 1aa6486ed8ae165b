"""xtext of envelope parameters (RFC 3461 section 4, RFC 6533 section 3).

Invariants: decoding never raises on what `is_xtext` accepts; encoding and decoding are inverse for printable text.
"""

from __future__ import annotations

import re

is_xtext = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*").fullmatch
#: With UTF-8 as it is, as SMTPUTF8 allows in ORCPT.
is_utf8_xtext = re.compile(r"(?:[!-*,-<>-~\x80-\U0010ffff]|\+[0-9A-F]{2})*").fullmatch
_hex = re.compile(r"\+([0-9A-F]{2})")
_unicode = re.compile(r"\\x\{([0-9A-F]{1,6})\}")


def decode_xtext(text: str) -> str:
    """The text behind xtext; octets above 127 are taken as UTF-8."""
    if "+" not in text:
        return text
    octets = _hex.sub(lambda found: chr(int(found[1], 16)), text)
    try:
        return octets.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return octets


def decode_orcpt(text: str) -> str:
    """``type;address`` of an ORCPT parameter with the address in clear."""
    kind, semicolon, address = text.partition(";")
    if not semicolon:
        return decode_xtext(text)
    address = decode_xtext(address)
    if kind.lower() == "utf-8" and "\\x{" in address:
        address = _unicode.sub(_character, address)
    return f"{kind};{address}"


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "?"
