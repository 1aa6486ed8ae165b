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
from mailstead.transport.session_connection import SessionConnection


class SmtpConnection(SessionConnection[Session, "SmtpServer"]):
    """One SMTP connection."""

    log_module = "SMTP-IN"
    __slots__ = ()

    def opened(self) -> Session:
        """See SessionConnection."""
        return Session(self, self._server)

    def login_seconds(self, session: Session) -> float:
        """The session keeps the times of its protocol itself (RFC 5321 section 4.5.3.2)."""
        return 0.0

    def greet(self, session: Session) -> None:
        """The greeting, perhaps after a while."""
        session.greet()

    def ended(self, exc: Exception | None) -> None:
        """The connection is gone, and nothing of the session stays for its sake."""
        super().ended(exc)
        self.session = None

    def silent(self, session: Session) -> None:
        """Silence for too long."""
        session.idle()

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting."""
        text = "".join(sign if " " <= sign <= "~" else "?" for sign in reason)
        self.send(f"421 4.7.0 {self._server.options().host} {text}\r\n".encode())


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
