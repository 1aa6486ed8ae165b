"""ManageSieve on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

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
        self._server.sessions.setdefault(session.account_id, {})[session] = None
        self._server.check(session.account_id)  # it may have changed since the proof

    def logged_out(self, session: Session) -> None:
        """The session is nobody's."""
        if session.account is not None and (others := self._server.sessions.get(session.account.id)) is not None:
            others.pop(session, None)
            if not others:
                del self._server.sessions[session.account.id]

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
        #: Sessions that are logged in, by account.
        self.sessions: dict[int, dict[Session, None]] = {}
        services.directory.on_account_change(self._changed)

    def _changed(self, account: int) -> None:
        for id in [account] if account else list(self.sessions):
            self.check(id)

    def check(self, account: int) -> None:
        """End the sessions of an account that is not what it was when they logged in."""
        now = self.services.directory.account(account)
        for session in list(self.sessions.get(account, ())):
            known = session.account
            if known is None or (now is not None and now.enabled and now.auth_version == known.auth_version):
                continue
            session.stop("The account has changed")

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return ManageSieveConnection(endpoint, self)
