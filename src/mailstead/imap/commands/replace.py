"""REPLACE and UID REPLACE (RFC 8508): a message is appended and another removed, whole or absent."""

from __future__ import annotations

import time

from mailstead.imap import message_data, sequence_set
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.mailbox.model import NewMessage


def _uid(session: Session, arguments: Arguments, by_uid: bool) -> int:
    """The message to be replaced. Raises BadSyntax, Refusal."""
    octets = arguments.sequence_set()
    if not octets.isdigit() and octets != b"*":
        raise BadSyntax("Expected one message")
    selected = session.mailbox
    ranges = selected.resolve(octets, by_uid)
    if sequence_set.total(ranges) != 1:
        raise Refusal("No such message", "NONEXISTENT")
    uid = selected.uids[ranges[0][0]]
    if by_uid and octets != b"*" and uid != int(octets):
        raise Refusal("No such message", "NONEXISTENT")
    if selected.view.index(uid) < 0:
        raise Refusal("The message no longer exists", "EXPUNGEISSUED")
    return uid


async def _replace(session: Session, arguments: Arguments, by_uid: bool) -> bytes:
    made: list[NewMessage] = []
    try:
        arguments.space()
        uid = _uid(session, arguments, by_uid)
        arguments.space()
        name = session.folder_name(arguments.astring())
        arguments.space()
        data = message_data.parse(session, arguments)
        arguments.end()
        selected = session.writable()
        arguments.literals.clear()
        mailbox = session.services.mailbox
        folder = await mailbox.folder(session.account_id, name)
        if folder is None:
            raise Refusal("No such mailbox", "TRYCREATE")
        made.append(await message_data.message(session, data, int(time.time())))
        new = made.pop()
        result = await mailbox.replace(selected.view, uid, folder, new, origin=selected)
        session.spools.clear()
    finally:
        message_data.abandon(session, made)
    code = b"APPENDUID %d %b" % (result.uidvalidity, sequence_set.compact(result.uids))
    session.untagged(b"OK [%b] Replacement message ready" % code)
    await session.tell_news(allow_expunge=True)
    if session.qresync and folder.id == selected.folder.id:
        return b"OK [HIGHESTMODSEQ %d] REPLACE completed" % selected.view.highest_modseq
    return b"OK REPLACE completed"


async def replace(session: Session, arguments: Arguments) -> bytes:
    """Replace a message by number."""
    return await _replace(session, arguments, by_uid=False)


async def uid_replace(session: Session, arguments: Arguments) -> bytes:
    """Replace a message by UID."""
    return await _replace(session, arguments, by_uid=True)
