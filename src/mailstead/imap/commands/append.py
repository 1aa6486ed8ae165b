"""APPEND, MULTIAPPEND (RFC 9051 section 6.3.12, RFC 3502), CATENATE (RFC 4469): all of the messages or none."""

from __future__ import annotations

import time

from mailstead.imap import message_data, sequence_set
from mailstead.imap.grammar import Arguments
from mailstead.imap.message_data import Data
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.mailbox.model import NewMessage


async def append(session: Session, arguments: Arguments) -> bytes:
    """Put messages into a mailbox."""
    made: list[NewMessage] = []
    try:
        arguments.space()
        name = session.folder_name(arguments.astring())
        now = int(time.time())
        wanted: list[Data] = []
        while True:
            arguments.space()
            wanted.append(message_data.parse(session, arguments))
            if arguments.at_end():
                break
        arguments.literals.clear()
        mailbox = session.services.mailbox
        folder = await mailbox.folder(session.account_id, name)
        if folder is None:
            raise Refusal("No such mailbox", "TRYCREATE")
        for data in wanted:
            made.append(await message_data.message(session, data, now))
        given, made = made, []
        result = await mailbox.append(folder, given, origin=session.selected)
        session.spools.clear()
    finally:
        message_data.abandon(session, made)
    return b"OK [APPENDUID %d %b] APPEND completed" % (result.uidvalidity, sequence_set.compact(result.uids))
