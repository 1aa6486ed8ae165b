"""Which domains take their users over from another server at the first login (MIG-01), and how.

Invariants: a changed setting, in whatever process, counts from the next look on.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailstead.directory.model import Domain
from mailstead.directory.service import Directory
from mailstead.settings.database import Change
from mailstead.settings.declaration import InvalidValueError, Snapshot
from mailstead.settings.declarations import DOMAIN_CONTEXTS
from mailstead.settings.edits import place_of, read_values

CONTEXT = DOMAIN_CONTEXTS["migrationData"]


class MigratingDomains:
    """One per process; looks are cheap."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: dict[int, Snapshot] = {}
        directory.database.subscribe(self._changed)

    def _changed(self, changes: Sequence[Change] | None) -> None:
        if changes is None or any(change.kind in ("setting", "domain") for change in changes):
            self._known.clear()

    def values(self, domain_id: int) -> Snapshot:
        """The context migrationData of a domain; of one that does not exist the defaults."""
        self._directory.database.poll()
        found = self._known.get(domain_id)
        if found is None:
            database = self._directory.database
            with database.lock:
                values = CONTEXT.defaults()
                for name, text in read_values(database, place_of(CONTEXT, domain_id, domain_id), CONTEXT).items():
                    try:
                        values[name] = CONTEXT.setting(name).parse(text)
                    except InvalidValueError:
                        continue  # A range became narrower in a newer release: the default holds.
                found = self._known[domain_id] = Snapshot(values)
        return found

    def taking_over(self, name: str) -> tuple[Domain, Snapshot] | None:
        """The enabled domain of that name (or alias) where unknown users are asked for elsewhere."""
        domain = self._directory.domain_by_name(name)
        if domain is None or not domain.enabled:
            return None
        values = self.values(domain.id)
        return (domain, values) if values.enable and values.remoteImapHost else None

    def smtp_host(self, name: str) -> tuple[str, int] | None:
        """Host (a name, or an address in brackets) and port that take mail for users of a domain who have not come yet."""
        domain = self._directory.domain_by_name(name)
        if domain is None or not domain.enabled:
            return None
        values = self.values(domain.id)
        if not values.enable or not values.remoteSmtpHost:
            return None
        return str(values.remoteSmtpHost), int(values.remoteSmtpPort)
