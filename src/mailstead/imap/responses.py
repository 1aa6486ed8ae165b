"""What the server says: names, strings, sets and the replies to refusals, as octets.

Invariants: nothing a client or a message supplied reaches the wire unquoted; a reply is one line.
"""

from __future__ import annotations

import re

from mailstead.mailbox import errors
from mailstead.message import mutf7
from mailstead.message.imap_strings import quote

__all__ = ["Refusal", "astring", "encode_mailbox", "literal_size", "one_line", "quote", "refusal_of"]

_atom = re.compile(rb'[^\x00-\x20(){%*"\\\x7f-\xff]+').fullmatch
_control = re.compile(r"[\x00-\x1f\x7f]+").sub


class Refusal(Exception):
    """A command that is answered NO; `code` is a response code without brackets, or empty."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code

    def reply(self) -> bytes:
        """The reply after the tag."""
        code = f"[{self.code}] " if self.code else ""
        return f"NO {code}".encode("ascii") + one_line(str(self))


_CODES: tuple[tuple[type[errors.MailboxError], str], ...] = (
    (errors.FolderMissing, "NONEXISTENT"),
    (errors.FolderExists, "ALREADYEXISTS"),
    (errors.InvalidFolderName, "CANNOT"),
    (errors.FolderHasChildren, "HASCHILDREN"),
    (errors.RightMissing, "NOPERM"),
    (errors.NotPermitted, "CANNOT"),
    (errors.OverQuota, "OVERQUOTA"),
    (errors.LimitReached, "LIMIT"),
    (errors.StoreUnavailable, "UNAVAILABLE"),
    (errors.MessageMissing, "EXPUNGEISSUED"),
)


def refusal_of(error: errors.MailboxError) -> Refusal:
    """The NO with the response code (RFC 5530) for a refusal by the mailbox service."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return Refusal(str(error) or kind.__doc__ or "Refused", code)
    return Refusal(str(error) or "Refused")


def one_line(text: str) -> bytes:
    """`text` fit for the end of a reply: printable, at most 400 characters, never empty."""
    return _control(" ", text)[:400].encode("ascii", "replace") or b"-"


def astring(octets: bytes) -> bytes:
    """As an atom where possible, else as a string."""
    return octets if _atom(octets) and octets.upper() != b"NIL" else quote(octets)


def encode_mailbox(name: str, utf8: bool) -> bytes:
    """A mailbox name for the wire: UTF-8 once the client enabled it (RFC 9051 section 5.1), else modified UTF-7."""
    if not utf8:
        return astring(mutf7.encode(name))
    octets = name.encode("utf-8", "replace")
    if _atom(octets) and octets.upper() != b"NIL":
        return octets
    return b'"%b"' % octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def literal_size(size: int) -> bytes:
    """The head of a literal."""
    return b"{%d}\r\n" % size
