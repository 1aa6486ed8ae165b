"""FTP backup on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

import socket

from mailstead.ftp_backup.commands import table
from mailstead.ftp_backup.services import FtpServices
from mailstead.ftp_backup.session import Session
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint

LOGIN_SECONDS = 60.0
"""Silence allowed before the login."""


class FtpConnection(Connection):
    """One control connection."""

    log_module = "FTP-BACKUP"
    __slots__ = ("_server", "session")

    def __init__(self, endpoint: Endpoint, server: FtpServer) -> None:
        super().__init__(endpoint)
        self._server = server
        self.session: Session | None = None

    def started(self) -> None:
        """Greet."""
        self.session = Session(self, self._server.services, self._server.entries)
        if not 0 < self.idle_timeout <= LOGIN_SECONDS:
            self.idle_timeout = LOGIN_SECONDS
            self.touch()
        name = str(self._server.services.settings.service("server").serverName) or socket.gethostname()
        self.session.reply(f"220 {name} Mailstead backup service ready")

    def logged_in(self) -> None:
        """From here on the listener's idle timeout holds."""
        self.idle_timeout = self.endpoint.idle_timeout
        self.touch()

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        if self.session is not None:
            self.session.received(data)

    def ended(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.session is not None:
            self.session.ended()

    def idle_expired(self) -> None:
        """Silence for too long; a transfer is none."""
        session = self.session
        if session is not None and session.transfer is not None:
            self.touch()
            return
        self.send(b"421 idle for too long\r\n")
        self.close()

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting."""
        self.send(b"421 " + reason.encode("ascii", "replace") + b"\r\n")

    def shutting_down(self) -> None:
        """The process stops."""
        if self.session is not None:
            self.session.stop()
        else:
            self.close()


class FtpServer:
    """Makes the connections of all FTP backup listeners of a process."""

    def __init__(self, services: FtpServices) -> None:
        self.services = services
        self.entries = table()

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return FtpConnection(endpoint, self)
