"""Sessions of this process by the account they are logged in to (features IMP-08, PWD).

Invariants: an account has at most its number of sessions over all processes of the node; a session ends, with BYE, when
its account is disabled, deleted, or has another password or other rights than at the login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailstead.imap.responses import Refusal

if TYPE_CHECKING:
    from mailstead.imap.services import ImapServices
    from mailstead.imap.session import Session


class AccountSessions:
    """One per process. `enter` and `leave` are called in pairs."""

    def __init__(self, services: ImapServices) -> None:
        self._services = services
        self._sessions: dict[int, dict[Session, Any]] = {}
        if services.directory is not None and hasattr(services.directory, "on_account_change"):
            services.directory.on_account_change(self._changed)

    def enter(self, session: Session, account: Any) -> None:
        """A login to `account` (of the directory, or its id alone). Raises Refusal LIMIT."""
        id = account if isinstance(account, int) else account.id
        limit = getattr(account, "imap_connections", 0)
        if self._services.locks is not None and not self._services.locks.acquire(id, limit):
            raise Refusal("Too many sessions of this account", "LIMIT")
        self._sessions.setdefault(id, {})[session] = account

    def leave(self, session: Session) -> None:
        """The session is over, or logged out; nothing happens where it was not logged in."""
        id = session.account
        others = self._sessions.get(id) if id is not None else None
        if id is None or others is None or session not in others:
            return
        del others[session]
        if not others:
            del self._sessions[id]
        if self._services.locks is not None:
            self._services.locks.release(id)

    def _changed(self, account: int) -> None:
        """The account (0: any) may have changed."""
        for id in [account] if account else list(self._sessions):
            now = None
            for position, (session, known) in enumerate(list(self._sessions.get(id, {}).items())):
                if position == 0:
                    now = self._services.directory.account(id)
                if now is None or not now.enabled or now.auth_version != known.auth_version:
                    session.stop("The account has changed, log in again")
