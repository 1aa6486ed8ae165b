"""The commands of POP3, one small family a file; ``table`` joins them."""

from __future__ import annotations

from mailstead.pop3.commands import auth, capa, listing, login, quit_, retrieve, stls, update
from mailstead.pop3.session import Entry


def table() -> dict[bytes, Entry]:
    """Keyword to entry."""
    return {
        b"CAPA": Entry(capa.capa, authorization=True, transaction=True),
        b"USER": Entry(login.user, authorization=True),
        b"PASS": Entry(login.password, authorization=True),
        b"AUTH": Entry(auth.auth, authorization=True),
        b"STLS": Entry(stls.stls, authorization=True),
        b"QUIT": Entry(quit_.quit_, authorization=True, transaction=True),
        b"STAT": Entry(listing.stat, transaction=True),
        b"LIST": Entry(listing.list_, transaction=True),
        b"UIDL": Entry(listing.uidl, transaction=True),
        b"RETR": Entry(retrieve.retr, transaction=True),
        b"TOP": Entry(retrieve.top_, transaction=True),
        b"DELE": Entry(update.dele, transaction=True),
        b"RSET": Entry(update.rset, transaction=True),
        b"NOOP": Entry(update.noop, transaction=True),
        b"LANG": Entry(capa.lang, authorization=True, transaction=True),
        b"UTF8": Entry(capa.utf8, authorization=True),
    }
