"""Octets of SMTP commands to values (RFC 5321 section 4.1, RFC 6531, 3461, 1870, 3030, 4954). No I/O, no state.

Invariants
- Everything raises `BadCommand`, with code, enhanced status and words, or gives values that keep to the grammar;
  nothing else is raised, whatever the octets.
- Time is linear in the length of the line; callers limit that (`MAX_LINE`).
- Source routes are read and dropped (RFC 5321 section 3.6.1 and appendix C).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mailstead.delivery.xtext import is_utf8_xtext, is_xtext
from mailstead.message.addresses import split_address

#: Octets of a command line with its CRLF: 512, and what SIZE, BODY, DSN, AUTH and SMTPUTF8 add to it.
MAX_LINE = 2000
#: Octets of a line in an AUTH exchange (RFC 4954 section 4).
MAX_AUTH_LINE = 12288
MAX_PATH = 254
MAX_ENVID = 100
MAX_ORCPT = 500
MAX_CHUNK = 1 << 40


class BadCommand(Exception):
    """A command that cannot be taken: ``args`` are code, enhanced status code and words."""

    @property
    def reply(self) -> bytes:
        """The reply line."""
        code, status, words = self.args
        return f"{code} {status} {words}\r\n".encode()


@dataclass(slots=True)
class MailParameters:
    """Of MAIL. ``size`` 0 where not given; ``auth`` None where not given (RFC 4954 section 5)."""

    size: int = 0
    body: str = "7BIT"
    utf8: bool = False
    ret: str = ""
    envid: str = ""
    auth: str | None = None


@dataclass(slots=True)
class Extensions:
    """What was offered: parameters of others are refused."""

    size: bool = True
    eight_bit: bool = True
    binary: bool = True
    dsn: bool = True
    utf8: bool = True
    auth: bool = True


NO_PARAMETERS = MailParameters()

_path = re.compile(
    rb'[ ]*<(?P<route>@[^:<>"\x00-\x20\x7f]*:)?'
    rb'(?P<mailbox>[^<>"\x00-\x20\x7f]*|"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"@[^<>"\x00-\x20\x7f]*)>(?P<rest>.*)',
    re.DOTALL,
).fullmatch
_parameter = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff]+))?").fullmatch
_helo = re.compile(rb"[!-~\x80-\xff]{1,255}").fullmatch
_digits = re.compile(rb"[0-9]{1,20}").fullmatch
_chunk = re.compile(rb"([0-9]{1,20})(?:[ ]+([Ll][Aa][Ss][Tt]))?[ ]*").fullmatch
_mechanism = re.compile(rb"([A-Za-z0-9_-]{1,20})(?:[ ]+([A-Za-z0-9+/=]*|\*))?[ ]*").fullmatch
_orcpt_type = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,50}").fullmatch


def parse_helo(arguments: bytes, command: str) -> str:
    """The client's name for itself; any printable word (RFC 5321 section 4.1.4 forbids refusing it for more)."""
    word = arguments.strip(b" ")
    if _helo(word) is None:
        raise BadCommand(501, "5.5.4", f"Syntax: {command} hostname")
    return word.decode("utf-8", "replace")


@lru_cache(8192)
def checked_mailbox(text: str) -> bool:
    """Whether a text is a mailbox of RFC 5321 section 4.1.2 (UTF-8 as of RFC 6531) within its limits."""
    return len(text.encode("utf-8", "replace")) <= MAX_PATH and split_address(text) is not None


def parse_path(arguments: bytes, keyword: bytes, status: str) -> tuple[str, bytes]:
    """``(mailbox, what follows)`` of ``FROM:<...>`` or ``TO:<...>``; the mailbox is empty for ``<>``.

    A mailbox without a domain is given as it is: the caller decides (postmaster).
    """
    size = len(keyword)
    if arguments[:size].upper() != keyword:
        raise BadCommand(501, "5.5.4", f"Syntax: {'MAIL FROM' if keyword == b'FROM:' else 'RCPT TO'}:<address>")
    found = _path(arguments, size)
    if found is None:
        raise BadCommand(501, status, "Bad address syntax")
    route, mailbox, rest = found.groups()
    if rest and rest[0] != 32:
        raise BadCommand(501, "5.5.4", "Garbage after the address")
    try:
        text = mailbox.decode("utf-8")
    except UnicodeDecodeError:
        raise BadCommand(501, status, "The address is not UTF-8") from None
    if (text and "@" in text and not checked_mailbox(text)) or (route and not text):
        raise BadCommand(501, status, "Bad address syntax")
    return text, rest


def parameters(rest: bytes) -> dict[bytes, bytes | None]:
    """``KEY=value`` words after a path, keys in upper case."""
    found: dict[bytes, bytes | None] = {}
    for word in rest.split():
        match = _parameter(word)
        if match is None:
            raise BadCommand(501, "5.5.4", "Bad parameter syntax")
        key, value = match.groups()
        key = key.upper()
        if key in found:
            raise BadCommand(501, "5.5.4", f"{key.decode()} given twice")
        found[key] = value
    return found


def parse_mail(rest: bytes, offered: Extensions) -> MailParameters:
    """Parameters of MAIL."""
    result = MailParameters()
    for key, value in parameters(rest).items():
        if key == b"SIZE" and offered.size:
            if value is None or _digits(value) is None:
                raise BadCommand(501, "5.5.4", "Syntax: SIZE=octets")
            result.size = int(value)
        elif key == b"BODY" and offered.eight_bit:
            result.body = _body(value, offered)
        elif key == b"SMTPUTF8" and offered.utf8:
            if value is not None:
                raise BadCommand(501, "5.5.4", "SMTPUTF8 takes no value")
            result.utf8 = True
        elif key == b"RET" and offered.dsn:
            result.ret = (value or b"").upper().decode("latin-1")
            if result.ret not in ("FULL", "HDRS"):
                raise BadCommand(501, "5.5.4", "Syntax: RET=FULL or RET=HDRS")
        elif key == b"ENVID" and offered.dsn:
            result.envid = (value or b"").decode("latin-1")
            if not result.envid or len(result.envid) > MAX_ENVID or not is_xtext(result.envid):
                raise BadCommand(501, "5.5.4", "Syntax: ENVID=xtext of at most 100 characters")
        elif key == b"AUTH" and offered.auth:
            result.auth = _auth(value)
        else:
            raise BadCommand(555, "5.5.4", f"Parameter {key.decode('ascii')} not recognized")
    return result


def _body(value: bytes | None, offered: Extensions) -> str:
    body = (value or b"").upper()
    if body == b"7BIT" or body == b"8BITMIME" or (body == b"BINARYMIME" and offered.binary):
        return body.decode("ascii")
    raise BadCommand(501, "5.5.4", "Unknown BODY type")


def _auth(value: bytes | None) -> str:
    text = (value or b"").decode("latin-1")
    if not text or len(text) > MAX_ORCPT or not (text == "<>" or is_xtext(text)):
        raise BadCommand(501, "5.5.4", "Syntax: AUTH=xtext or AUTH=<>")
    return text


def parse_rcpt(rest: bytes, offered: Extensions, utf8: bool) -> tuple[str, str]:
    """``(NOTIFY, ORCPT)`` of RCPT, each empty where not given; ORCPT with its xtext."""
    notify = orcpt = ""
    for key, value in parameters(rest).items():
        if key == b"NOTIFY" and offered.dsn:
            notify = _notify((value or b"").upper().decode("latin-1"))
        elif key == b"ORCPT" and offered.dsn:
            orcpt = _orcpt(value or b"", utf8)
        else:
            raise BadCommand(555, "5.5.4", f"Parameter {key.decode('ascii')} not recognized")
    return notify, orcpt


def _notify(text: str) -> str:
    words = text.split(",")
    if text == "NEVER" or (len(set(words)) == len(words) and set(words) <= {"SUCCESS", "FAILURE", "DELAY"}):
        return text
    raise BadCommand(501, "5.5.4", "Syntax: NOTIFY=NEVER or any of SUCCESS,FAILURE,DELAY")


def _orcpt(value: bytes, utf8: bool) -> str:
    try:
        text = value.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError:
        raise BadCommand(501, "5.5.4", "ORCPT is not in its character set") from None
    kind, semicolon, address = text.partition(";")
    fits = is_utf8_xtext(address) if utf8 and kind.lower() == "utf-8" else is_xtext(address)
    if not semicolon or not address or len(value) > MAX_ORCPT or not fits or _orcpt_type(kind) is None:
        raise BadCommand(501, "5.5.4", "Syntax: ORCPT=type;xtext")
    return text


def parse_bdat(arguments: bytes) -> tuple[int, bool]:
    """``(octets, last)`` of BDAT (RFC 3030 section 2)."""
    found = _chunk(arguments.strip(b" "))
    if found is None or int(found[1]) > MAX_CHUNK:
        raise BadCommand(501, "5.5.4", "Syntax: BDAT octets [LAST]")
    return int(found[1]), found[2] is not None


def parse_auth(arguments: bytes) -> tuple[str, bytes | None]:
    """``(mechanism, initial response in base64 or None)`` of AUTH (RFC 4954 section 4)."""
    found = _mechanism(arguments.strip(b" "))
    if found is None:
        raise BadCommand(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
    return found[1].decode("ascii").upper(), found[2] or None
