"""The administration protocol on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

from mailstead.admin_cli.contexts.root import RootContext
from mailstead.admin_cli.services import AdminServices
from mailstead.admin_cli.session import Session
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.session_connection import SessionConnection


class AdminConnection(SessionConnection[Session, "AdminServer"]):
    """One administration connection."""

    log_module = "CLI"
    __slots__ = ()

    def opened(self) -> Session:
        """See SessionConnection."""
        return Session(self, self._server.services, RootContext)

    def greet(self, session: Session) -> None:
        """The greeting and the first prompt."""
        session.greet()

    def silent(self, session: Session) -> None:
        """Silence for too long."""
        session.stop("idle for too long")

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting."""
        self.send(f"-ERR: {reason}\r\n".encode())


class AdminServer:
    """Makes the connections of all administration listeners of a process."""

    def __init__(self, services: AdminServices) -> None:
        self.services = services

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return AdminConnection(endpoint, self)
