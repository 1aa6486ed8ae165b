"""POP3 on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

from mailstead.identity.account_sessions import AccountSessions
from mailstead.pop3.commands import table
from mailstead.pop3.services import Pop3Services
from mailstead.pop3.session import Session
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint


class Pop3Connection(Connection):
    """One POP3 connection."""

    log_module = "POP3"
    __slots__ = ("_server", "session")

    def __init__(self, endpoint: Endpoint, server: Pop3Server) -> None:
        super().__init__(endpoint)
        self._server = server
        self.session: Session | None = None

    def started(self) -> None:
        self.session = session = Session(self, self._server.services, self._server.entries)
        limit = float(session.options.loginTimeout)
        if self.idle_timeout > limit > 0:
            self.idle_timeout = limit
            self.touch()
        # As in IMAP: the listener's domain, else the address it was reached at (LIS-16).
        text = str(session.options.greetingsText).replace("%D", self.endpoint.listener_domain or self.local[0])
        text = text.replace("%U", "").rstrip()  # the id of APOP, which is not offered
        self.send(b"+OK " + text.replace("\r", " ").replace("\n", " ").encode() + b"\r\n")

    def logged_in(self) -> None:
        """From here on the listener's idle timeout holds."""
        self.idle_timeout = self.endpoint.idle_timeout
        self.touch()

    def received(self, data: bytes) -> None:
        if self.session is not None:
            self.session.received(data)

    def entered(self, session: Session) -> None:
        """A login: the session ends when its account is disabled or gets another password."""
        assert session.account is not None
        self._server.sessions.enter(session, session.account)

    def ended(self, exc: Exception | None) -> None:
        session = self.session
        if session is not None:
            session.ended()
            self._server.sessions.leave(session, session.account)

    def idle_expired(self) -> None:
        """RFC 1939 section 3: closed without entering the UPDATE state."""
        self.close()

    def over_limit(self, reason: str) -> None:
        self.send(b"-ERR [SYS/TEMP] " + reason.encode("ascii", "replace") + b"\r\n")

    def shutting_down(self) -> None:
        if self.session is not None:
            self.session.stop()
        else:
            self.close()


class Pop3Server:
    """Makes the connections of all POP3 listeners of a process."""

    def __init__(self, services: Pop3Services) -> None:
        self.services = services
        self.entries = table()
        self.sessions: AccountSessions[Session] = AccountSessions(services.directory, "the account has changed")

    def connection(self, endpoint: Endpoint) -> Connection:
        return Pop3Connection(endpoint, self)
