"""STATUS (RFC 9051 section 6.3.11, STATUS=SIZE of RFC 8438, DELETED, HIGHESTMODSEQ)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.literals import append_limit
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.mailbox.model import Folder

_ITEMS = {
    b"MESSAGES": "messages", b"UIDNEXT": "uidnext", b"UIDVALIDITY": "uidvalidity", b"UNSEEN": "unseen",
    b"DELETED": "deleted", b"SIZE": "size", b"HIGHESTMODSEQ": "highest_modseq", b"RECENT": "",
}  # fmt: skip


def parse_items(arguments: Arguments) -> tuple[bytes, ...]:
    """The parenthesised item list. Raises BadSyntax."""
    arguments.expect(b"(")
    names: dict[bytes, None] = {}
    while True:
        name = arguments.keyword()
        if name == b"APPENDLIMIT":
            names[name] = None
        elif name not in _ITEMS:
            raise BadSyntax("Unknown STATUS item")
        names[name] = None
        if arguments.skip(b")"):
            return tuple(names)
        arguments.space()


async def respond(session: Session, folder: Folder, items: tuple[bytes, ...]) -> None:
    """Write the STATUS response of a folder."""
    counters = await session.services.mailbox.status(folder)
    words = []
    for name in items:
        if name == b"APPENDLIMIT":
            value = append_limit(session)
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
