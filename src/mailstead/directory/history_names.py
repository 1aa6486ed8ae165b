"""Names of what history entries are about, and what an operator means by a name.

Invariants: a name is the present one where the object is there, else the last one that is known, marked as deleted.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailstead.directory.address import domain_key, local_key, split_address
from mailstead.directory.model import DirectoryError
from mailstead.directory.service import Directory
from mailstead.settings.database import SystemDatabase
from mailstead.settings.declarations import OBJECT_KINDS, SERVICE_CONTEXTS
from mailstead.settings.history import Filter, HistoryEntry, entries

NAMES: Mapping[str, str] = {
    "domain": "SELECT name FROM domain WHERE id = ?",
    "domainAlias": "SELECT name FROM domain WHERE id = ?",
    "account": "SELECT a.name || '@' || d.name FROM account a JOIN domain d ON d.id = a.domain_id WHERE a.id = ?",
    "recipient": "SELECT r.name || '@' || d.name FROM recipient r JOIN domain d ON d.id = r.domain_id WHERE r.id = ?",
    "accountClass": "SELECT c.name || '@' || d.name FROM account_class c JOIN domain d ON d.id = c.domain_id WHERE c.id = ?",
    "admin": "SELECT name FROM admin WHERE id = ?1 UNION ALL SELECT name FROM admin_group WHERE id = ?1",
    "adminGroup": "SELECT name FROM admin_group WHERE id = ?",
    "migration": "SELECT a.name || '@' || d.name FROM account a JOIN domain d ON d.id = a.domain_id WHERE a.id = ?",
}
SCOPE_KIND: Mapping[str, str] = {"domain": "domain", "domainConfig": "domain", "class": "accountClass", "account": "account",
               "accountData": "account", "recipient": "recipient"}  # fmt: skip


class ObjectNames:
    """Names of what history entries are about; remembered while this lives."""

    def __init__(self, database: SystemDatabase) -> None:
        self._database = database
        self._known: dict[tuple[str, int], str] = {}

    def of(self, found: HistoryEntry) -> str:
        """Kind and name, e.g. `account anna@example.org`, `imap`, `logRule 500`; `(deleted)` after what is gone."""
        told = {**(found.old or {}), **(found.new or {})}
        if found.kind == "setting":
            scope = str(told.get("scope", ""))
            if scope == "service":
                return found.verb.partition(" ")[2] if found.is_value else "server"
            if scope == "defaults":
                return "account defaults"
            if scope == "object":
                row = self._database.query_row("SELECT kind, key FROM object WHERE id = ?", (found.object_id,))
                return f"{row[0]} {row[1]}" if row else f"object #{found.object_id}"
            kind = SCOPE_KIND.get(scope, "domain")
            return f"{kind} {self._name(kind, found.object_id)}" + (", account defaults" if scope == "domain" else "")
        if found.kind == "object":
            declared = OBJECT_KINDS.get(found.verb.partition(" ")[2])
            key = told.get(declared.key) if declared is not None else None
            own = f"{found.verb.partition(' ')[2]} {key or f'#{found.object_id}'}"
            place = SCOPE_KIND.get(str(told.get("scope", "")))
            return f"{own} of {place} {self._name(place, int(told.get('scopeId', 0)))}" if place else own
        if found.kind == "listener":
            return f"listener {told.get('service', '')} {told.get('address', '')}".rstrip()
        if found.is_rights:
            return f"public folders of {self._name('domain', found.object_id)}"
        if found.kind == "accessRule":
            return f"rule {told.get('service', '')} {told.get('action', '')} {told.get('ipSet', '')}".rstrip()
        return f"{'domain' if found.kind == 'domainAlias' else found.kind} {self._name(found.kind, found.object_id)}"

    def _name(self, kind: str, object_id: int) -> str:
        key = (kind, object_id)
        if key not in self._known:
            self._known[key] = self._look(kind, object_id)
        return self._known[key]

    def _look(self, kind: str, object_id: int) -> str:
        sql = NAMES.get(kind)
        row = self._database.query_row(sql, (object_id,)) if sql else None
        if row is not None:
            return str(row[0])
        row = self._database.query_row("SELECT name FROM deleted WHERE id = ?", (object_id,))
        if row is not None:
            return f"{row[0]} (deleted)"
        for found in entries(self._database, Filter([(kind, object_id, "")]), limit=50):
            told = {**(found.old or {}), **(found.new or {})}
            name = told.get("address") or told.get("name")
            if name:
                return f"{name} (deleted)"
        return f"#{object_id}"


def objects_named(directory: Directory, text: str) -> list[tuple[str | None, int | None, str]]:
    """What `--object TEXT` means, for a Filter: a service (`imap`), an address, a domain, an administrator, a kind of named
    object (`logRule`), a kind of entry (`listener`), or `kind:id`. Raises DirectoryError for what is none of these."""
    found: list[tuple[str | None, int | None, str]] = []
    kind, colon, number = text.partition(":")
    if colon and kind.isalpha() and number.isdecimal() and len(number) < 20:
        return [(kind, int(number), "")]
    lowered = text.lower()
    for name in SERVICE_CONTEXTS:
        if name.lower() == lowered:
            found += [("setting", 0, f"set {name}")]
    if lowered in ("account defaults", "accountdefaults"):
        found += [("setting", 0, "set account")]
    for name in OBJECT_KINDS:
        if name.lower() == lowered:
            found += [("object", None, f"{verb} {name}") for verb in ("add", "set", "remove")]
    if lowered in ("listener", "listeners"):
        found += [("listener", None, ""), ("accessRule", None, "")]
    query = directory.database.query
    parts = split_address(text)
    if parts is not None:
        domain = directory.domain_by_name(parts[1])
        if domain is not None:
            key = (domain.id, local_key(parts[0]))
            rows = query("SELECT DISTINCT object_id FROM address WHERE domain_id = ? AND local = ?", key)
            found += [(None, int(row[0]), "") for row in rows]
            rows = query("SELECT id FROM account_class WHERE domain_id = ? AND name = ?", (domain.id, parts[0]))
            found += [(None, int(row[0]), "") for row in rows]
    elif domain_key(text) is not None and (domain := directory.domain_by_name(text)) is not None:
        found += [(None, domain.id, "")]
    for table in ("admin", "admin_group"):
        found += [(None, int(row[0]), "") for row in query(f"SELECT id FROM {table} WHERE lower(name) = ?", (lowered,))]
    found += [(None, int(row[0]), "") for row in query("SELECT id FROM deleted WHERE lower(name) = ?", (lowered,))]
    if not found:
        raise DirectoryError(f"there is no {text[:80]!r}; name a service, an address, a domain, an administrator, or kind:id")
    return found
