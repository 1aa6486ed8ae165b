"""GENURLAUTH, URLFETCH and RESETKEY (RFC 4467; partial ones RFC 5550, the extended form of URLFETCH RFC 5524).

Invariants: a token is an HMAC-SHA256 over the URL in front of it under the secret of its author and mailbox, which no
client ever sees; a URL gives what its author may read at the time of the fetch, to those its access identifier names,
until it expires; why a URL gives nothing is not told.

"submit+" names a submission server: none logs in here, so that such URLs give nothing.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass, replace
from hashlib import sha256

from mailstead.imap import message_source, url
from mailstead.imap.body import SMALL, Stored, without_nul
from mailstead.imap.fetch_items import Body
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.literals import append_limit
from mailstead.imap.localized import names_of
from mailstead.imap.message_source import Piece
from mailstead.imap.responses import Refusal, astring
from mailstead.imap.session import Session
from mailstead.imap.streaming import stream
from mailstead.imap.url import BadUrl, MessageUrl
from mailstead.mailbox.model import Folder
from mailstead.message.index import index_message

INTERNAL = "INTERNAL"
MAX_URLS = 100
_WANTS = frozenset((b"BODY", b"BINARY", b"BODYPARTSTRUCTURE"))


@dataclass(slots=True)
class Request:
    """One URL of URLFETCH; `wants` is empty in the simple form."""

    octets: bytes
    wants: list[bytes]


def _token(key: bytes, rump: bytes) -> str:
    return hmac.new(key, rump, sha256).hexdigest()


def _account_of(session: Session, name: str) -> int:
    """The account of a name in a URL, 0 for none."""
    if name.lower() == session.account_name.lower():
        return session.account_id
    directory = session.services.directory
    account = directory.account_by_login(name, session.link.endpoint.listener_domain) if directory is not None else None
    return account.id if account is not None and account.enabled else 0


async def _folder_of(session: Session, author: int, name: str) -> Folder | None:
    """The folder that the author of a URL knows by a name."""
    names = session.names
    if author != session.account_id:
        names = names_of(session.services, session.services.directory.account(author))
    return await session.services.mailbox.folder(author, names.stored(name) if names is not None else name)


def _check_rump(session: Session, found: MessageUrl) -> None:
    """Whether the session may sign it. Raises BadUrl."""
    if not found.host or not found.user:
        raise BadUrl("not absolute, or without a user")
    if not found.access or found.token or found.mechanism:
        raise BadUrl("not a URL to be signed")
    kind, plus, name = found.access.partition("+")
    if (kind.lower(), bool(plus and name)) not in (("authuser", False), ("anonymous", False), ("user", True), ("submit", True)):
        raise BadUrl("unknown access identifier")
    if not plus and name:
        raise BadUrl("unknown access identifier")
    if _account_of(session, found.user) != session.account_id:
        raise BadUrl("another user's")


async def _signed(session: Session, octets: bytes) -> bytes:
    try:
        found = url.parse(octets)
        _check_rump(session, found)
        folder = await _folder_of(session, session.account_id, found.mailbox)
        if folder is None or "r" not in folder.rights:
            raise BadUrl("no such mailbox")
        if found.uidvalidity and found.uidvalidity != folder.uidvalidity:
            raise BadUrl("the mailbox is another one by now")
    except BadUrl as error:
        # RFC 4467 section 7 wants BAD for all that cannot be signed.
        raise BadSyntax(f"URL refused: {error}") from None
    key = await session.services.mailbox.ensure_url_key(session.account_id, folder)
    return b"%b:internal:%b" % (octets, _token(key, octets).encode("ascii"))


async def genurlauth(session: Session, arguments: Arguments) -> bytes:
    """Sign URLs."""
    wanted: list[bytes] = []
    while not arguments.at_end():
        arguments.space()
        wanted.append(arguments.astring())
        arguments.space()
        if arguments.keyword() != b"INTERNAL":
            raise Refusal("Unknown mechanism", "URLMECH INTERNAL")
        if len(wanted) > MAX_URLS:
            raise BadSyntax("Too many URLs")
    if not wanted:
        raise BadSyntax("Missing argument")
    signed = [await _signed(session, octets) for octets in wanted]
    session.untagged(b"GENURLAUTH " + b" ".join(map(astring, signed)))
    return b"OK GENURLAUTH completed"


async def resetkey(session: Session, arguments: Arguments) -> bytes:
    """Make signed URLs invalid: those of a mailbox, or all."""
    if arguments.at_end():
        await session.services.mailbox.reset_url_keys(session.account_id, None)
        return b"OK [URLMECH INTERNAL] All keys removed"
    arguments.space()
    name = session.folder_name(arguments.astring())
    mechanisms: list[bytes] = []
    while not arguments.at_end():
        arguments.space()
        mechanisms.append(arguments.keyword())
    folder = await session.services.mailbox.folder(session.account_id, name)
    if folder is None:
        raise Refusal("No such mailbox", "NONEXISTENT")
    if not mechanisms or b"INTERNAL" in mechanisms:
        await session.services.mailbox.reset_url_keys(session.account_id, folder)
    return b"OK [URLMECH INTERNAL] Key removed"


# ---- URLFETCH ---------------------------------------------------------------------------------------------------


def _request(arguments: Arguments) -> Request:
    if not arguments.skip(b"("):
        return Request(arguments.astring(), [])
    request = Request(arguments.astring(), [])
    while not arguments.skip(b")"):
        arguments.space()
        word = arguments.keyword()
        if word not in _WANTS or word in request.wants:
            raise BadSyntax("Invalid URLFETCH parameter")
        request.wants.append(word)
    if {b"BODY", b"BINARY"} <= set(request.wants):
        raise BadSyntax("BODY and BINARY exclude each other")
    return request


async def _authorized(session: Session, octets: bytes) -> tuple[MessageUrl, Folder]:
    """The URL and its folder, if it may be fetched now by this session. Raises BadUrl."""
    found = url.parse(octets)
    if not found.token or found.mechanism != INTERNAL or not found.user:
        raise BadUrl("not signed")
    if found.expires and found.expires <= time.time():
        raise BadUrl("expired")
    kind, _, name = found.access.partition("+")
    if kind.lower() == "user":
        if _account_of(session, name) != session.account_id:
            raise BadUrl("for somebody else")
    elif found.access.lower() not in ("authuser", "anonymous"):
        raise BadUrl("for submission servers")
    author = _account_of(session, found.user)
    folder = await _folder_of(session, author, found.mailbox) if author else None
    key = session.services.mailbox.url_key(author, folder) if folder is not None else None
    if folder is None or key is None or not hmac.compare_digest(_token(key, found.rump), found.token):
        raise BadUrl("not valid")
    return found, folder


async def _structure(session: Session, stored: Stored, item: Body) -> bytes:
    """BODYSTRUCTURE of the part alone."""
    whole = replace(item, start=0, length=-1, text="", binary=False)
    octets = b""
    if item.part:
        mime = await message_source.piece(session.services.mailbox, stored, replace(whole, text="MIME"))
        octets = await message_source.octets(session.services.mailbox, mime)
    found = await message_source.piece(session.services.mailbox, stored, whole)
    if found.size > append_limit(session):
        raise BadUrl("too large")
    octets += await message_source.octets(session.services.mailbox, found)
    if len(octets) > SMALL:
        return (await asyncio.to_thread(index_message, octets)).bodystructure
    return index_message(octets).bodystructure


async def _load(session: Session, found: Piece) -> bytes | None:
    """The octets of a piece that is sent in one go, None for one that is streamed. Raises BadUrl."""
    if found.octets is not None or found.size <= SMALL:
        return await message_source.octets(session.services.mailbox, found)
    return None


async def _send(session: Session, found: Piece, octets: bytes | None, binary: bool) -> None:
    """The octets as an nstring."""
    if octets is None:
        session.emit(b"{%d}\r\n" % found.size)
        await stream(session, found.stored.location, found.start, found.end)
    elif binary and b"\0" in octets:
        session.emit(b"~{%d}\r\n%b" % (len(octets), octets))
    else:
        session.emit(b"{%d}\r\n%b" % (len(octets), without_nul(octets)))
    await session.pace()


async def _fetch(session: Session, request: Request) -> None:
    session.emit(b" " + astring(request.octets))
    mailbox = session.services.mailbox
    try:
        found, folder = await _authorized(session, request.octets)
        stored = await message_source.find(mailbox, folder, found)
        if not request.wants:
            piece = await message_source.piece(mailbox, stored, found.section)
            octets = await _load(session, piece)
        elif b"BODYPARTSTRUCTURE" in request.wants:
            structure = await _structure(session, stored, found.section)
    except BadUrl as error:
        session.link.log.debug("URL gives nothing", reason=str(error))
        session.emit(b" NIL")
        return
    if not request.wants:
        session.emit(b" ")
        await _send(session, piece, octets, binary=False)
        return
    for word in request.wants:
        session.emit(b" (%b " % word)
        if word == b"BODYPARTSTRUCTURE":
            session.emit(structure)
        else:
            binary = word == b"BINARY" and not found.section.text
            try:
                piece = await message_source.piece(mailbox, stored, replace(found.section, binary=binary))
                octets = await _load(session, piece)
            except (BadUrl, Refusal):  # there is none, or its transfer encoding is unknown (RFC 5524 section 3)
                session.emit(b"NIL")
            else:
                await _send(session, piece, octets, binary)
        session.emit(b")")


async def urlfetch(session: Session, arguments: Arguments) -> bytes:
    """Octets of signed URLs; NIL for those that give nothing."""
    requests: list[Request] = []
    while not arguments.at_end():
        arguments.space()
        requests.append(_request(arguments))
        if len(requests) > MAX_URLS:
            raise BadSyntax("Too many URLs")
    if not requests:
        raise BadSyntax("Missing argument")
    session.emit(b"* URLFETCH")
    for request in requests:
        await _fetch(session, request)
    session.emit(b"\r\n")
    return b"OK URLFETCH completed"
