"""POP3 on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

import socket

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
        domain = (
            self.endpoint.listener_domain or self._server.services.settings.service("server").serverName or socket.gethostname()
        )
        text = str(session.options.greetingsText).replace("%D", domain)
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
        self._server.sessions.setdefault(session.account.id, {})[session] = None
        self._server.check(session.account.id)  # it may have changed since the proof

    def ended(self, exc: Exception | None) -> None:
        session = self.session
        if session is not None:
            session.ended()
            if session.account is not None and (others := self._server.sessions.get(session.account.id)) is not None:
                others.pop(session, None)
                if not others:
                    del self._server.sessions[session.account.id]

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
        #: Sessions that are logged in, by account.
        self.sessions: dict[int, dict[Session, None]] = {}
        if services.directory is not None:
            services.directory.on_account_change(self._changed)

    def _changed(self, account: int) -> None:
        for id in [account] if account else list(self.sessions):
            self.check(id)

    def check(self, account: int) -> None:
        """End the sessions of an account that is not what it was when they logged in."""
        if self.services.directory is None:
            return
        now = self.services.directory.account(account)
        for session in list(self.sessions.get(account, ())):
            known = session.account
            if known is None or (now is not None and now.enabled and now.auth_version == known.auth_version):
                continue
            session.stop("the account has changed")

    def connection(self, endpoint: Endpoint) -> Connection:
        return Pop3Connection(endpoint, self)
