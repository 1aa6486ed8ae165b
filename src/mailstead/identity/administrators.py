"""Logins of administrators (ADM-01): the administration protocol, the FTP backup service, web administration.

Invariants:
- Whether a name exists, or is disabled, cannot be told from the time or the text of a refusal.
- The actor is made from the rights as they are when the password has been checked; `current` tells whether they still hold.
- Failures count with those of accounts: the guard stops whoever guesses.
"""

from __future__ import annotations

from mailstead.directory.cache import BoundedCache
from mailstead.directory.model import NotFoundError
from mailstead.directory.service import Directory
from mailstead.identity.authenticator import Authenticator
from mailstead.settings.actor import Actor
from mailstead.settings.database import SystemDatabaseError

MAX_NAME = 64
MAX_PASSWORD = 1024
#: Keeps the guard's counters of administrators apart from those of accounts; no login name holds it.
_GUARD_PREFIX = "admin\x00"


class AdministratorLogin:
    """Checks administrators' passwords; one for each process, on the threads of its `Authenticator`."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._directory: Directory = authenticator.directory
        #: (name, auth_version) that was right at a generation of the database.
        self._looked: BoundedCache[tuple[str, int], int] = BoundedCache(1000)

    async def verify(self, name: str, password: str, *, peer: str) -> tuple[Actor, int] | None:
        """The actor and the `auth_version` its rights were read at; None for a refusal of any kind."""
        guarded = _GUARD_PREFIX + name[:MAX_NAME]
        if self._authenticator.blocked(peer, guarded):
            return None
        stored, version = "", 0
        admin = None
        try:
            admin = self._directory.admin(name) if len(name) <= MAX_NAME else None
            if admin is not None:
                credentials = self._directory.admin_credentials(admin.id)
                stored, version = (credentials.password if credentials is not None else ""), admin.auth_version
        except SystemDatabaseError:
            return None
        good = await self._authenticator.check_hash(password[:MAX_PASSWORD], stored)
        if good is None:
            return None
        if not good or admin is None or not admin.enabled:
            self._authenticator.failed(peer, guarded)
            return None
        self._authenticator.guard.succeeded(peer, guarded)
        actor = self.actor(name)
        return None if actor is None else (actor, version)

    def actor(self, name: str) -> Actor | None:
        """The actor an enabled administrator is now; None when it is gone or disabled."""
        try:
            return self._directory.admin_actor(name)
        except NotFoundError:
            return None

    def current(self, name: str, version: int) -> bool:
        """Whether nothing changed in the administrator's password, state and rights since `version`."""
        self._directory.poll()
        generation = self._directory.database.generation
        if self._looked.get((name, version)) == generation:
            return True
        admin = self._directory.admin(name)
        if admin is None or not admin.enabled or admin.auth_version != version:
            return False
        self._looked.put((name, version), generation)
        return True
