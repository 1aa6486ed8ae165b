"""Administrators, their groups and effective rights, read (ADM-01).

Order of evaluation: explicit DENY of the user, explicit GRANT of the user, DENY in any group, GRANT in any group, nothing.
Groups nest,
loops are harmless.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailstead.directory.base import DirectoryBase
from mailstead.directory.model import Admin, Credentials, NotFoundError
from mailstead.settings.actor import Actor


@dataclass(frozen=True, slots=True)
class AdminGroup:
    """A group of administrators."""

    id: int
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class PermissionEntry:
    """One explicit entry; `domain_id` 0 is the server, `effect` grant or deny."""

    holder_id: int
    domain_id: int
    permission: str
    effect: str


class AdminLookups(DirectoryBase):
    """Look-ups of administrators."""

    def admin(self, name: str) -> Admin | None:
        """An administrator by name."""
        row = self.database.query_row(
            "SELECT id, name, description, enabled, super, auth_version FROM admin WHERE name = ?", (name,)
        )
        return None if row is None else Admin(row[0], row[1], row[2], bool(row[3]), bool(row[4]), row[5])

    def admins(self) -> list[Admin]:
        """All administrators by name."""
        rows = self.database.query("SELECT id, name, description, enabled, super, auth_version FROM admin ORDER BY name")
        return [Admin(row[0], row[1], row[2], bool(row[3]), bool(row[4]), row[5]) for row in rows]

    def admin_credentials(self, admin_id: int) -> Credentials | None:
        """Secrets of an administrator."""
        row = self.database.query_row("SELECT password, scram FROM admin WHERE id = ?", (admin_id,))
        return None if row is None else Credentials(row[0], row[1], "", False, 0)

    def admin_actor(self, name: str) -> Actor:
        """The actor an enabled administrator is, with its effective rights now. Raises NotFoundError."""
        admin = self.admin(name)
        if admin is None or not admin.enabled:
            raise NotFoundError(f"the administrator {name} does not exist or is disabled")
        if admin.everything:
            return Actor(admin.name, everything=True)
        effects = self._effects(admin.id)
        server = frozenset(p for (d, p), effect in effects.items() if d == 0 and effect == "grant")
        granted: dict[int, set[str]] = {}
        denied: dict[int, set[str]] = {}
        for (domain_id, permission), effect in effects.items():
            if domain_id:
                (granted if effect == "grant" else denied).setdefault(domain_id, set()).add(permission)
        return Actor(
            admin.name,
            server=server,
            domains={d: frozenset(p) for d, p in granted.items()},
            denied={d: frozenset(p) for d, p in denied.items()},
        )

    def _effects(self, admin_id: int) -> dict[tuple[int, str], str]:
        """Effect of each (domain, permission): the user's own entries, else deny before grant over all groups."""
        groups: set[int] = set()
        level = [admin_id]
        while level:
            marks = ",".join("?" * len(level))
            rows = self.database.query(f"SELECT group_id FROM admin_member WHERE member_id IN ({marks})", level)
            level = list({row[0] for row in rows} - groups)
            groups.update(level)
        result: dict[tuple[int, str], str] = {}
        own: dict[tuple[int, str], str] = {}
        for holder in (admin_id, *sorted(groups)):
            rows = self.database.query("SELECT domain_id, permission, effect FROM admin_permission WHERE holder_id = ?", (holder,))
            for domain_id, permission, effect in rows:
                if holder == admin_id:
                    own[domain_id, permission] = effect
                elif result.get((domain_id, permission)) != "deny":
                    result[domain_id, permission] = effect
        return {**result, **own}

    # -- groups and entries -----------------------------------------------------------------------------------

    def admin_group(self, name: str) -> AdminGroup | None:
        """A group by name."""
        row = self.database.query_row("SELECT id, name, description FROM admin_group WHERE name = ?", (name,))
        return None if row is None else AdminGroup(*row)

    def admin_groups(self) -> list[AdminGroup]:
        """All groups by name."""
        return [AdminGroup(*row) for row in self.database.query("SELECT id, name, description FROM admin_group ORDER BY name")]

    def admin_parents(self, holder_id: int) -> list[str]:
        """Names of the groups that an administrator or group is in."""
        rows = self.database.query(
            "SELECT g.name FROM admin_member m JOIN admin_group g ON g.id = m.group_id WHERE m.member_id = ? ORDER BY g.name",
            (holder_id,),
        )
        return [row[0] for row in rows]

    def admin_members(self, group_id: int) -> list[str]:
        """Names of the administrators and groups in a group."""
        rows = self.database.query(
            "SELECT coalesce(a.name, g.name) FROM admin_member m LEFT JOIN admin a ON a.id = m.member_id "
            "LEFT JOIN admin_group g ON g.id = m.member_id WHERE m.group_id = ? ORDER BY 1",
            (group_id,),
        )
        return [row[0] for row in rows if row[0] is not None]

    def permission_entries(self, *, holder_id: int | None = None, domain_id: int | None = None) -> list[PermissionEntry]:
        """Explicit entries of a holder, or on a domain (0: the server), or all."""
        where, values = [], []
        for column, value in (("holder_id", holder_id), ("domain_id", domain_id)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        clause = f" WHERE {' AND '.join(where)}" if where else ""
        rows = self.database.query(
            f"SELECT holder_id, domain_id, permission, effect FROM admin_permission{clause} "
            "ORDER BY domain_id, permission, holder_id",
            values,
        )
        return [PermissionEntry(*row) for row in rows]

    def holder_names(self) -> dict[int, str]:
        """Names of all administrators and groups by id."""
        rows = self.database.query("SELECT id, name FROM admin UNION ALL SELECT id, name FROM admin_group")
        return {int(row[0]): str(row[1]) for row in rows}

    def effective_effects(self, holder_id: int) -> dict[tuple[int, str], str]:
        """Effect (grant, deny) of each (domain id, permission) after inheritance."""
        return self._effects(holder_id)
