"""Labels of incremental backups (BKP-02): a name for a moment, so that a later one takes only what came since.

Invariants: a label belongs to the whole server or to one domain; who may back up a domain sees and makes its labels, those of the
server need the right for any domain.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass

from mailstead.directory.model import AlreadyExistsError, InvalidNameError, NotFoundError
from mailstead.directory.service import Directory
from mailstead.settings.actor import Actor
from mailstead.settings.database import Transaction

KIND = "backupLabel"
"""Kind of object that labels are kept as."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class BackupLabel:
    """``time`` is when the backup of that name began (unix seconds); ``domain`` "" for one of the whole server."""

    name: str
    domain: str
    time: int


class BackupLabels:
    """LIST, REMOVE and PURGE BACKUPS, and what the tree of the FTP backup service needs. ``domain`` "" is the server."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def _scope(self, domain: str, actor: Actor) -> tuple[str, int]:
        if not domain:
            actor.require("backupAnyDomain")
            return "server", 0
        found = self._directory.domain_by_name(domain)
        if found is None:
            raise NotFoundError(f"the domain {domain} does not exist")
        actor.require("backupDomain", found.id)
        return "domain", found.id

    def labels(self, domain: str = "", *, actor: Actor) -> list[BackupLabel]:
        """The oldest first. Raises NotFoundError, PermissionDeniedError."""
        scope, id = self._scope(domain, actor)
        rows = self._directory.database.query(
            "SELECT key, attributes FROM object WHERE scope = ? AND scope_id = ? AND kind = ?", (scope, id, KIND)
        )
        found = [BackupLabel(str(key), domain, int(json.loads(attributes)["time"])) for key, attributes in rows]
        return sorted(found, key=lambda one: (one.time, one.name))

    def find(self, name: str, domain: str = "", *, actor: Actor) -> BackupLabel:
        """A domain's label, else the server's of that name (for the time alone no right is needed). Raises NotFoundError."""
        found = self._directory.domain_by_name(domain) if domain else None
        for scope, id in (("domain", found.id if found else -1), ("server", 0)):
            row = self._directory.database.query_row(
                "SELECT attributes FROM object WHERE scope = ? AND scope_id = ? AND kind = ? AND key = ?", (scope, id, KIND, name)
            )
            if row is not None:
                return BackupLabel(name, domain, int(json.loads(row[0])["time"]))
        raise NotFoundError(f"there is no backup label {name[:64]}")

    async def add(self, name: str, domain: str = "", *, actor: Actor) -> BackupLabel:
        """Name this moment. Raises AlreadyExistsError, InvalidNameError, NotFoundError, PermissionDeniedError."""
        if not _NAME.match(name):
            raise InvalidNameError("a label has 1 to 64 letters, digits and . _ -")
        scope, id = self._scope(domain, actor)
        now = int(time.time())

        def operation(transaction: Transaction) -> None:
            key = (scope, id, KIND, name)
            if transaction.row("SELECT 1 FROM object WHERE scope = ? AND scope_id = ? AND kind = ? AND key = ?", key):
                raise AlreadyExistsError(f"there is a backup label {name} already")
            transaction.execute(
                "INSERT INTO object (kind, scope, scope_id, key, attributes) VALUES (?, ?, ?, ?, ?)",
                (KIND, scope, id, name, json.dumps({"time": now})),
            )
            transaction.record(actor.name, "backup", id, "add label", None, {"label": name})

        await self._directory.database.write(operation)
        self._directory.poll()
        return BackupLabel(name, domain, now)

    async def remove(self, name: str, domain: str = "", *, actor: Actor) -> None:
        """REMOVE BACKUP. Raises NotFoundError, PermissionDeniedError."""
        if not await self._remove(domain, actor, name):
            raise NotFoundError(f"there is no backup label {name[:64]}")

    async def purge(self, domain: str = "", *, actor: Actor) -> int:
        """PURGE BACKUPS: all labels go; returns how many."""
        return await self._remove(domain, actor, None)

    async def _remove(self, domain: str, actor: Actor, name: str | None) -> int:
        scope, id = self._scope(domain, actor)

        def operation(transaction: Transaction) -> int:
            where, values = "scope = ? AND scope_id = ? AND kind = ?", [scope, id, KIND]
            if name is not None:
                where, values = f"{where} AND key = ?", [*values, name]
            transaction.execute(f"DELETE FROM object WHERE {where}", values)
            count = transaction.changed()
            if count:
                transaction.record(actor.name, "backup", id, "remove labels", {"label": name})
            return count

        count = await self._directory.database.write(operation)
        self._directory.poll()
        return count
