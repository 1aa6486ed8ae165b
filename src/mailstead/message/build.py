"""Messages that the server itself writes: header encoding and plain text mail (RFC 5322, 2045, 2047).

Invariants
- Output has CRLF line ends, lines of at most 998 octets, and no header field
  that a value could have smuggled in: CR, LF and controls become blanks.
- Output is 7-bit unless an address is not ASCII (RFC 6532).
"""

import binascii
import secrets
import time
from collections.abc import Iterable, Sequence

from .dates import rfc5322_date

_LINE = 76
_CONTROLS = dict.fromkeys((*range(32), 127, *range(0x80, 0xA0), 0x2028, 0x2029), " ")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ATOM = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~ ")


def one_line(text: str) -> str:
    """`text` without anything that could end a header field: controls become blanks, surrogates '?'."""
    return text.translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8").strip()


def make_message_id(host: str) -> str:
    """A fresh Message-ID value with its angle brackets, unique by time and 64 random bits."""
    number = time.time_ns() // 1_000_000
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return f"<{digits}.{secrets.token_hex(8)}@{one_line(host)}>"


def encode_header(text: str) -> str:
    """Unstructured text for a header field: as it is if ASCII, else in encoded words, folded (RFC 2047)."""
    text = one_line(text)
    if text.isascii() and "=?" not in text:
        return text
    words: list[str] = []
    chunk = ""
    room = 0
    for character in text:
        width = len(character.encode("utf-8"))
        # 39 octets give 52 base64 characters: a word of 64, so that a field's name fits on the line of 76 with it.
        if room + width > 39:
            words.append(chunk)
            chunk, room = "", 0
        chunk += character
        room += width
    words.append(chunk)
    return "\r\n ".join(
        "=?utf-8?b?" + binascii.b2a_base64(word.encode("utf-8"), newline=False).decode("ascii") + "?=" for word in words
    )


def format_address(name: str, address: str) -> str:
    """`name <address>` with the name quoted or encoded as it needs."""
    name, address = one_line(name), one_line(address)
    if not name:
        return address
    if not name.isascii() or "=?" in name:
        return f"{encode_header(name)} <{address}>"
    if not _ATOM.issuperset(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>"


def fold(name: str, value: str) -> str:
    """One header field with CRLF, folded at blanks where it is longer than 76 characters (RFC 5322 section 2.2.3).

    The value is made safe first; folds that it has already (encoded words) stay.
    """
    value = "\r\n ".join(one_line(line) for line in value.split("\r\n "))
    if len(name) + 2 + len(value) <= _LINE:
        return f"{name}: {value}\r\n"
    lines: list[str] = []
    line = f"{name}:"
    for given in value.split("\r\n "):
        for word in given.split(" "):
            # A line of blanks alone would end nothing and mean nothing: keep blanks with their neighbours.
            if len(line) + 1 + len(word) > _LINE and line.strip() and word and line != f"{name}:":
                lines.append(line)
                line = ""
            while len(word) > 900:
                lines.append(f"{line} {word[:900]}")
                line, word = "", word[900:]
            line += f" {word}"
        if lines or line:
            lines.append(line)
            line = ""
    return "\r\n".join(text for text in lines if text.strip()) + "\r\n"


def encode_text(body: str) -> tuple[str, bytes]:
    """(Content-Transfer-Encoding, octets with CRLF) of plain text: 7bit where it fits, else quoted-printable."""
    octets = "\r\n".join(body.encode("utf-8", "replace").decode("utf-8").splitlines()).encode("utf-8")
    if octets:
        octets += b"\r\n"
    if octets.isascii() and b"\0" not in octets and max(map(len, octets.split(b"\n"))) <= 990:
        return "7bit", octets
    encoded = binascii.b2a_qp(octets.replace(b"\r\n", b"\n"), istext=True)
    return "quoted-printable", encoded.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def text_message(
    from_: str,
    to: str | Sequence[str],
    subject: str,
    body: str,
    date: int | float,
    *,
    message_id: str | None = None,
    host: str = "localhost",
    auto_submitted: str | None = "auto-generated",
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """A plain text message from the server.

    `from_` and `to` are header values (`format_address` makes them), `date` Unix seconds. `host` names the
    Message-ID if none is given; `auto_submitted` None leaves that field out (RFC 3834).
    """
    encoding, octets = encode_text(body)
    recipients = to if isinstance(to, str) else ", ".join(to)
    fields = [
        ("From", from_),
        ("To", recipients),
        ("Subject", encode_header(subject)),
        ("Date", rfc5322_date(date)),
        ("Message-ID", message_id or make_message_id(host)),
    ]
    if auto_submitted:
        fields.append(("Auto-Submitted", auto_submitted))
    fields.extend(headers)
    fields += [
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Transfer-Encoding", encoding),
    ]
    return "".join(fold(name, value) for name, value in fields).encode("utf-8") + b"\r\n" + octets
