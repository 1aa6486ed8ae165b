"""The rendered IMAP ENVELOPE (RFC 3501 section 7.4.2, RFC 9051 section 7.5.2).

Invariants
- Output is one balanced parenthesised list of ten items, 7-bit and without
  NUL outside literals.
- Sender and Reply-To default to From; an absent field is NIL.
- Encoded words are shown as they are: decoding is the client's.
"""

from collections.abc import Mapping
from functools import lru_cache

from .addresses import Address, parse_addresses
from .headers import unfold
from .imap_strings import nstring, quote

#: Octets of one address field that are read.
MAX_ADDRESS_FIELD = 64 * 1024
_CACHED = 300


def _render_one(entry: Address) -> bytes:
    name, route, mailbox, host = entry
    if mailbox is None:
        return b"(NIL NIL NIL NIL)"
    if host is None:
        return b"(NIL NIL %b NIL)" % quote(mailbox)
    return b"(%b %b %b %b)" % (nstring(name), nstring(route), quote(mailbox), quote(host))


def _render(value: bytes) -> tuple[bytes, str]:
    entries = parse_addresses(unfold(value[:MAX_ADDRESS_FIELD]))
    if not entries:
        return b"", ""
    first = next((entry.mailbox for entry in entries if entry.host is not None and entry.mailbox), b"")
    return b"".join(map(_render_one, entries)), first.decode("utf-8", "replace").upper()


_render_cached = lru_cache(4096)(_render)


def render_addresses(value: bytes) -> tuple[bytes, str]:
    """(rendered addresses without the outer parentheses, RFC 5256 sort key) of an address field's raw value."""
    return _render_cached(value) if len(value) <= _CACHED else _render(value)


def render_envelope(fields: Mapping[bytes, bytes], more: Mapping[bytes, list[bytes]] | None = None) -> tuple[bytes, str, str, str]:
    """(ENVELOPE, sort keys of From, To and Cc) from raw field values by lower-case name.

    `more` holds the values of second and later address fields of the same name.
    """
    get = fields.get
    rendered: list[bytes] = []
    keys: list[str] = []
    for name in (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"):
        value = get(name)
        if value is None:
            rendered.append(b"NIL")
            keys.append("")
            continue
        text, key = _render_cached(value) if len(value) <= _CACHED else _render(value)
        if more and name in more:
            text = b"".join([text, *(render_addresses(again)[0] for again in more[name])])
        rendered.append(b"(%b)" % text if text else b"NIL")
        keys.append(key)
    sender = rendered[0]
    date, subject, reply, identity = (
        None if value is None else unfold(value)
        for value in (get(b"date"), get(b"subject"), get(b"in-reply-to"), get(b"message-id"))
    )
    envelope = b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(date),
        nstring(subject),
        sender,
        sender if rendered[1] == b"NIL" else rendered[1],
        sender if rendered[2] == b"NIL" else rendered[2],
        rendered[3],
        rendered[4],
        rendered[5],
        nstring(reply),
        nstring(identity),
    )
    return envelope, keys[0], keys[3], keys[4]
