"""Data connections and transfers (RFC 959, 2428, 3659).

The data connection has the family of the control connection (LIS-17), and its other end is the client itself (RFC 2577).
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from mailstead.backup_tree.paths import shown
from mailstead.backup_tree.stored_message import StoredMessage
from mailstead.backup_tree.tar import write_tar
from mailstead.backup_tree.tree import Entry, Node
from mailstead.backup_tree.uploads import Refused
from mailstead.ftp_backup.commands.places import facts, file_at
from mailstead.ftp_backup.data_channel import Channel
from mailstead.ftp_backup.grammar import SyntaxRefused, read_eprt, read_port, unix_line
from mailstead.ftp_backup.session import Session

FLUSH_AT = 32 * 1024


def type_(session: Session, argument: str) -> str:
    """TYPE A or I."""
    word = argument.upper().split(" ")[0]
    if word not in ("A", "I", "L"):
        return "504 A and I are known"
    session.ascii = word == "A"
    return f"200 type is {word}"


def stru(session: Session, argument: str) -> str:
    """STRU F."""
    return "200 OK" if argument.upper() == "F" else "504 F is known"


def mode(session: Session, argument: str) -> str:
    """MODE S."""
    return "200 OK" if argument.upper() == "S" else "504 S is known"


def rest(session: Session, argument: str) -> str:
    """REST (RFC 3659 section 5), for the next RETR."""
    if not argument.isdigit() or len(argument) > 18:
        return "501 a number of octets is needed"
    session.rest = int(argument)
    return f"350 continuing at {session.rest}"


def allo(session: Session, argument: str) -> str:
    """ALLO: what the next STOR must bring; fewer octets are not stored."""
    word = argument.split(" ")[0]
    if not word.isdigit() or len(word) > 18:
        return "501 a number of octets is needed"
    session.expected = int(word)
    return "200 OK"


def _version(session: Session) -> int:
    return ipaddress.ip_address(session.link.peer[0]).version


def _context(session: Session) -> Any:
    return session.link.endpoint.ssl_context if session.protection == "P" else None


async def pasv(session: Session, argument: str) -> str:
    """PASV, on IPv4 only."""
    if session.only_extended:
        return "501 you said EPSV ALL"
    if _version(session) != 4:
        return "522 use EPSV on IPv6"
    port_number = await session.opener.listen(session.link.local[0], _context(session))
    numbers = [*session.link.local[0].split("."), str(port_number >> 8), str(port_number & 255)]
    return f"227 Entering Passive Mode ({','.join(numbers)})."


async def epsv(session: Session, argument: str) -> str:
    """EPSV (RFC 2428 section 3)."""
    word = argument.strip().upper()
    if word == "ALL":
        session.only_extended = True
        return "200 only EPSV from here on"
    version = _version(session)
    if word and word != ("1" if version == 4 else "2"):
        if word not in ("1", "2"):
            return "501 1 and 2 are known"
        return f"522 network protocol not supported, use ({1 if version == 4 else 2})"
    port_number = await session.opener.listen(session.link.local[0], _context(session))
    return f"229 Entering Extended Passive Mode (|||{port_number}|)"


def port(session: Session, argument: str) -> str:
    """PORT, to the client's own address only."""
    if session.only_extended:
        return "501 you said EPSV ALL"
    if _version(session) != 4:
        return "522 use EPRT on IPv6"
    return _target(session, *read_port(argument))


def eprt(session: Session, argument: str) -> str:
    """EPRT (RFC 2428 section 2), to the client's own address only."""
    if session.only_extended:
        return "501 you said EPSV ALL"
    host, number = read_eprt(argument)
    version = _version(session)
    if ipaddress.ip_address(host).version != version:
        return f"522 network protocol not supported, use ({1 if version == 4 else 2})"
    return _target(session, host, number)


def _target(session: Session, host: str, number: int) -> str:
    try:
        session.opener.target(host, number)
    except ValueError as error:
        raise SyntaxRefused(501, str(error)) from None
    return "200 OK"


async def _with_channel(session: Session, what: str, work: Callable[[Channel], Coroutine[Any, Any, str]]) -> str:
    """Open the data connection, run the transfer, close. Raises DataFailed, and what ``work`` does."""
    if not session.opener.chosen:
        return "425 use PASV, EPSV, PORT or EPRT first"
    session.reply(f"150 {what}")
    channel = await session.opener.open(session.link.local[0], _context(session))
    try:
        return await work(channel)
    except BaseException:
        channel.abort()
        raise


# -- listings -------------------------------------------------------------------------------------------------


def _argument(text: str) -> str:
    """The path of a LIST: many clients send options of ls."""
    words = text.split(" ", 1)
    while words and words[0].startswith("-"):
        words = words[1].split(" ", 1) if len(words) > 1 else []
    return " ".join(words)


async def _listing(session: Session, argument: str, line: Callable[[Entry, Node], str]) -> str:
    tree = session.the_tree()
    path = session.at(argument)
    if path in session.the_uploads().made:
        entries, node = _nothing(), Node("root")
    else:
        node = await tree.node(path)
        entries = tree.entries(node) if node.directory else _one(await tree.entry((await file_at(session, argument))[0]))

    async def work(channel: Channel) -> str:
        held: list[bytes] = []
        size = 0
        async for entry in entries:
            octets = line(entry, node).encode("utf-8", "surrogateescape") + b"\r\n"
            held.append(octets)
            size += len(octets)
            if size >= FLUSH_AT:
                await channel.send(b"".join(held))
                held, size = [], 0
        await channel.send(b"".join(held))
        await channel.finish()
        return "226 done"

    return await _with_channel(session, f"listing {shown(path)}", work)


async def _nothing() -> AsyncIterator[Entry]:
    nothing: tuple[Entry, ...] = ()
    for entry in nothing:
        yield entry


async def _one(entry: Entry) -> AsyncIterator[Entry]:
    yield entry


async def list_(session: Session, argument: str) -> str:
    """LIST, in the form of ls -l."""
    now = time.time()

    def line(entry: Entry, _node: Node) -> str:
        return unix_line(entry.name, directory=entry.directory, size=entry.size, modified=entry.modified, now=now)

    return await _listing(session, _argument(argument), line)


async def nlst(session: Session, argument: str) -> str:
    """NLST: names."""
    return await _listing(session, _argument(argument), lambda entry, _node: entry.name)


async def mlsd(session: Session, argument: str) -> str:
    """MLSD (RFC 3659 section 7)."""
    node = await session.the_tree().node(session.at(argument)) if session.at(argument) not in session.the_uploads().made else None
    if node is not None and not node.directory:
        raise SyntaxRefused(501, "MLSD is for directories")
    return await _listing(session, argument, lambda entry, node: f"{facts(session, entry, node)} {entry.name}")


# -- files ----------------------------------------------------------------------------------------------------


async def retr(session: Session, argument: str) -> str:
    """RETR, from REST's offset on."""
    start = session.rest
    node, entry = await file_at(session, argument)
    if start > entry.size:
        return "554 the file is shorter"
    pieces = await _octets(session, node, start)

    async def work(channel: Channel) -> str:
        async for piece in pieces:
            await channel.send(piece)
        await channel.finish()
        return "226 done"

    return await _with_channel(session, f"{entry.size - start} octets of {entry.name}", work)


async def _octets(session: Session, node: Node, start: int) -> AsyncIterator[bytes]:
    tree, mailbox = session.the_tree(), session.services.mailbox
    if node.what == "message":
        return mailbox.stream((await tree.message(node)).location, start)
    if node.what == "document":
        octets = await tree.document(node)
        return _whole(octets.replace(b"\n", b"\r\n") if session.ascii else octets, start)

    def stream(message: StoredMessage) -> AsyncIterator[bytes]:
        return mailbox.stream(message.location)

    return _from(write_tar(tree.messages(node), stream), start)


async def _whole(octets: bytes, start: int) -> AsyncIterator[bytes]:
    for position in range(start, len(octets), FLUSH_AT):
        yield octets[position : position + FLUSH_AT]


async def _from(pieces: AsyncIterator[bytes], start: int) -> AsyncIterator[bytes]:
    async for piece in pieces:
        if start >= len(piece):
            start -= len(piece)
        else:
            yield piece[start:]
            start = 0


async def stor(session: Session, argument: str) -> str:
    """STOR: restores. Of a message nothing is kept unless all of it came."""
    if session.rest:
        return "554 a file is restored whole"
    path = session.at(argument)
    uploads = session.the_uploads()
    await uploads.check(path)
    expected, got = session.expected, 0

    async def work(channel: Channel) -> str:
        async def receive() -> bytes:
            nonlocal got
            data = await channel.receive()
            got += len(data)
            if not data and expected >= 0 and got != expected:
                raise Refused(f"{got} octets came instead of {expected}")
            return data

        said = await uploads.store(path, receive)
        await channel.finish()
        return f"226 {said}"

    return await _with_channel(session, f"ready for {path[-1]}", work)
