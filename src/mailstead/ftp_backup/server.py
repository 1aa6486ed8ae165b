"""FTP backup on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

import socket

from mailstead.ftp_backup.commands import table
from mailstead.ftp_backup.services import FtpServices
from mailstead.ftp_backup.session import Session
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.session_connection import SessionConnection

LOGIN_SECONDS = 60.0
"""Silence allowed before the login; the service has no setting for it."""


class FtpConnection(SessionConnection[Session, "FtpServer"]):
    """One control connection."""

    log_module = "FTP-BACKUP"
    __slots__ = ()

    def opened(self) -> Session:
        """See SessionConnection."""
        return Session(self, self._server.services, self._server.entries)

    def login_seconds(self, session: Session) -> float:
        """See SessionConnection."""
        return LOGIN_SECONDS

    def greet(self, session: Session) -> None:
        """The name of the server."""
        name = str(self._server.services.settings.service("server").serverName) or socket.gethostname()
        session.reply(f"220 {name} Mailstead backup service ready")

    def silent(self, session: Session) -> None:
        """A transfer is no silence."""
        if session.transfer is not None:
            self.touch()
            return
        self.send(b"421 idle for too long\r\n")
        self.close()

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting."""
        self.send(b"421 " + reason.encode("ascii", "replace") + b"\r\n")


class FtpServer:
    """Makes the connections of all FTP backup listeners of a process."""

    def __init__(self, services: FtpServices) -> None:
        self.services = services
        self.entries = table()

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return FtpConnection(endpoint, self)
