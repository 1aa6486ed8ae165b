"""Administrators, their groups and permissions (ADM-01): GRANT, REVOKE, DENY and the effective view.

Order of evaluation: explicit DENY of the user, explicit GRANT of the user, DENY in any group, GRANT in any group,
nothing. A domain permission is asked on the domain first, then as its server form. Groups nest, loops are harmless.

Invariants: only who holds `manageAdminACL` changes rights; nobody grants what it does not hold itself, lifts a refusal of it,
or sets the password of who holds it; the last administrator with every right cannot be removed or disabled.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from mailstead.directory.admin_lookups import AdminLookups
from mailstead.directory.model import (
    Admin,
    AlreadyExistsError,
    DirectoryError,
    InvalidNameError,
    NotFoundError,
    PasswordRefusedError,
    UnknownPermissionError,
)
from mailstead.directory.password_policy import StoredPassword, make_stored
from mailstead.settings.actor import Actor, PermissionDeniedError
from mailstead.settings.database import Transaction
from mailstead.settings.edits import Step
from mailstead.settings.objects import remove_owned
from mailstead.settings.permissions import canonical

MAX_NAME = 64


def _checked_name(name: str) -> str:
    text = name.strip()
    if not text or len(text) > MAX_NAME or any(ord(c) < 33 or c in '"()' for c in text):
        raise InvalidNameError(f"a name has 1 to {MAX_NAME} characters, without blanks, quotes and parentheses")
    return text


MIN_PASSWORD, MAX_PASSWORD = 8, 1024


def check_admin_password(password: str) -> None:
    """Rules for administrators: they may do anything, so no password of theirs is short. Raises PasswordRefusedError."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise PasswordRefusedError(f"an administrator's password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")


class PermissionChange(NamedTuple):
    """The step that changes what a holder has of a permission, with its name as it is spelled and the domain's id, 0 for the
    server."""

    permission: str
    domain_id: int
    step: Step


class AdminVerbs(AdminLookups):
    """Verbs on administrators. The holder of a permission is an admin or a group, by name."""

    async def create_admin(
        self, name: str, password: str, *, actor: Actor, everything: bool = False, description: str = ""
    ) -> Admin:
        """Create an administrator; with `everything` one that has every right, as the first one has."""
        actor.require("manageAdminACL")
        check_admin_password(password)
        stored = await asyncio.to_thread(make_stored, password, recoverable=False)
        admin_id = self.ids.next()
        await self._change(
            self.admin_creation(admin_id, name, stored, actor=actor, everything=everything, description=description).operation
        )
        found = self.admin(name.strip())
        assert found is not None
        return found

    def admin_creation(
        self, admin_id: int, name: str, stored: StoredPassword, *, actor: Actor, everything: bool = False, description: str = ""
    ) -> Step:
        """Create an administrator under an id drawn before."""
        actor.require("manageAdminACL")
        if everything and not actor.everything:
            raise PermissionDeniedError(f"{actor.name} may not give every right")
        name = _checked_name(name)

        def operation(transaction: Transaction) -> None:
            _refuse_name(transaction, name)
            transaction.execute(
                "INSERT INTO admin (id, name, description, enabled, password, scram, super, auth_version) "
                "VALUES (?, ?, ?, 1, ?, ?, ?, ?)",
                # A session goes by name and version: one who comes back under a name must not have a version that was.
                (admin_id, name, description, stored.password, stored.scram, int(everything), transaction.now),
            )
            transaction.record(actor.name, "admin", admin_id, "create", None, {"name": name, "everything": everything})

        return Step(operation)

    async def create_admin_group(self, name: str, *, actor: Actor, description: str = "") -> int:
        """Create an empty group; returns its id."""
        group_id = self.ids.next()
        await self._change(self.admin_group_creation(group_id, name, actor=actor, description=description).operation)
        return group_id

    def admin_group_creation(self, group_id: int, name: str, *, actor: Actor, description: str = "") -> Step:
        """Create an empty group under an id drawn before."""
        actor.require("manageAdminACL")
        name = _checked_name(name)

        def operation(transaction: Transaction) -> None:
            _refuse_name(transaction, name)
            transaction.execute("INSERT INTO admin_group (id, name, description) VALUES (?, ?, ?)", (group_id, name, description))
            transaction.record(actor.name, "adminGroup", group_id, "create", None, {"name": name})

        return Step(operation)

    def admin_description(self, holder: str, description: str, *, actor: Actor) -> Step:
        """Describe an administrator or group."""
        actor.require("manageAdminACL")
        if len(description) > 255 or not description.isprintable():
            raise InvalidNameError("a description has at most 255 printable characters")

        def operation(transaction: Transaction) -> None:
            number = _holder(transaction, holder)
            _refuse_above(transaction, number, actor)
            for table in ("admin", "admin_group"):
                transaction.execute(f"UPDATE {table} SET description = ? WHERE id = ?", (description, number))
            transaction.record(actor.name, "admin", number, "set description", None, {"description": description})

        return Step(operation)

    def admin_renaming(self, holder: str, name: str, *, actor: Actor) -> Step:
        """Give an administrator or group another name."""
        actor.require("manageAdminACL")
        name = _checked_name(name)

        def operation(transaction: Transaction) -> None:
            number = _holder(transaction, holder)
            _refuse_above(transaction, number, actor)
            _refuse_name(transaction, name)
            for table in ("admin", "admin_group"):
                transaction.execute(f"UPDATE {table} SET name = ? WHERE id = ?", (name, number))
            _bump_all(transaction)
            transaction.record(actor.name, "admin", number, "rename", {"name": holder}, {"name": name})

        return Step(operation)

    async def delete_admin(self, name: str, *, actor: Actor) -> None:
        """Delete an administrator or group. Raises DirectoryError for the last one with every right."""
        actor.require("manageAdminACL")

        def operation(transaction: Transaction) -> None:
            holder = _holder(transaction, name)
            _keep_last(transaction, holder, actor)
            if transaction.row("SELECT 1 FROM admin_group WHERE id = ?", (holder,)):
                _require_entries(transaction, holder, "deny", actor)
            _bump_all(transaction)
            for table, column in (
                ("admin_permission", "holder_id"),
                ("admin_member", "group_id"),
                ("admin_member", "member_id"),
                ("admin", "id"),
                ("admin_group", "id"),
            ):
                transaction.execute(f"DELETE FROM {table} WHERE {column} = ?", (holder,))
            remove_owned(transaction, "admin", holder)
            transaction.record(actor.name, "admin", holder, "delete", {"name": name})

        await self._change(operation)

    async def enable_admin(self, name: str, enabled: bool = True, *, actor: Actor) -> None:
        """Enable or disable an administrator."""
        actor.require("manageAdminACL")

        def operation(transaction: Transaction) -> None:
            holder = _holder(transaction, name)
            if not enabled:
                _keep_last(transaction, holder, actor)
            transaction.execute(
                "UPDATE admin SET enabled = ?, auth_version = auth_version + 1 WHERE id = ?", (int(enabled), holder)
            )
            transaction.record(actor.name, "admin", holder, "enable" if enabled else "disable")

        await self._change(operation)

    async def set_admin_password(self, name: str, password: str, *, actor: Actor) -> None:
        """Set an administrator's password; its own without any permission."""
        check_admin_password(password)
        stored = await asyncio.to_thread(make_stored, password, recoverable=False)
        await self._change(self.admin_password_change(name, stored, actor=actor).operation)

    def admin_password_change(self, name: str, stored: StoredPassword, *, actor: Actor) -> Step:
        """Set an administrator's password: its own without any permission, another's only by who holds all of its rights."""
        if actor.name != name or actor.account_id:
            actor.require("manageAdminACL")

        def operation(transaction: Transaction) -> None:
            holder = _holder(transaction, name)
            if actor.name != name:
                _refuse_above(transaction, holder, actor)
                _require_entries(transaction, holder, "grant", actor)
            transaction.execute(
                "UPDATE admin SET password = ?, scram = ?, auth_version = auth_version + 1 WHERE id = ?",
                (stored.password, stored.scram, holder),
            )
            if not transaction.changed():
                raise NotFoundError(f"the administrator {name} does not exist")
            transaction.record(actor.name, "admin", holder, "set password", None, {"password": ""})

        return Step(operation)

    async def add_admin_member(self, group: str, member: str, *, actor: Actor) -> None:
        """Put an administrator or group into a group; only by who holds all the group's rights."""
        await self._membership(group, member, actor, add=True)

    async def remove_admin_member(self, group: str, member: str, *, actor: Actor) -> None:
        """Take it out again."""
        await self._membership(group, member, actor, add=False)

    async def _membership(self, group: str, member: str, actor: Actor, *, add: bool) -> None:
        await self._change(self.admin_membership(group, member, actor=actor, add=add).operation)

    def admin_membership(self, group: str, member: str, *, actor: Actor, add: bool) -> Step:
        """Put an administrator or group into a group, or take it out."""
        actor.require("manageAdminACL")

        def operation(transaction: Transaction) -> None:
            group_id, member_id = _holder(transaction, group), _holder(transaction, member)
            if transaction.row("SELECT 1 FROM admin_group WHERE id = ?", (group_id,)) is None:
                raise NotFoundError(f"the administrator group {group} does not exist")
            _require_entries(transaction, group_id, "grant" if add else "deny", actor)
            if add:
                transaction.execute(
                    "INSERT INTO admin_member (group_id, member_id) VALUES (?, ?) ON CONFLICT (group_id, member_id) DO NOTHING",
                    (group_id, member_id),
                )
            else:
                transaction.execute("DELETE FROM admin_member WHERE group_id = ? AND member_id = ?", (group_id, member_id))
            _bump_all(transaction)
            verb = "add member" if add else "remove member"
            transaction.record(actor.name, "adminGroup", group_id, verb, None, {"member": member})

        return Step(operation)

    async def purge_permissions(self, *, actor: Actor) -> int:
        """Forget entries on domains that are gone; returns how many."""
        actor.require("manageAdminACL")

        def operation(transaction: Transaction) -> int:
            transaction.execute(
                "DELETE FROM admin_permission WHERE domain_id != 0 AND domain_id NOT IN (SELECT id FROM domain)"
            )
            count = transaction.changed()
            if count:
                transaction.record(actor.name, "admin", 0, "purge permissions", None, {"entries": count})
            return count

        return await self._change(operation)

    async def grant(self, holder: str, permission: str, domain: str | None = None, *, actor: Actor) -> None:
        """GRANT a server permission, or a domain permission on one domain."""
        await self._permission(holder, permission, domain, "grant", actor)

    async def deny(self, holder: str, permission: str, domain: str | None = None, *, actor: Actor) -> None:
        """DENY: an explicit refusal."""
        await self._permission(holder, permission, domain, "deny", actor)

    async def revoke(self, holder: str, permission: str, domain: str | None = None, *, actor: Actor) -> None:
        """REVOKE: forget the explicit entry."""
        await self._permission(holder, permission, domain, "", actor)

    async def _permission(self, holder: str, permission: str, domain: str | None, effect: str, actor: Actor) -> None:
        await self._change(self.permission_change(holder, permission, domain, effect, actor=actor).step.operation)

    def permission_change(
        self, holder: str, permission: str, domain: str | None, effect: str, *, actor: Actor
    ) -> PermissionChange:
        """GRANT (`effect` grant), DENY (deny) or REVOKE (empty) a permission, its name in any case, of an administrator or group.
        Raises PermissionDeniedError, NotFoundError, UnknownPermissionError; when run, NotFoundError for the holder."""
        actor.require("manageAdminACL")
        domain_id = self._need_domain(domain).id if domain is not None else 0
        try:
            name = canonical(permission, domain=domain is not None)
        except ValueError as error:
            raise UnknownPermissionError(str(error)) from error
        # Giving a right, or lifting a refusal, must not reach beyond the giver's own rights.
        if effect != "deny":
            actor.require_giving(name, domain_id)

        def operation(transaction: Transaction) -> None:
            holder_id = _holder(transaction, holder)
            key = (holder_id, domain_id, name)
            transaction.execute("DELETE FROM admin_permission WHERE holder_id = ? AND domain_id = ? AND permission = ?", key)
            if effect:
                transaction.execute(
                    "INSERT INTO admin_permission (holder_id, domain_id, permission, effect) VALUES (?, ?, ?, ?)",
                    (*key, effect),
                )
            _bump_all(transaction)
            new = {"permission": name, "domain": domain}
            transaction.record(actor.name, "admin", holder_id, effect or "revoke", None, new)

        return PermissionChange(name, domain_id, Step(operation))


def _refuse_name(transaction: Transaction, name: str) -> None:
    for table in ("admin", "admin_group"):
        if transaction.row(f"SELECT 1 FROM {table} WHERE name = ?", (name,)):
            raise AlreadyExistsError(f"the administrator or group {name} already exists")


def _holder(transaction: Transaction, name: str) -> int:
    for table in ("admin", "admin_group"):
        found = transaction.value(f"SELECT id FROM {table} WHERE name = ?", (name,))
        if found is not None:
            return int(found)
    raise NotFoundError(f"the administrator or group {name} does not exist")


def _refuse_above(transaction: Transaction, holder: int, actor: Actor) -> None:
    """Who has not every right does not touch who has."""
    if transaction.value("SELECT super FROM admin WHERE id = ?", (holder,)) and not actor.everything:
        raise PermissionDeniedError(f"{actor.name} may not change an administrator with every right")


def _keep_last(transaction: Transaction, holder: int, actor: Actor) -> None:
    _refuse_above(transaction, holder, actor)
    if transaction.value("SELECT super FROM admin WHERE id = ?", (holder,)):
        others = transaction.value("SELECT count(*) FROM admin WHERE super = 1 AND enabled = 1 AND id != ?", (holder,))
        if not others:
            raise DirectoryError("the last administrator with every right must stay")


def _require_entries(transaction: Transaction, holder: int, effect: str, actor: Actor) -> None:
    """Raise PermissionDeniedError unless the actor holds every right that a holder has an entry of, itself or by a group."""
    for one in _ancestors(transaction, holder):
        entries = transaction.execute(
            "SELECT domain_id, permission FROM admin_permission WHERE holder_id = ? AND effect = ?", (one, effect)
        )
        for domain_id, permission in entries:
            actor.require_giving(permission, domain_id)


def _ancestors(transaction: Transaction, holder: int) -> set[int]:
    """The administrator or group, and every group it is in."""
    found: set[int] = set()
    level = [holder]
    while level:
        current = level.pop()
        if current in found:
            continue
        found.add(current)
        level.extend(row[0] for row in transaction.execute("SELECT group_id FROM admin_member WHERE member_id = ?", (current,)))
    return found


def _bump_all(transaction: Transaction) -> None:
    """Rights of any administrator may have changed; there are few, so all look again."""
    transaction.execute("UPDATE admin SET auth_version = auth_version + 1")
