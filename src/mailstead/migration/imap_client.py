"""A client of IMAP servers for migration: log in, list, read messages with flags and dates, remove what was copied.

Invariants: no password is sent before TLS where TLS was asked for; a message larger than `INLINE` goes to the store's
spool while it arrives, one larger than `MAX_MESSAGE` breaks the connection; a server that sends without end is left.

Speaks to IMAP4rev1 and IMAP4rev2 servers (RFC 3501, RFC 9051); uses ESEARCH, SPECIAL-USE, LIST-EXTENDED, NAMESPACE,
CONDSTORE and UIDPLUS where they are offered.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mailstead.message import mutf7
from mailstead.message.line_ends import LineEnds, canonical
from mailstead.migration.fetched import Fetched, fetched
from mailstead.migration.folder_names import SourceFolder
from mailstead.migration.imap_response import (
    Atom,
    BadResponse,
    Large,
    Piece,
    Status,
    Value,
    compact,
    literal,
    number,
    number_set,
    status,
    text,
    values,
)
from mailstead.migration.imap_stream import ImapStream, RemoteBroken, RemoteError
from mailstead.migration.remote import Remote
from mailstead.queue.tls_contexts import client_context
from mailstead.store.spool import INLINE_LIMIT, Spool

INLINE = INLINE_LIMIT
MAX_MESSAGE = 1 << 30
MAX_LINE = 32 << 20
MAX_LITERAL = 256 * 1024
MAX_RESPONSES = 4_000_000
MAX_FOLDERS = 20_000
MAX_MESSAGES = 10_000_000
PIECE = 128 * 1024

_PRINTABLE = re.compile(rb"[ -~]*").fullmatch
_tls_versions = frozenset(("tls1_2", "tls1_3"))


class Refused(Exception):
    """The server said NO or BAD; `code` is its response code."""

    def __init__(self, command: str, answer: Status) -> None:
        super().__init__(f"{command}: {answer.word} {answer.text}".rstrip())
        self.code = answer.code.upper()
        self.word = answer.word
        self.text = answer.text


class LoginRefused(Refused):
    """Name or password are wrong, or the server lets nobody in this way."""


@dataclass(frozen=True, slots=True)
class Selected:
    """An open folder; `highest_modseq` 0: the server keeps none."""

    uidvalidity: int
    exists: int
    highest_modseq: int


class ImapClient:
    """Use `connect`, then `login`; `spool` makes a spool for a large message."""

    def __init__(self, stream: ImapStream, spool: Callable[[], Spool] | None = None) -> None:
        self.stream = stream
        self.capabilities: frozenset[str] = frozenset()
        self._spool = spool
        self._tag = 0
        self._utf8 = False
        self._exists = 0
        self._trace: Callable[[str], None] | None = None

    @classmethod
    async def connect(
        cls,
        remote: Remote,
        *,
        spool: Callable[[], Spool] | None = None,
        timeout: float = 120.0,
        connect_timeout: float = 30.0,
        ca_bundle: str = "",
        trace: Callable[[str], None] | None = None,
    ) -> ImapClient:
        """Connect, up to the greeting and TLS; `trace` gets the conversation without secrets and texts of messages. Raises
        RemoteError, Refused, ValueError for an impossible host."""
        host = remote.address()
        implicit = remote.security == "tls" or (remote.security == "auto" and remote.port == 993)
        context = _context(remote.verify, ca_bundle) if implicit else None
        stream = await ImapStream.connect(host, remote.port, timeout=timeout, connect_timeout=connect_timeout, tls=context)
        client = cls(stream, spool)
        client._trace = trace
        try:
            async with asyncio.timeout(timeout):
                await client._begin(remote, ca_bundle)
        except TimeoutError:
            stream.close()
            raise RemoteError(f"no greeting within {timeout:g} seconds") from None
        except BaseException:
            stream.close()
            raise
        return client

    async def _begin(self, remote: Remote, ca_bundle: str) -> None:
        greeting = await self.stream.line(MAX_LITERAL)
        said = status(greeting[2:]) if greeting.startswith(b"* ") else None
        if said is None or said.word not in ("OK", "PREAUTH"):
            raise RemoteError(f"the server does not serve: {said.text if said else 'no IMAP greeting'}")
        self._learn(said.code)
        if not self.capabilities:
            await self._ask_capabilities()
        if self.stream.tls or remote.security == "none":
            return
        if "STARTTLS" not in self.capabilities:
            if remote.security == "starttls":
                raise RemoteError("the server offers no STARTTLS")
            return
        await self._command(b"STARTTLS")
        # With `auto` the clear text would do as well, so a certificate that cannot be verified is better than none.
        await self.stream.start_tls(_context(remote.verify and remote.security == "starttls", ca_bundle))
        await self._ask_capabilities()

    # -- commands ----------------------------------------------------------------------------------------------

    async def _command(
        self, *parts: bytes, on: Callable[[list[Value]], Awaitable[None] | None] | None = None, name: str = ""
    ) -> Status:
        """Send a command, its parts with literals between them; `on` gets untagged data. Raises Refused, RemoteError."""
        self._tag += 1
        tag = b"m%d" % self._tag
        self._told("C", tag + b" " + (parts[0] if not parts[0].startswith(b"LOGIN") else b"LOGIN ..."))
        await self.stream.write(tag + b" " + parts[0])
        for part in parts[1:]:
            while (said := await self._response(tag, on)) is None:
                pass
            if said.word != "+":
                raise Refused(name or _name(parts[0]), said)
            await self.stream.write(part)
        await self.stream.write(b"\r\n")
        for _ in range(MAX_RESPONSES):
            said = await self._response(tag, on)
            if said is None:
                continue
            if said.word == "OK":
                self._learn(said.code)
                return said
            raise Refused(name or _name(parts[0]), said)
        raise RemoteBroken("the server answers without end")

    async def _response(self, tag: bytes, on: Callable[[list[Value]], Awaitable[None] | None] | None) -> Status | None:
        """Read one response: the status where it is the tagged or a continuation (+), None where it was untagged."""
        line = await self.stream.line(MAX_LINE)
        self._told("S", line)
        if line.startswith(b"+"):
            return Status("+", b"", line[2:].decode("ascii", "replace"))
        start, _, rest = line.partition(b" ")
        if start == tag:
            return status(rest) or Status("BAD", b"", "no status")
        if start != b"*":
            raise RemoteBroken("the server does not speak IMAP")
        said = status(rest)
        if said is not None:
            self._learn(said.code)
            if said.word == "BYE":
                raise RemoteError(f"the server ended the session: {said.text}")
            if on is not None and said.code:
                await _call(on, [Atom(b"[]"), bytes(said.code)])
            return None
        pieces: list[Piece] = [rest]
        try:
            await self._literals(pieces)
            found = values(pieces)
        except BadResponse as error:
            _abandon(pieces)
            raise RemoteBroken(f"the server's answer cannot be read: {error}") from None
        except BaseException:
            _abandon(pieces)
            raise
        if len(found) >= 2 and isinstance(found[1], bytes) and found[1].upper() == b"EXISTS":
            with contextlib.suppress(BadResponse):
                self._exists = number(found[0])
        if found and isinstance(found[0], bytes) and found[0].upper() == b"CAPABILITY":
            self.capabilities = frozenset(text(v).decode("ascii", "replace").upper() for v in found[1:] if isinstance(v, bytes))
        if on is not None:
            await _call(on, found)
        return None

    async def _literals(self, pieces: list[Piece]) -> None:
        """Read on while the last piece announces a literal."""
        held = 0
        line = pieces[0]
        while isinstance(line, bytes) and (announced := literal(line)) is not None:
            size, whole = announced
            if whole:
                pieces.append(await self._message(size))
            else:
                held += size
                if held > MAX_LITERAL:
                    raise RemoteBroken("the server sends too long a string")
                pieces.append(await self.stream.exactly(size))
            line = await self.stream.line(MAX_LINE)
            pieces.append(line)

    async def _message(self, size: int) -> Piece:
        if size > MAX_MESSAGE:
            raise RemoteBroken(f"a message of {size} octets is more than is taken")
        if size <= INLINE or self._spool is None:
            if size > INLINE:
                raise RemoteBroken("a message where none was asked for")
            return canonical(_without_nul(await self.stream.exactly(size)))
        spool = self._spool()
        ends = LineEnds()
        try:
            while size:
                piece = await self.stream.some(min(size, PIECE))
                size -= len(piece)
                await spool.write(ends.feed(_without_nul(piece)))
            await spool.write(ends.end())
            await spool.flush()  # so that its digest is whole
        except BaseException:
            spool.abandon()
            raise
        return Large(spool)

    def _told(self, who: str, line: bytes) -> None:
        if self._trace is not None:
            self._trace(f"{who}: {line[:300].decode('utf-8', 'replace')}")

    def _learn(self, code: bytes) -> None:
        if code.upper().startswith(b"CAPABILITY "):
            self.capabilities = frozenset(code.upper().decode("ascii", "replace").split()[1:])

    async def _ask_capabilities(self) -> None:
        await self._command(b"CAPABILITY")

    # -- verbs -------------------------------------------------------------------------------------------------

    async def login(self, user: str, password: str) -> None:
        """Raises LoginRefused, RemoteError."""
        name, secret = user.encode(), password.encode()
        before = self.capabilities
        try:
            if "LOGINDISABLED" not in before and _PRINTABLE(name) and _PRINTABLE(secret):
                await self._command(b"LOGIN " + _quoted(name) + b" " + _quoted(secret), name="login")
            elif "AUTH=PLAIN" in before:
                await self._authenticate(b"PLAIN", [b"\0" + name + b"\0" + secret])
            elif "AUTH=LOGIN" in before:
                await self._authenticate(b"LOGIN", [name, secret])
            else:
                parts = b"LOGIN {%d}\r\n" % len(name), name + b" {%d}\r\n" % len(secret), secret
                await self._command(*parts, name="login")
        except Refused as refused:
            raise LoginRefused("login", Status(refused.word, refused.code, refused.text)) from None
        if self.capabilities is before:
            await self._ask_capabilities()
        if "UTF8=ONLY" in self.capabilities:
            await self._command(b"ENABLE UTF8=ACCEPT")
        self._utf8 = "UTF8=ONLY" in self.capabilities or "IMAP4REV1" not in self.capabilities

    async def _authenticate(self, mechanism: bytes, answers: list[bytes]) -> None:
        encoded = [base64.b64encode(answer) + b"\r\n" for answer in answers]
        self._tag += 1
        tag = b"m%d" % self._tag
        await self.stream.write(tag + b" AUTHENTICATE " + mechanism + b"\r\n")
        for _ in range(1000):
            said = await self._response(tag, None)
            if said is None:
                continue
            if said.word == "+":
                await self.stream.write(encoded.pop(0) if encoded else b"*\r\n")
            elif said.word == "OK":
                self._learn(said.code)
                return
            else:
                raise Refused("login", said)
        raise RemoteBroken("the server answers without end")

    async def folders(self) -> list[SourceFolder]:
        """The user's own folders that can be opened, below the personal namespace. Raises Refused, RemoteError."""
        prefix, foreign = await self._namespace()
        listed: dict[bytes, tuple[bytes, frozenset[str]]] = {}
        subscribed: set[bytes] = set()

        def take(found: list[Value]) -> None:
            if len(found) < 4 or not isinstance(found[0], bytes) or found[0].upper() not in (b"LIST", b"LSUB"):
                return
            attributes, delimiter, raw = found[1], found[2], found[3]
            if not isinstance(attributes, list) or not isinstance(raw, bytes) or len(listed) >= MAX_FOLDERS:
                return
            words = frozenset(text(a).decode("ascii", "replace").lower() for a in attributes if isinstance(a, bytes))
            raw = bytes(raw)
            if found[0].upper() == b"LSUB" or "\\subscribed" in words:
                subscribed.add(raw)
            if found[0].upper() == b"LIST":
                listed[raw] = (bytes(delimiter) if isinstance(delimiter, bytes) else b"", words)

        extended = "LIST-EXTENDED" in self.capabilities or "IMAP4REV2" in self.capabilities
        if extended:
            wanted = b"SUBSCRIBED SPECIAL-USE" if "SPECIAL-USE" in self.capabilities else b"SUBSCRIBED"
            await self._command(b'LIST "" "*" RETURN (' + wanted + b")", on=take)
        else:
            await self._command(b'LIST "" "*"', on=take)
            with contextlib.suppress(Refused):
                await self._command(b'LSUB "" "*"', on=take)
        out = []
        for raw, (delimiter, words) in listed.items():
            if words & {"\\noselect", "\\nonexistent"} or any(raw.startswith(other) for other in foreign):
                continue
            own = raw[len(prefix) :] if prefix and raw.startswith(prefix) and len(raw) > len(prefix) else raw
            levels = tuple(self._decode(level) for level in (own.split(delimiter) if delimiter else [own]))
            out.append(SourceFolder(raw, levels, words, raw in subscribed or raw.upper() == b"INBOX"))
        return sorted(out, key=lambda folder: (folder.name.upper() != "INBOX", folder.levels))

    async def _namespace(self) -> tuple[bytes, list[bytes]]:
        """Prefix of the user's own folders, and those of all others'."""
        own, foreign = b"", list[bytes]()

        def take(found: list[Value]) -> None:
            nonlocal own
            if len(found) < 4 or not isinstance(found[0], bytes) or found[0].upper() != b"NAMESPACE":
                return
            for place, group in enumerate(found[1:4]):
                for entry in group if isinstance(group, list) else []:
                    name = entry[0] if isinstance(entry, list) and entry else None
                    if not isinstance(name, bytes):
                        continue
                    if place == 0:
                        own = own or bytes(name)
                    elif name:
                        foreign.append(bytes(name))

        if "NAMESPACE" in self.capabilities or "IMAP4REV2" in self.capabilities:
            with contextlib.suppress(Refused):
                await self._command(b"NAMESPACE", on=take)
        return own, foreign

    def _decode(self, raw: bytes) -> str:
        try:
            return raw.decode() if self._utf8 or not raw.isascii() else mutf7.decode_loosely(raw)
        except ValueError:
            return raw.decode("utf-8" if raw.isascii() else "latin-1")

    async def select(self, raw: bytes, *, read_only: bool = True) -> Selected:
        """Open a folder. Raises Refused, RemoteError."""
        validity = modseq = self._exists = 0

        def take(found: list[Value]) -> None:
            nonlocal validity, modseq
            if found and found[0] == b"[]" and isinstance(found[1], bytes):
                word, _, rest = found[1].partition(b" ")
                if word.upper() == b"UIDVALIDITY" and rest.isdigit():
                    validity = int(rest[:19])
                elif word.upper() == b"HIGHESTMODSEQ" and rest.isdigit():
                    modseq = int(rest[:19])

        verb = b"EXAMINE " if read_only else b"SELECT "
        tail = b" (CONDSTORE)" if "CONDSTORE" in self.capabilities else b""
        await self._named(verb, raw, tail, take)
        return Selected(validity, self._exists, modseq)

    async def _named(self, verb: bytes, raw: bytes, tail: bytes, on: Callable[[list[Value]], None] | None) -> Status:
        shown = f"{verb.decode().strip().lower()} {self._decode(raw)}"
        if _PRINTABLE(raw):
            return await self._command(verb + _quoted(raw) + tail, on=on, name=shown)
        return await self._command(verb + b"{%d}\r\n" % len(raw), raw + tail, on=on, name=shown)

    async def uids(self, criteria: str = "ALL") -> list[int]:
        """UIDs of the open folder, rising. Raises Refused, RemoteError."""
        out: list[int] = []

        def take(found: list[Value]) -> None:
            word = found[0].upper() if found and isinstance(found[0], bytes) else b""
            try:
                if word == b"SEARCH":
                    out.extend(number(v) for v in found[1:] if not isinstance(v, list))
                elif word == b"ESEARCH":
                    for place, value in enumerate(found[:-1]):
                        if isinstance(value, Atom) and value.upper() == b"ALL":
                            out.extend(number_set(text(found[place + 1]), MAX_MESSAGES))
            except BadResponse as error:
                raise RemoteBroken(f"the server's answer cannot be read: {error}") from None

        asked = "RETURN (ALL) " if {"ESEARCH", "IMAP4REV2"} & self.capabilities else ""
        await self._command(f"UID SEARCH {asked}{criteria}".encode(), on=take, name="search")
        return sorted(set(out))

    async def fetch(self, uids: Sequence[int] | str, items: str, take: Callable[[Fetched], None], changed_since: int = 0) -> None:
        """`take` gets each message as it arrives; with a body it owns the spool. Of messages that were not asked for
        nothing is passed on. Raises Refused, RemoteError."""
        expected = None if isinstance(uids, str) else set(uids)

        def each(found: list[Value]) -> None:
            if len(found) == 3 and isinstance(found[1], bytes) and found[1].upper() == b"FETCH" and isinstance(found[2], list):
                message = fetched(found[2])
                if message.uid and (expected is None or message.uid in expected):
                    take(message)
                elif isinstance(message.body, Spool):
                    message.body.abandon()

        wanted = uids if isinstance(uids, str) else compact(uids)
        since = f" (CHANGEDSINCE {changed_since})" if changed_since else ""
        await self._command(f"UID FETCH {wanted} ({items}){since}".encode(), on=each, name="fetch")

    async def delete(self, uids: Sequence[int]) -> bool:
        """Remove messages of the folder; False where they could only be marked, because others are marked there too."""
        await self._command(f"UID STORE {compact(uids)} +FLAGS.SILENT (\\Deleted)".encode(), name="store")
        if {"UIDPLUS", "IMAP4REV2"} & self.capabilities:
            await self._command(f"UID EXPUNGE {compact(uids)}".encode(), name="expunge")
            return True
        if set(await self.uids("DELETED")) - set(uids):
            return False
        await self._command(b"EXPUNGE", name="expunge")
        return True

    async def logout(self) -> None:
        """Say goodbye, and close whatever happens."""
        with contextlib.suppress(RemoteError, Refused, TimeoutError):
            async with asyncio.timeout(5):
                await self._command(b"LOGOUT")
        self.close()

    def close(self) -> None:
        """At once."""
        self.stream.close()


def _context(verify: bool, ca_bundle: str) -> ssl.SSLContext:
    try:
        return client_context(_tls_versions, verify, ca_bundle)
    except OSError as error:
        raise RemoteError(f"the trusted authorities cannot be read: {error}") from None


async def _call(on: Callable[[list[Value]], Awaitable[None] | None], found: list[Value]) -> None:
    waiting = on(found)
    if waiting is not None:
        await waiting


def _abandon(pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        if isinstance(piece, Large) and isinstance(piece.spool, Spool):
            piece.spool.abandon()


def _name(command: bytes) -> str:
    return command.partition(b" ")[0].decode().lower()


def _quoted(octets: bytes) -> bytes:
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _without_nul(octets: bytes) -> bytes:
    """NUL, which no message may have (RFC 5322), as other servers show it."""
    return octets.replace(b"\0", b"\x80") if b"\0" in octets else octets
