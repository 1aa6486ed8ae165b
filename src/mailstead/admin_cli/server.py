"""The administration protocol on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

from mailstead.admin_cli.contexts.root import RootContext
from mailstead.admin_cli.services import AdminServices
from mailstead.admin_cli.session import Session
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint

LOGIN_SECONDS = 60.0
"""Silence allowed before the login."""


class AdminConnection(Connection):
    """One administration connection."""

    log_module = "CLI"
    __slots__ = ("_server", "session")

    def __init__(self, endpoint: Endpoint, server: AdminServer) -> None:
        super().__init__(endpoint)
        self._server = server
        self.session: Session | None = None

    def started(self) -> None:
        """Greet."""
        self.session = Session(self, self._server.services, RootContext)
        if not 0 < self.idle_timeout <= LOGIN_SECONDS:
            self.idle_timeout = LOGIN_SECONDS
            self.touch()
        self.session.greet()

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        if self.session is not None:
            self.session.received(data)

    def logged_in(self, session: Session) -> None:
        """From here on the listener's idle timeout holds."""
        self.idle_timeout = self.endpoint.idle_timeout
        self.touch()

    def ended(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.session is not None:
            self.session.ended()

    def idle_expired(self) -> None:
        """Silence for too long."""
        if self.session is not None:
            self.session.stop("idle for too long")
        else:
            self.close()

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting."""
        self.send(f"-ERR: {reason}\r\n".encode())

    def shutting_down(self) -> None:
        """The process stops."""
        if self.session is not None:
            self.session.stop()
        else:
            self.close()


class AdminServer:
    """Makes the connections of all administration listeners of a process."""

    def __init__(self, services: AdminServices) -> None:
        self.services = services

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return AdminConnection(endpoint, self)
