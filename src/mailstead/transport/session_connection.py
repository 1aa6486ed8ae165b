"""A connection that carries a session: what the faces' connections have in common.

Invariants: a session begins when the connection is ready and ends exactly once; before a login a client is given its own, shorter
time of silence, also where the listener sets none, so that nobody stays for ever without a name.

How: a face says what its session is (`opened`), how it greets, what it says to silence and to a client that is refused.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint


class ConnectedSession(Protocol):
    """What a connection needs of its session. ``options``: the settings of its service."""

    options: Any

    def received(self, data: bytes) -> None:
        """Octets from the client."""

    def ended(self) -> None:
        """The connection is gone."""

    def stop(self) -> None:
        """The process stops: close at once, or when what is under way has ended."""


S = TypeVar("S", bound=ConnectedSession)
V = TypeVar("V")


class SessionConnection(Connection, Generic[S, V]):
    """Base of the connections whose protocol has a session; ``server`` is what all of them share."""

    __slots__ = ("_server", "session")

    def __init__(self, endpoint: Endpoint, server: V) -> None:
        super().__init__(endpoint)
        self._server = server
        self.session: S | None = None

    # ---- for the faces -----------------------------------------------------------------------------------------

    def opened(self) -> S:
        """Make the session."""
        raise NotImplementedError

    def greet(self, session: S) -> None:
        """The first words, where the protocol has any."""

    def login_seconds(self, session: S) -> float:
        """Silence allowed before the login, 0 for what the listener allows."""
        return float(session.options.loginTimeout)

    def silent(self, session: S) -> None:
        """The client has said nothing for too long."""
        self.close()

    def logged_out(self) -> None:
        """Until a login (again) the time of those who have no name holds."""
        limit = self.login_seconds(self.session) if self.session is not None else 0.0
        allowed = self.endpoint.idle_timeout
        self.idle_timeout = min(allowed or limit, limit) if limit > 0 else allowed
        self.touch()

    def logged_in(self) -> None:
        """From here on the listener's idle timeout holds."""
        self.idle_timeout = self.endpoint.idle_timeout
        self.touch()

    # ---- hooks -------------------------------------------------------------------------------------------------

    def started(self) -> None:
        """See Hooks."""
        self.session = session = self.opened()
        self.logged_out()
        self.greet(session)

    def received(self, data: bytes) -> None:
        """See Hooks."""
        if self.session is not None:
            self.session.received(data)

    def ended(self, exc: Exception | None) -> None:
        """See Hooks."""
        if self.session is not None:
            self.session.ended()

    def idle_expired(self) -> None:
        """See Hooks."""
        if self.session is not None:
            self.silent(self.session)
        else:
            self.close()

    def shutting_down(self) -> None:
        """See Hooks."""
        if self.session is not None:
            self.session.stop()
        else:
            self.close()
