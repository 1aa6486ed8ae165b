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

DEFAULT_GREETING = "Mailstead IMAP4 service is ready"


class ImapConnection(Connection):
    """One IMAP connection."""

    log_module = "IMAP"
    __slots__ = ("_server", "session")

    def __init__(self, endpoint: Endpoint, server: ImapServer) -> None:
        super().__init__(endpoint)
        self._server = server
        self.session: Session | None = None

    def started(self) -> None:
        """Greet."""
        server = self._server
        self.session = session = Session(self, server.services, server.entries)
        self.logged_out()
        greeting = str(session.options.greetingsText or DEFAULT_GREETING)
        text = one_line(greeting.replace("%D", self.endpoint.listener_domain or self.local[0]).replace("%U", self.session_id))
        session.emit(b"* OK [CAPABILITY " + capabilities(session) + b"] " + text + b"\r\n")
        session.flush()

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        if self.session is not None:
            self.session.received(data)

    def logged_in(self) -> None:
        """From here on the listener's idle timeout holds."""
        self.idle_timeout = self.endpoint.idle_timeout
        self.touch()

    def logged_out(self) -> None:
        """Until a login (again): without an idle timeout a client that never logs in would stay for ever."""
        if self.session is not None:
            limit = self.session.options.loginTimeout
            self.idle_timeout = min(self.endpoint.idle_timeout or limit, limit)
            self.touch()

    def ended(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.session is not None:
            self.session.ended()

    def idle_expired(self) -> None:
        """Silence for too long (RFC 9051 section 5.4)."""
        if self.session is not None:
            self.session.bye("Autologout, idle for too long")
        else:
            self.close()

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting."""
        self.send(b"* BYE " + one_line(reason) + b"\r\n")

    def shutting_down(self) -> None:
        """The process stops."""
        if self.session is not None:
            self.session.stop()
        else:
            self.close()


class ImapServer:
    """Makes the connections of all IMAP listeners of a process."""

    def __init__(self, services: ImapServices) -> None:
        self.services = services
        self.entries: dict[bytes, Entry] = table()

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return ImapConnection(endpoint, self)
