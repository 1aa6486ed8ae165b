"""STATUS (RFC 9051 section 6.3.11; SIZE of RFC 8438, DELETED and DELETED-STORAGE of RFC 9208, MAILBOXID of RFC 8474,
HIGHESTMODSEQ of RFC 7162, APPENDLIMIT of RFC 7889).

Invariants: items come in the order in which they were asked for, each once; counting what EXPUNGE would free reads rows
in slices.
"""

from __future__ import annotations

import asyncio

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.literals import append_limit
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.mailbox.model import DELETED, Folder

#: Messages whose sizes are read at a time.
_SLICE = 500
_ITEMS = {
    b"MESSAGES": "messages", b"UIDNEXT": "uidnext", b"UIDVALIDITY": "uidvalidity", b"UNSEEN": "unseen",
    b"DELETED": "deleted", b"SIZE": "size", b"HIGHESTMODSEQ": "highest_modseq", b"RECENT": "",
}  # fmt: skip
_OTHERS = (b"APPENDLIMIT", b"DELETED-STORAGE", b"MAILBOXID")


def parse_items(arguments: Arguments) -> tuple[bytes, ...]:
    """The parenthesised item list. Raises BadSyntax."""
    arguments.expect(b"(")
    names: dict[bytes, None] = {}
    while True:
        name = arguments.keyword()
        if name not in _ITEMS and name not in _OTHERS:
            raise BadSyntax("Unknown STATUS item")
        names[name] = None
        if arguments.skip(b")"):
            return tuple(names)
        arguments.space()


async def _deleted_storage(session: Session, folder: Folder) -> int:
    """Octets of the messages that are marked \\Deleted (RFC 9208 section 4.1.4)."""
    mailbox = session.services.mailbox
    view = await mailbox.open(folder)
    try:
        while not view.is_durable:
            await view.durable()
        uids = [uid for uid, flags in zip(view.uids, view.flags, strict=True) if flags & DELETED]
        total = 0
        for start in range(0, len(uids), _SLICE):
            total += sum(size for _, size in mailbox.rows(view, uids[start : start + _SLICE], ("size",)))
            await asyncio.sleep(0)
        return total
    finally:
        view.release()


async def respond(session: Session, folder: Folder, items: tuple[bytes, ...]) -> None:
    """Write the STATUS response of a folder."""
    counters = await session.services.mailbox.status(folder)
    words = []
    for name in items:
        if name == b"MAILBOXID":
            words.append(b"MAILBOXID (F%d)" % folder.id)
            continue
        if name == b"APPENDLIMIT":
            value = append_limit(session)
        elif name == b"DELETED-STORAGE":
            value = await _deleted_storage(session, folder) if counters.deleted else 0
        else:
            value = getattr(counters, _ITEMS[name]) if _ITEMS[name] else 0
        words.append(b"%b %d" % (name, value))
    session.untagged(b"STATUS %b (%b)" % (session.mailbox_text(folder.name), b" ".join(words)))


async def status(session: Session, arguments: Arguments) -> bytes:
    """Counters of a mailbox that is not selected (or is)."""
    arguments.space()
    name = session.folder_name(arguments.astring())
    arguments.space()
    items = parse_items(arguments)
    arguments.end()
    folder = await session.services.mailbox.folder(session.account_id, name)
    if folder is None:
        raise Refusal("No such mailbox", "NONEXISTENT")
    if b"HIGHESTMODSEQ" in items:
        session.condstore = True
    await respond(session, folder, items)
    return b"OK STATUS completed"
