"""APPEND and MULTIAPPEND (RFC 9051 section 6.3.12, RFC 3502): all of the messages or none."""

from __future__ import annotations

import asyncio
import re
import time

from mailstead.imap import flags, sequence_set
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.mailbox.model import NewMessage

_bare_lf = re.compile(rb"(?<!\r)\n").sub
_bare_cr = re.compile(rb"\r(?!\n)").sub
_LARGE = 256 * 1024


def canonical(octets: bytes) -> bytes:
    """`octets` with CRLF at every line end."""
    pairs = octets.count(b"\r\n")
    if pairs != octets.count(b"\n"):
        octets = _bare_lf(b"\r\n", octets)
    if octets.count(b"\r") != octets.count(b"\n"):
        octets = _bare_cr(b"\r\n", octets)
    return octets


def _message(arguments: Arguments, now: int) -> NewMessage:
    names: tuple[str, ...] = ()
    date = now
    if arguments.peek() == b"(":
        names = flags.normalise(arguments.flags())
        arguments.space()
    if arguments.peek() == b'"':
        date = arguments.date_time()
        arguments.space()
    return NewMessage(arguments.literal(), names, date)


async def append(session: Session, arguments: Arguments) -> bytes:
    """Put messages into a mailbox."""
    arguments.space()
    name = session.folder_name(arguments.astring())
    now = int(time.time())
    messages: list[NewMessage] = []
    while True:
        arguments.space()
        messages.append(_message(arguments, now))
        if arguments.at_end():
            break
    arguments.literals.clear()
    for message in messages:
        if not message.octets:
            raise BadSyntax("Empty message")
        if len(message.octets) > _LARGE:
            message.octets = await asyncio.to_thread(canonical, message.octets)
        else:
            message.octets = canonical(message.octets)
    mailbox = session.services.mailbox
    folder = await mailbox.folder(session.account_id, name)
    if folder is None:
        raise Refusal("No such mailbox", "TRYCREATE")
    result = await mailbox.append(folder, messages, origin=session.selected)
    return b"OK [APPENDUID %d %b] APPEND completed" % (result.uidvalidity, sequence_set.compact(result.uids))
