"""Octets as IMAP strings (RFC 3501 section 4.3, RFC 9051 section 4.3).

Invariants
- A quoted string holds 7-bit octets without CR, LF and NUL, quotes and
  backslashes escaped; everything else becomes a literal.
- NUL is never emitted: RFC 3501 has no way to say it.
"""

import re

_special = re.compile(rb'[\x00\r\n"\\\x80-\xff]').search


def quote(value: bytes) -> bytes:
    """`value` as a quoted string or, where that cannot hold it, a literal."""
    if _special(value) is None:
        return b'"%b"' % value
    value = value.replace(b"\0", b"")
    if not value.isascii() or b"\n" in value or b"\r" in value:
        return b"{%d}\r\n%b" % (len(value), value)
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def nstring(value: bytes | None) -> bytes:
    """`value` as an IMAP nstring: NIL for None."""
    return b"NIL" if value is None else quote(value)
