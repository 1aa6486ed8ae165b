"""Sessions of this process by the account they are logged in to (feature PWD).

Invariants: a session is told to stop when its account is disabled, deleted, or has another password or other rights
than at the login.  Knows no protocol.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from mailstead.directory.model import Account
from mailstead.directory.service import Directory


class Stoppable(Protocol):
    """A session that can be asked to end."""

    def stop(self, reason: str, /) -> None:
        """End, saying `reason` to the client."""


S = TypeVar("S", bound=Stoppable)


class AccountSessions(Generic[S]):
    """One per protocol and process; `reason` is what a session is stopped with. Without a directory none is."""

    def __init__(self, directory: Directory | None, reason: str) -> None:
        self._directory = directory
        self._reason = reason
        self.by_account: dict[int, dict[S, Account]] = {}
        """Each session with its account as it was at the login."""
        if directory is not None:
            directory.on_account_change(self._changed)

    def enter(self, session: S, account: Account) -> None:
        """The session is logged in. One whose account has changed since the proof is stopped at once."""
        self.by_account.setdefault(account.id, {})[session] = account
        self._check(account.id)

    def leave(self, session: S, account: Account | None) -> None:
        """The session is over or logged out; nothing happens where it was not logged in."""
        if account is not None and (others := self.by_account.get(account.id)) is not None:
            others.pop(session, None)
            if not others:
                del self.by_account[account.id]

    def _changed(self, account: int) -> None:
        """The account (0: any) may have changed."""
        for id in [account] if account else list(self.by_account):
            self._check(id)

    def _check(self, account: int) -> None:
        sessions = self.by_account.get(account)
        if self._directory is None or not sessions:
            return
        now = self._directory.account(account)
        for session, known in list(sessions.items()):
            if now is None or not now.enabled or now.auth_version != known.auth_version:
                session.stop(self._reason)
