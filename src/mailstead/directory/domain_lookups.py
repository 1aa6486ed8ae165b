"""The read side of domains: by name and id, their own settings, and whether they are active (DOM-03).

Invariants: those of `lookup`. A domain is active when it is enabled and the domain above it is active; one that
activates without its parent needs no other, and one whose parent is gone is not active.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from mailstead.directory.address import domain_key
from mailstead.directory.cache import BoundedCache
from mailstead.directory.model import Domain
from mailstead.settings.database import SystemDatabase
from mailstead.settings.declaration import InvalidValueError, Snapshot
from mailstead.settings.declarations import DOMAIN
from mailstead.settings.service import Settings

_DOMAIN_SQL = (
    "SELECT d.id, d.name, n.key, d.enabled, d.version, d.created FROM domain d "
    "JOIN domain_name n ON n.domain_id = d.id AND n.main = 1"
)

#: The settings of a domain that has none of its own.
FACTORY_DOMAIN = Snapshot(DOMAIN.defaults())


class DomainLookups:
    """Look-ups of domains over one SystemDatabase; base of `Lookup`, which drops what they keep."""

    def __init__(self, database: SystemDatabase, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self._domain_names: BoundedCache[str, tuple[int, bool]] = BoundedCache(50_000)
        self._unknown_domains: BoundedCache[str, None] = BoundedCache(20_000)
        self._domains: BoundedCache[int, Domain] = BoundedCache(50_000)
        self._domain_settings: BoundedCache[int, Snapshot] = BoundedCache(50_000)

    def domain(self, domain_id: int) -> Domain | None:
        """A domain by its id."""
        self.database.poll()
        return self._domain(domain_id)

    def _domain(self, domain_id: int) -> Domain | None:
        found = self._domains.get(domain_id)
        if found is not None:
            return found
        with self.database.lock:
            row = self.database.query_row(f"{_DOMAIN_SQL} WHERE d.id = ?", (domain_id,))
            if row is None:
                return None
            found = _as_domain(row, self._stands(domain_id))
            self._domains.put(domain_id, found)
            return found

    def domain_by_name(self, name: str) -> Domain | None:
        """A domain by its name or an alias (DOM-05), U-label or A-label."""
        self.database.poll()
        entry = self._domain_entry(name)
        return None if entry is None else self._domain(entry[0])

    def _domain_entry(self, name: str) -> tuple[int, bool] | None:
        """(domain id, whether it is the main name)."""
        entry = self._domain_names.get(name)
        if entry is not None:
            return entry
        if name in self._unknown_domains:
            return None
        key = domain_key(name)
        with self.database.lock:
            row = None
            if key is not None:
                row = self.database.query_row("SELECT domain_id, main FROM domain_name WHERE key = ?", (key,))
            if row is None:
                self._unknown_domains.put(name, None)
                return None
            entry = (int(row[0]), bool(row[1]))
            self._domain_names.put(name, entry)
            return entry

    def is_local_domain(self, domain: str) -> bool:
        """True for names and aliases of local domains, enabled or not."""
        self.database.poll()
        return self._domain_entry(domain) is not None

    def domains(self) -> list[Domain]:
        """All domains by name."""
        self.database.poll()
        rows = self.database.query(f"{_DOMAIN_SQL} ORDER BY d.name")
        below = self.database.query(
            "SELECT scope_id FROM setting INDEXED BY setting_of_domains "
            "WHERE scope = 'domainConfig' AND name = 'parentDomain' AND value <> ''"
        )
        subdomains = {int(row[0]) for row in below}
        return [_as_domain(row, row[0] not in subdomains or self._stands(row[0])) for row in rows]

    def subdomains(self, domain_id: int) -> list[Domain]:
        """Domains that name a domain, by any of its names, as the one above them (DOM-04); in the order of their names."""
        self.database.poll()
        found = [self._domain(number) for number, above in self._domains_above() if above == domain_id]
        return sorted((domain for domain in found if domain is not None), key=lambda domain: domain.name)

    def orphans(self) -> list[Domain]:
        """Subdomains of a domain that is not there; in the order of their names."""
        self.database.poll()
        found = [self._domain(number) for number, above in self._domains_above() if above is None]
        return sorted((domain for domain in found if domain is not None), key=lambda domain: domain.name)

    def _domains_above(self) -> list[tuple[int, int | None]]:
        """Id of each subdomain, and of the domain above it; None where that is gone."""
        rows = self.database.query(
            "SELECT scope_id, value FROM setting INDEXED BY setting_of_domains "
            "WHERE scope = 'domainConfig' AND name = 'parentDomain' AND value <> ''"
        )
        entries = ((int(number), self._domain_entry(value)) for number, value in rows)
        return [(number, entry[0] if entry is not None else None) for number, entry in entries]

    def _stands(self, domain_id: int) -> bool:
        """Whether nothing above a domain keeps it from being active."""
        seen = {domain_id}
        while True:
            config = self._domain_config(domain_id)
            if not config.parentDomain or config.activateWithoutParent:
                return True
            entry = self._domain_entry(config.parentDomain)
            row = None
            if entry is not None:
                domain_id = entry[0]
                row = self.database.query_row("SELECT enabled FROM domain WHERE id = ?", (domain_id,))
            if row is None or not row[0]:
                return False
            if domain_id in seen:  # A file may say that two domains are above each other.
                return True
            seen.add(domain_id)

    def _domain_enabled(self, domain_id: int) -> bool:
        domain = self._domain(domain_id)
        return domain is not None and domain.enabled

    def domain_aliases(self, domain_id: int) -> list[str]:
        """Aliases of a domain."""
        rows = self.database.query("SELECT name FROM domain_name WHERE domain_id = ? AND main = 0 ORDER BY name", (domain_id,))
        return [row[0] for row in rows]

    def domain_settings(self, domain_id: int) -> Snapshot:
        """The domain's own settings (context `domain`), spelled as in the CLI."""
        self.database.poll()
        return self._domain_config(domain_id)

    def _domain_config(self, domain_id: int) -> Snapshot:
        found = self._domain_settings.get(domain_id)
        if found is not None:
            return found
        with self.database.lock:
            explicit = self.settings.explicit("domainConfig", domain_id)
            if not explicit:
                self._domain_settings.put(domain_id, FACTORY_DOMAIN)
                return FACTORY_DOMAIN
            values = DOMAIN.defaults()
            for name, text in explicit.items():
                setting = DOMAIN.by_name.get(name.lower())
                if setting is not None:
                    with contextlib.suppress(InvalidValueError):  # A range became narrower in a newer release.
                        values[setting.name] = setting.parse(text)
            found = Snapshot(values)
            self._domain_settings.put(domain_id, found)
            return found


def _as_domain(row: Sequence[Any], stands: bool) -> Domain:
    number, name, key, enabled, version, created = row
    return Domain(number, name, key, bool(enabled) and stands, version, created, bool(enabled))
