"""IMAP on the wire: the thin part between the event loop's connection and the session.

Invariants: the connection does no protocol but the greeting and the farewell; every end of a connection ends its
session exactly once.
"""

from __future__ import annotations

from mailstead.imap.commands import Entry, table
from mailstead.imap.commands.capability import capabilities
from mailstead.imap.responses import one_line
from mailstead.imap.services import ImapServices
from mailstead.imap.session import Session
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.session_connection import SessionConnection

DEFAULT_GREETING = "Mailstead IMAP4 service is ready"


class ImapConnection(SessionConnection[Session, "ImapServer"]):
    """One IMAP connection."""

    log_module = "IMAP"
    __slots__ = ()

    def opened(self) -> Session:
        """See SessionConnection."""
        return Session(self, self._server.services, self._server.entries)

    def greet(self, session: Session) -> None:
        """The capabilities and the text of the service."""
        greeting = str(session.options.greetingsText or DEFAULT_GREETING)
        text = one_line(greeting.replace("%D", self.endpoint.listener_domain or self.local[0]).replace("%U", self.session_id))
        session.emit(b"* OK [CAPABILITY " + capabilities(session) + b"] " + text + b"\r\n")
        session.flush()

    def silent(self, session: Session) -> None:
        """RFC 9051 section 5.4."""
        session.bye("Autologout, idle for too long")

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting."""
        self.send(b"* BYE " + one_line(reason) + b"\r\n")


class ImapServer:
    """Makes the connections of all IMAP listeners of a process."""

    def __init__(self, services: ImapServices) -> None:
        self.services = services
        self.entries: dict[bytes, Entry] = table()

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return ImapConnection(endpoint, self)
