"""Encoded words in header fields (RFC 2047) and extended parameters (RFC 2231).

Invariants
- Decoding never raises; a broken word stays as it is written.
- Blanks between two encoded words vanish (RFC 2047 section 6.2); adjacent words
  of one charset are joined before the charset is decoded, because many senders
  cut a character in two.
- Result has no CR, LF or NUL.
"""

import binascii
import re
from urllib.parse import unquote_to_bytes

from .charset import decode_charset

_word = re.compile(rb"=\?([^?\s=]{1,60})\?([bBqQ])\?([^?]*)\?=")
_controls = {0: None, 10: " ", 13: None}


def _payload(encoding: bytes, text: bytes) -> bytes | None:
    if encoding in b"qQ":
        return binascii.a2b_qp(text.replace(b" ", b"_"), header=True)
    text = text.replace(b" ", b"").rstrip(b"=")
    if len(text) % 4 == 1:
        text = text[:-1]
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        return None


def _plain(octets: bytes) -> str:
    return octets.decode("ascii") if octets.isascii() else decode_charset(octets, detect=False)


def decode_words(value: bytes) -> str:
    """Text of an unstructured field or a phrase, unfolded, encoded words decoded, raw 8-bit guessed."""
    if b"=?" not in value:
        text = _plain(value)
        return text.translate(_controls) if b"\n" in value or b"\r" in value or b"\0" in value else text
    out: list[str] = []
    pending: list[bytes] = []
    charset = ""
    end = 0
    after_word = False
    for found in _word.finditer(value):
        label, encoding, encoded = found.groups()
        payload = _payload(encoding, encoded)
        between = value[end : found.start()]
        if payload is None:
            continue
        declared = label.partition(b"*")[0].decode("ascii", "replace").lower()
        if not (after_word and not between.strip(b" \t\r\n")):
            if after_word:
                out.append(decode_charset(b"".join(pending), charset, detect=False))
                pending.clear()
            out.append(_plain(between))
            charset = declared
        elif declared != charset:
            out.append(decode_charset(b"".join(pending), charset, detect=False))
            pending.clear()
            charset = declared
        pending.append(payload)
        after_word = True
        end = found.end()
    if after_word:
        out.append(decode_charset(b"".join(pending), charset, detect=False))
    out.append(_plain(value[end:]))
    return "".join(out).translate(_controls)


def decode_extended(value: bytes) -> str:
    """Text of an RFC 2231 extended value: charset'language'percent-encoded."""
    parts = value.split(b"'", 2)
    if len(parts) == 3:
        return decode_charset(unquote_to_bytes(parts[2]), parts[0].decode("ascii", "replace"), detect=False)
    return decode_charset(unquote_to_bytes(value), detect=False)


def decode_parameters(raw: tuple[tuple[bytes, bytes], ...]) -> dict[str, str]:
    """Parameters by lower-case name: continuations joined, extended and encoded values decoded (RFC 2231).

    An extended value wins over a plain one of the same name; encoded words, though
    RFC 2047 section 5 forbids them here, are decoded as every mail program writes them.
    """
    plain: dict[str, str] = {}
    extended: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[bytes, bool]]] = {}
    for key, value in raw:
        name = key.decode("latin-1").lower()
        star = name.find("*")
        if star < 0:
            plain.setdefault(name, decode_words(value))
            continue
        base, suffix = name[:star], name[star + 1 :]
        if not suffix:
            extended.setdefault(base, decode_extended(value))
            continue
        encoded = suffix.endswith("*")
        number = suffix.rstrip("*")
        if number.isascii() and number.isdecimal() and len(number) < 4:
            pieces.setdefault(base, {}).setdefault(int(number), (value, encoded))
    for base, numbered in pieces.items():
        if base in extended or 0 not in numbered:
            continue
        first, is_extended = numbered[0]
        charset = ""
        if is_extended:
            split = first.split(b"'", 2)
            if len(split) == 3:
                charset, first = split[0].decode("ascii", "replace"), split[2]
            first = unquote_to_bytes(first)
        octets = [first]
        for following in range(1, len(numbered)):
            piece = numbered.get(following)
            if piece is None:
                break
            octets.append(unquote_to_bytes(piece[0]) if piece[1] else piece[0])
        joined = b"".join(octets)
        extended[base] = decode_charset(joined, charset, detect=False) if is_extended else decode_words(joined)
    return {**plain, **extended} if extended else plain
