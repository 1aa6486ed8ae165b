"""ManageSieve on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

from mailstead.identity.account_sessions import AccountSessions
from mailstead.managesieve.commands import table
from mailstead.managesieve.commands.capability import capabilities
from mailstead.managesieve.services import ManageSieveServices
from mailstead.managesieve.session import Session, reply
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint


class ManageSieveConnection(Connection):
    """One ManageSieve connection."""

    log_module = "MANAGESIEVE"
    __slots__ = ("_server", "session")

    def __init__(self, endpoint: Endpoint, server: ManageSieveServer) -> None:
        super().__init__(endpoint)
        self._server = server
        self.session: Session | None = None

    def started(self) -> None:
        """Greet with the capabilities (RFC 5804 section 1.7)."""
        self.session = session = Session(self, self._server.services, self._server.entries)
        limit = float(session.options.loginTimeout)
        if self.idle_timeout > limit > 0:
            self.idle_timeout = limit
            self.touch()
        session.emit(capabilities(session) + reply(b"OK", "Mailstead ManageSieve ready"))
        session.flush()

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        if self.session is not None:
            self.session.received(data)

    def logged_in(self, session: Session) -> None:
        """From here on the listener's idle timeout holds, and the session ends when its account changes."""
        self.idle_timeout = self.endpoint.idle_timeout
        self.touch()
        assert session.account is not None
        self._server.sessions.enter(session, session.account)

    def logged_out(self, session: Session) -> None:
        """The session is nobody's."""
        self._server.sessions.leave(session, session.account)

    def ended(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.session is not None:
            self.session.ended()
            self.logged_out(self.session)

    def idle_expired(self) -> None:
        """Silence for too long."""
        if self.session is not None:
            self.session.bye("Idle for too long")
        else:
            self.close()

    def over_limit(self, reason: str) -> None:
        """Refused before the greeting."""
        self.send(reply(b"BYE", reason, "TRYLATER"))

    def shutting_down(self) -> None:
        """The process stops."""
        if self.session is not None:
            self.session.stop()
        else:
            self.close()


class ManageSieveServer:
    """Makes the connections of all ManageSieve listeners of a process."""

    def __init__(self, services: ManageSieveServices) -> None:
        self.services = services
        self.entries = table()
        self.sessions: AccountSessions[Session] = AccountSessions(services.directory, "The account has changed")

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return ManageSieveConnection(endpoint, self)
