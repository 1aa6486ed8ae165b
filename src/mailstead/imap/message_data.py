"""The message of an APPEND or REPLACE: flags, date, and a literal, UTF8 data (RFC 6855) or CATENATE (RFC 4469).

Invariants: what is stored has CRLF at every line end, but a literal8 is stored as it came (RFC 3516 section 4.4); a
message put together has at most the size an appended one may have, and no more than one buffer of it is in memory; a
piece that cannot be had is BADURL, and nothing is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from mailstead.imap import flags, message_source, url
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.literals import SPOOL_AT, append_limit
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.imap.url import BadUrl, MessageUrl
from mailstead.mailbox.model import Folder, NewMessage
from mailstead.message.line_ends import canonical
from mailstead.store.record import DamagedRecord

if TYPE_CHECKING:
    from mailstead.store.spool import Spool

MAX_PARTS = 1000
BUFFER = 256 * 1024


@dataclass(slots=True)
class Text:
    """One literal of a command: its place, and its octets unless they are in a spool."""

    octets: bytes
    place: int
    binary: bool


@dataclass(slots=True)
class Data:
    """A message as the command describes it; `parts` are literals and URLs."""

    flags: tuple[str, ...] = ()
    date: int = 0
    parts: list[Text | bytes] = field(default_factory=list)
    catenated: bool = False


def _text(session: Session, arguments: Arguments, utf8: bool = False) -> Text:
    octets, place, binary = arguments.literal()
    spooled = session.spools.get(place)
    if utf8 and not binary:
        raise BadSyntax("UTF8 needs a literal8")
    if utf8 and b"\0" in octets:
        raise BadSyntax("NUL in UTF8 data")
    if spooled is not None and spooled.has_nul and (utf8 or not binary):
        raise BadSyntax("NUL in a literal")
    return Text(octets, place, binary and not utf8)


def parse(session: Session, arguments: Arguments) -> Data:
    """The message at the cursor. Raises BadSyntax."""
    data = Data()
    if arguments.peek() == b"(":
        data.flags = flags.normalise(arguments.flags())
        arguments.space()
    if arguments.peek() == b'"':
        data.date = arguments.date_time()
        arguments.space()
    word = arguments.word()
    if not word:
        data.parts.append(_text(session, arguments))
        return data
    if word not in (b"UTF8", b"CATENATE"):
        raise BadSyntax("Expected a message")
    arguments.space()
    arguments.expect(b"(")
    if word == b"UTF8":
        data.parts.append(_text(session, arguments, utf8=True))
        arguments.expect(b")")
        return data
    data.catenated = True
    while True:
        kind = arguments.keyword()
        arguments.space()
        if kind == b"TEXT":
            data.parts.append(_text(session, arguments))
        elif kind == b"URL":
            data.parts.append(arguments.astring())
        else:
            raise BadSyntax("Expected TEXT or URL")
        if arguments.skip(b")"):
            return data
        arguments.space()
        if len(data.parts) >= MAX_PARTS:
            raise BadSyntax("Too many parts")


async def message(session: Session, data: Data, now: int) -> NewMessage:
    """The message made of its parts. Raises Refusal (BADURL, TOOBIG), OSError."""
    date = data.date or now
    if data.catenated:
        return await _catenated(session, data, date)
    text = cast(Text, data.parts[0])
    spooled = session.spools.get(text.place)
    if spooled is None:
        if not text.octets:
            raise BadSyntax("Empty message")
        return NewMessage(text.octets if text.binary else canonical(text.octets), data.flags, date)
    spooled.end()
    return NewMessage(b"", data.flags, date, cast("Spool", spooled.spool))


def bad_url(octets: bytes, error: BadUrl) -> Refusal:
    """NO [BADURL] for a URL as the client wrote it (RFC 4469 section 4)."""
    fits = octets.isascii() and octets.decode("ascii").isprintable() and b"]" not in octets and len(octets) <= url.MAX_URL
    return Refusal(f"URL refused: {error}", "BADURL " + (octets.decode("ascii") if fits else "?"))


async def _catenated(session: Session, data: Data, date: int) -> NewMessage:
    """Put the parts together, in a spool once they are large."""
    limit = append_limit(session)
    held: list[bytes] = []
    size = 0
    spool: Spool | None = None

    async def add(octets: bytes) -> None:
        nonlocal size, spool
        size += len(octets)
        if size > limit:
            raise Refusal("Message too large", "TOOBIG")
        if spool is not None:
            await spool.write(octets)
        else:
            held.append(octets)
            if size > SPOOL_AT:
                spool = session.services.mailbox.spool()
                await spool.write(b"".join(held))
                held.clear()

    try:
        for part in data.parts:
            if isinstance(part, bytes):
                await _add_url(session, part, add, limit - size)
                continue
            spooled = session.spools.get(part.place)
            if spooled is None:
                await add(part.octets if part.binary else canonical(part.octets))
            else:
                spooled.end()
                await spooled.flush()
                source = cast("Spool", spooled.spool)
                for start in range(0, source.size, BUFFER):
                    await add(await asyncio.to_thread(source.read, start, BUFFER))
    except BaseException:
        if spool is not None:
            spool.abandon()
        raise
    if not size:
        raise BadSyntax("Empty message")
    return NewMessage(b"".join(held), data.flags, date, spool)


async def _add_url(session: Session, octets: bytes, add: Callable[[bytes], Awaitable[None]], room: int) -> None:
    mailbox = session.services.mailbox
    try:
        found = url.parse(octets)
        folder = await folder_of(session, found)
        stored = await message_source.find(mailbox, folder, found)
        piece = await message_source.piece(mailbox, stored, found.section)
        if piece.size > room:
            raise Refusal("Message too large", "TOOBIG")
        if piece.octets is not None:
            await add(piece.octets)
            return
        async for chunk in mailbox.stream(stored.location, piece.start, piece.end - piece.start):
            await add(chunk)
    except BadUrl as error:
        raise bad_url(octets, error) from None
    except DamagedRecord:
        raise bad_url(octets, BadUrl("the message cannot be read")) from None


async def folder_of(session: Session, found: MessageUrl) -> Folder:
    """The folder a URL of the session's own names (RFC 4469 section 3). Raises BadUrl."""
    if found.host and found.host not in own_names(session):
        raise BadUrl("another server's")
    if found.user and found.user.lower() != session.account_name.lower():
        raise BadUrl("another user's")
    if not found.mailbox:
        if session.selected is None:
            raise BadUrl("no mailbox is selected")
        return session.selected.folder
    name = session.names.stored(found.mailbox) if session.names is not None else found.mailbox
    folder = await session.services.mailbox.folder(session.account_id, name)
    if folder is None:
        raise BadUrl("no such mailbox")
    return folder


def own_names(session: Session) -> set[str]:
    """Names a client may have for this server, in lower case."""
    names = {"localhost", session.link.local[0].lower(), f"[{session.link.local[0].lower()}]"}
    listener = session.link.endpoint.listener_domain
    if listener:
        names.add(listener.lower())
    names.add(session.account_name.rpartition("@")[2].lower())
    return names - {""}


def abandon(session: Session, made: list[NewMessage]) -> None:
    """Forget what was put together or received and was not stored."""
    received = {id(sink.spool) for sink in session.spools.values()}
    for new in made:
        if new.spool is not None and id(new.spool) not in received:
            new.spool.abandon()
    session.spools.drop()
