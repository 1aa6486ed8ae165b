"""ManageSieve on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

from mailstead.identity.account_sessions import AccountSessions
from mailstead.managesieve.commands import table
from mailstead.managesieve.commands.capability import capabilities
from mailstead.managesieve.services import ManageSieveServices
from mailstead.managesieve.session import Session, reply
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.session_connection import SessionConnection


class ManageSieveConnection(SessionConnection[Session, "ManageSieveServer"]):
    """One ManageSieve connection."""

    log_module = "MANAGESIEVE"
    __slots__ = ()

    def opened(self) -> Session:
        """See SessionConnection."""
        return Session(self, self._server.services, self._server.entries)

    def greet(self, session: Session) -> None:
        """The capabilities (RFC 5804 section 1.7)."""
        session.emit(capabilities(session) + reply(b"OK", "Mailstead ManageSieve ready"))
        session.flush()

    def entered(self, session: Session) -> None:
        """A login: the session ends when its account changes."""
        self.logged_in()
        assert session.account is not None
        self._server.sessions.enter(session, session.account)

    def left(self, session: Session) -> None:
        """The session is nobody's (RFC 5804 section 2.14.1)."""
        self._server.sessions.leave(session, session.account)
        self.logged_out()

    def ended(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().ended(exc)
        if self.session is not None:
            self._server.sessions.leave(self.session, self.session.account)

    def silent(self, session: Session) -> None:
        """Silence for too long."""
        session.bye("Idle for too long")

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting."""
        self.send(reply(b"BYE", reason, "TRYLATER"))


class ManageSieveServer:
    """Makes the connections of all ManageSieve listeners of a process."""

    def __init__(self, services: ManageSieveServices) -> None:
        self.services = services
        self.entries = table()
        self.sessions: AccountSessions[Session] = AccountSessions(services.directory, "The account has changed")

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return ManageSieveConnection(endpoint, self)
