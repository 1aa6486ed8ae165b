"""APPEND and MULTIAPPEND (RFC 9051 section 6.3.12, RFC 3502): all of the messages or none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from mailstead.imap import flags, sequence_set
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.imap.spooled import canonical
from mailstead.mailbox.model import NewMessage

if TYPE_CHECKING:
    from mailstead.store.spool import Spool


def _message(session: Session, arguments: Arguments, now: int) -> NewMessage:
    names: tuple[str, ...] = ()
    date = now
    if arguments.peek() == b"(":
        names = flags.normalise(arguments.flags())
        arguments.space()
    if arguments.peek() == b'"':
        date = arguments.date_time()
        arguments.space()
    octets, place, binary = arguments.literal()
    spooled = session.spools.get(place)
    if spooled is None:
        if not octets:
            raise BadSyntax("Empty message")
        return NewMessage(canonical(octets), names, date)
    if spooled.has_nul and not binary:
        raise BadSyntax("NUL in a literal")
    spooled.end()
    return NewMessage(b"", names, date, cast("Spool", spooled.spool))


async def append(session: Session, arguments: Arguments) -> bytes:
    """Put messages into a mailbox."""
    try:
        arguments.space()
        name = session.folder_name(arguments.astring())
        now = int(time.time())
        messages: list[NewMessage] = []
        while True:
            arguments.space()
            messages.append(_message(session, arguments, now))
            if arguments.at_end():
                break
        arguments.literals.clear()
        mailbox = session.services.mailbox
        folder = await mailbox.folder(session.account_id, name)
        if folder is None:
            raise Refusal("No such mailbox", "TRYCREATE")
        result = await mailbox.append(folder, messages, origin=session.selected)
        session.spools.clear()
    finally:
        session.spools.drop()
    return b"OK [APPENDUID %d %b] APPEND completed" % (result.uidvalidity, sequence_set.compact(result.uids))
