"""SMTP on the wire: the thin part between the event loop's connection and the session.

Invariants: the connection does no protocol but refusals before the greeting; every end of a connection ends its
session exactly once.
"""

from __future__ import annotations

import asyncio

from mailstead.smtp.commands import Command, table
from mailstead.smtp.options import Options
from mailstead.smtp.services import SmtpServices
from mailstead.smtp.session import Session
from mailstead.smtp.turns import Turns
from mailstead.store.spool import Spool
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint


class SmtpConnection(Connection):
    """One SMTP connection."""

    log_module = "SMTP-IN"
    __slots__ = ("_server", "session")

    def __init__(self, endpoint: Endpoint, server: SmtpServer) -> None:
        super().__init__(endpoint)
        self._server = server
        self.session: Session | None = None

    def started(self) -> None:
        """Greet."""
        self.session = session = Session(self, self._server)
        session.greet()

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        if self.session is not None:
            self.session.received(data)

    def ended(self, exc: Exception | None) -> None:
        """The connection is gone."""
        session, self.session = self.session, None
        if session is not None:
            session.lost()

    def idle_expired(self) -> None:
        """Silence for too long."""
        if self.session is not None:
            self.session.idle()
        else:
            self.close()

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting."""
        text = "".join(sign if " " <= sign <= "~" else "?" for sign in reason)
        self.send(f"421 4.7.0 {self._server.options().host} {text}\r\n".encode())

    def shutting_down(self) -> None:
        """The process stops."""
        if self.session is not None:
            self.session.stop()
        else:
            self.close()


class SmtpServer:
    """Makes the connections of all SMTP listeners of a process. `Endpoint.submission` makes one a submission port."""

    def __init__(self, services: SmtpServices) -> None:
        self.services = services
        self.commands: dict[bytes, Command] = table()
        self.turns = Turns()
        self._options: Options | None = None
        self._cleaning: set[asyncio.Future[None]] = set()

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return SmtpConnection(endpoint, self)

    def options(self) -> Options:
        """The present settings."""
        settings = self.services.settings
        if self._options is None or not self._options.is_current(settings):
            self._options = Options(settings)
        return self._options

    def abandon(self, spool: Spool) -> None:
        """Remove a spool whose message will not come; in a thread, for a large file takes its time to go."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, spool.abandon)
        self._cleaning.add(future)
        future.add_done_callback(self._cleaned)

    def _cleaned(self, future: asyncio.Future[None]) -> None:
        self._cleaning.discard(future)
        future.exception()  # a file that stays is found by the maintenance
