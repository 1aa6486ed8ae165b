"""Mailbox names in modified UTF-7 (RFC 3501 section 5.1.3).

Invariants: decode(encode(name)) == name for every Unicode string without lone surrogates; decode never raises but
ValueError, and accepts only the one encoding of a name.
"""

from __future__ import annotations

import binascii
import re

_direct = re.compile(r"[ -~]+").fullmatch
_run = re.compile(r"[^ -~]+|&")


def _encode_run(found: re.Match[str]) -> str:
    text = found[0]
    if text == "&":
        return "&-"
    packed = binascii.b2a_base64(text.encode("utf-16-be"), newline=False)
    return "&" + packed.rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"


def encode(name: str) -> bytes:
    """`name` in modified UTF-7."""
    if _direct(name) and "&" not in name:
        return name.encode("ascii")
    return _run.sub(_encode_run, name).encode("ascii")


def decode(octets: bytes) -> str:
    """The name that `octets` spell. Raises ValueError where they are not the modified UTF-7 of any name."""
    name = decode_loosely(octets)
    if b"&" in octets and encode(name) != octets:
        raise ValueError("not in its shortest form")
    return name


def decode_loosely(octets: bytes) -> str:
    """The same, for spellings that are longer than they need to be, which other servers and files of theirs have."""
    text = octets.decode("ascii")
    if text and not _direct(text):
        raise ValueError("control character")
    if "&" not in text:
        return text
    out: list[str] = []
    position = 0
    while (start := text.find("&", position)) >= 0:
        out.append(text[position:start])
        end = text.find("-", start)
        if end < 0:
            raise ValueError("unfinished shift")
        packed = text[start + 1 : end].replace(",", "/")
        if not packed:
            out.append("&")
        else:
            out.append(binascii.a2b_base64(packed + "=" * (-len(packed) % 4)).decode("utf-16-be"))
        position = end + 1
    out.append(text[position:])
    return "".join(out)
