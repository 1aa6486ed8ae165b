"""IMAP URLs that name one message or a piece of one (RFC 5092), with or without authorization (RFC 4467).

Invariants: whatever the octets, parsing gives a `MessageUrl` or raises `BadUrl`, in linear time; nothing is looked up
here.  Names in a URL are UTF-8, percent-encoded.

Grammar: ``imap://[user[;AUTH=type]@]host[:port]/mailbox[;UIDVALIDITY=n]/;UID=n[/;SECTION=s][/;PARTIAL=a[.b]]`` and, for
URLAUTH, ``[;EXPIRE=time];URLAUTH=access[:mechanism:token]``; a relative one begins with "/" or, within the selected
mailbox, with ";UID=" or "/;UID=".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes

from mailstead.imap.fetch_items import Body, body_item
from mailstead.imap.grammar import MAX_NUMBER, Arguments, BadSyntax

MAX_URL = 4096

_printable = re.compile(rb"[!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+").fullmatch
_percent = re.compile(rb"%(?![0-9A-Fa-f]{2})").search
_absolute = re.compile(
    rb"imap://(?:(?P<user>[^@/;:]*)(?:;AUTH=(?P<type>[^@/;]+))?@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@/:;\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
    rb"(?=/)", re.I,
).match  # fmt: skip
_path = re.compile(
    rb"/?(?P<mailbox>[^;]*?)(?:;UIDVALIDITY=(?P<validity>[1-9][0-9]{0,9}))?/?;UID=(?P<uid>[1-9][0-9]{0,9})"
    rb"(?:/?;SECTION=(?P<section>[^;]+?))?(?:/?;PARTIAL=(?P<start>[0-9]{1,10})(?:\.(?P<length>[1-9][0-9]{0,9}))?)?"
    rb"(?P<auth>(?:;EXPIRE=(?P<expire>[^;]+))?;URLAUTH=(?P<access>[^:;]+)(?::(?P<mechanism>[^:;]+):(?P<token>[0-9A-Fa-f]+))?)?",
    re.I,
).fullmatch
_time = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})", re.I).fullmatch


class BadUrl(Exception):
    """The URL breaks the grammar, or names what is not here; the text says which."""


@dataclass(frozen=True, slots=True)
class MessageUrl:
    """`host` is empty in a relative URL, `mailbox` where the selected one is meant; `uidvalidity` 0 for none given.

    `access` is what stands behind URLAUTH=, decoded ("" without); `expires` unix time (0: never); `rump` the octets that a
    token covers; `token` in lower case.
    """

    user: str
    host: str
    mailbox: str
    uidvalidity: int
    uid: int
    section: Body
    access: str = ""
    expires: int = 0
    mechanism: str = ""
    token: str = ""
    rump: bytes = b""


def _text(octets: bytes | None) -> str:
    if octets is None:
        return ""
    try:
        found = unquote_to_bytes(octets).decode("utf-8")
    except UnicodeDecodeError:
        raise BadUrl("not UTF-8") from None
    if any(character < " " or character == "\x7f" for character in found):
        raise BadUrl("control character")
    return found


def _expiry(octets: bytes | None) -> int:
    if octets is None:
        return 0
    text = _text(octets)
    if _time(text) is None:
        raise BadUrl("invalid time of expiry")
    try:
        return max(int(datetime.fromisoformat(text.upper()).timestamp()), 1)
    except (ValueError, OverflowError):
        raise BadUrl("invalid time of expiry") from None


def section_of(octets: bytes, start: int = 0, length: int = -1, binary: bool = False) -> Body:
    """The item that fetches a section ("" for the whole message). Raises BadUrl."""
    arguments = Arguments((b"BINARY" if binary else b"BODY") + b"[" + octets + b"]")
    arguments.pos = 6 if binary else 4
    try:
        return body_item(arguments, start, length, binary)
    except BadSyntax as error:
        raise BadUrl(str(error)) from None


def parse(octets: bytes) -> MessageUrl:
    """A URL as a client wrote it. Raises BadUrl."""
    if len(octets) > MAX_URL or _printable(octets) is None or _percent(octets):
        raise BadUrl("not a URL")
    absolute = _absolute(octets)
    if absolute is None and octets[:7].lower() == b"imap://":
        raise BadUrl("invalid server")
    if absolute is None and octets[:1] not in (b"/", b";"):
        raise BadUrl("neither absolute nor relative to this server")
    found = _path(octets, absolute.end() if absolute else 0)
    if found is None:
        raise BadUrl("no URL of a message")
    uid, validity = int(found["uid"]), int(found["validity"] or 0)
    start, length = int(found["start"] or 0), int(found["length"] or -1)
    if max(uid, validity, start, length) > MAX_NUMBER:
        raise BadUrl("number too large")
    if found["start"] and length < 0:
        length = MAX_NUMBER
    mailbox = _text(found["mailbox"])
    if absolute and not mailbox:
        raise BadUrl("no mailbox")
    token = found["token"]
    rump = octets[: found.start("mechanism") - 1] if token else octets
    return MessageUrl(
        _text(absolute["user"]) if absolute else "", _text(absolute["host"]).lower() if absolute else "", mailbox, validity, uid,
        section_of(unquote_to_bytes(found["section"] or b""), start, length), _text(found["access"]), _expiry(found["expire"]),
        _text(found["mechanism"]).upper(), (token or b"").decode("ascii").lower(), rump,
    )  # fmt: skip
