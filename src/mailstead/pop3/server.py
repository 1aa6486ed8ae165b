"""POP3 on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

from mailstead.identity.account_sessions import AccountSessions
from mailstead.pop3.commands import table
from mailstead.pop3.services import Pop3Services
from mailstead.pop3.session import Session
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.session_connection import SessionConnection


class Pop3Connection(SessionConnection[Session, "Pop3Server"]):
    """One POP3 connection."""

    log_module = "POP3"
    __slots__ = ()

    def opened(self) -> Session:
        """See SessionConnection."""
        return Session(self, self._server.services, self._server.entries)

    def greet(self, session: Session) -> None:
        """The text of the service."""
        # As in IMAP: the listener's domain, else the address it was reached at (LIS-16).
        text = str(session.options.greetingsText).replace("%D", self.endpoint.listener_domain or self.local[0])
        text = text.replace("%U", "").rstrip()  # the id of APOP, which is not offered
        self.send(b"+OK " + text.replace("\r", " ").replace("\n", " ").encode() + b"\r\n")

    def entered(self, session: Session) -> None:
        """A login: the session ends when its account is disabled or gets another password."""
        assert session.account is not None
        self._server.sessions.enter(session, session.account)

    def ended(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().ended(exc)
        if self.session is not None:
            self._server.sessions.leave(self.session, self.session.account)

    def silent(self, session: Session) -> None:
        """RFC 1939 section 3: closed without entering the UPDATE state."""
        self.close()

    def over_limit(self, reason: str) -> None:
        self.send(b"-ERR [SYS/TEMP] " + reason.encode("ascii", "replace") + b"\r\n")


class Pop3Server:
    """Makes the connections of all POP3 listeners of a process."""

    def __init__(self, services: Pop3Services) -> None:
        self.services = services
        self.entries = table()
        self.sessions: AccountSessions[Session] = AccountSessions(services.directory, "the account has changed")

    def connection(self, endpoint: Endpoint) -> Connection:
        return Pop3Connection(endpoint, self)
