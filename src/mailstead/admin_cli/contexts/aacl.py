"""Administrators, groups and permissions (ADM-01): `<aacl#>`, `<aacl-adminGroup#>`, `<aacl-adminUser#>`.

Invariants: what is changed in a user's or group's context is written, whole, when DONE leaves it (the protocol has no COMMIT here);
removing takes effect at once; who lacks manageAdminACL does not see this context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailstead.admin_cli.attributes import AttributeContext, Special
from mailstead.admin_cli.context import CliContext, Command, DoneContext, Result, SubContext, command, write
from mailstead.admin_cli.contexts.account_objects import METHOD, security_method_commands
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.objects import Owner, objects_of, stage
from mailstead.admin_cli.permission_names import HINT, domain_lines, permission_changes, server_lines
from mailstead.admin_cli.responses import Reply, quoted, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.admins import check_admin_password
from mailstead.directory.password_policy import StoredPassword
from mailstead.settings.declaration import boolean
from mailstead.settings.edits import Place
from mailstead.settings.permissions import SERVER_FORM

MAX_PASSWORD = 1024
_YES_NO = boolean("value", False, "")


class AaclContext(SubContext):
    """The list of administrators and groups."""

    name = "aacl"
    title = "AACL"

    @command("DONE", "goes to the previous context")
    def done(self, arguments: Arguments) -> Result:
        """DONE: nothing waits here."""
        self.session.leave(self)
        return None

    @command("LIST admin-users", "lists the administrators")
    def list_users(self, arguments: Arguments) -> Result:
        """LIST admin-users."""
        rows = [(admin.name, admin.description) for admin in self.session.services.directory.admins()]
        return table("The list of admin users:", ("name", "description"), rows)

    @command("LIST admin-groups", "lists the groups")
    def list_groups(self, arguments: Arguments) -> Result:
        """LIST admin-groups."""
        rows = [(group.name, group.description) for group in self.session.services.directory.admin_groups()]
        return table("The list of admin groups:", ("name", "description"), rows)

    @command("LIST resources", "lists what permissions were given on")
    def list_resources(self, arguments: Arguments) -> Result:
        """LIST resources: the server and the domains with entries."""
        directory = self.session.services.directory
        rows = []
        for number in sorted({entry.domain_id for entry in directory.permission_entries()}):
            domain = directory.domain(number) if number else None
            rows.append(("Server", "") if not number else ("Domain", domain.name if domain is not None else f"({number})"))
        return table("The list of resources:", ("type", "name"), rows)

    @command("LIST server-principals", "lists who has permissions on the server")
    def list_server_principals(self, arguments: Arguments) -> Result:
        """LIST server-principals."""
        return _principals(self, 0)

    @command("LIST domain-principals [domain] <name>", "lists who has permissions on a domain")
    def list_domain_principals(self, arguments: Arguments) -> Result:
        """LIST domain-principals."""
        domain = self.session.services.directory.domain_by_name(arguments["domain"])
        if domain is None:
            raise CommandError(f"the domain {arguments['domain'][:80]} does not exist")
        return _principals(self, domain.id)

    @command("PURGE resources", "forgets permissions on domains that are gone")
    async def purge(self, arguments: Arguments) -> Result:
        """PURGE resources."""
        await self.session.services.directory.purge_permissions(actor=self.session.actor)
        return None

    @command("ADD admin-group [name] <name>", "adds a group; it exists after DONE")
    def add_group(self, arguments: Arguments) -> Result:
        """ADD admin-group."""
        _refuse_taken(self, arguments["name"])
        self.session.enter(AdminGroupContext(self, arguments["name"], new=True))
        return None

    @command("UPDATE admin-group [name] <name>", "enters a group")
    def update_group(self, arguments: Arguments) -> Result:
        """UPDATE admin-group."""
        self.session.enter(AdminGroupContext(self, _need_group(self, arguments["name"]).name, new=False))
        return None

    @command("REMOVE admin-group [name] <name> [forced]", "removes a group; with members only when forced")
    async def remove_group(self, arguments: Arguments) -> Result:
        """REMOVE admin-group."""
        directory = self.session.services.directory
        group = _need_group(self, arguments["name"])
        if directory.admin_members(group.id) and "forced" not in arguments.flags:
            raise CommandError(f"the group {group.name} has members; write forced to remove it all the same")
        await directory.delete_admin(group.name, actor=self.session.actor)
        return None

    @command("SHOW admin-group [name] <name>", "shows a group")
    def show_group(self, arguments: Arguments) -> Result:
        """SHOW admin-group."""
        return _show(AdminGroupContext(self, _need_group(self, arguments["name"]).name, new=False))

    @command("ADD admin-user [name] <name> password <password>", "adds an administrator; it exists after DONE")
    async def add_user(self, arguments: Arguments) -> Result:
        """ADD admin-user."""
        _refuse_taken(self, arguments["name"])
        context = AdminUserContext(self, arguments["name"], new=True)
        context.new_password = await self.session.services.directory.stored_password(_checked(arguments["password"]))
        self.session.enter(context)
        return None

    @command("UPDATE admin-user [name] <name>", "enters an administrator")
    def update_user(self, arguments: Arguments) -> Result:
        """UPDATE admin-user."""
        self.session.enter(AdminUserContext(self, _need_user(self, arguments["name"]).name, new=False))
        return None

    @command("REMOVE admin-user [name] <name>", "removes an administrator")
    async def remove_user(self, arguments: Arguments) -> Result:
        """REMOVE admin-user."""
        user = _need_user(self, arguments["name"])
        await self.session.services.directory.delete_admin(user.name, actor=self.session.actor)
        return None

    @command("SHOW admin-user [name] <name>", "shows an administrator")
    def show_user(self, arguments: Arguments) -> Result:
        """SHOW admin-user."""
        return _show(AdminUserContext(self, _need_user(self, arguments["name"]).name, new=False))


class _HolderContext(AttributeContext, DoneContext):
    """A holder of permissions: `holder` is its stored name."""

    def __init__(self, parent: CliContext, holder: str, *, new: bool) -> None:
        super().__init__(parent.session, parent)
        self.holder = holder
        self.new = new
        self.renamed_to = ""
        self.description: str | None = None
        self.new_password: StoredPassword | None = None
        self.waiting_parents: dict[str, bool] = {}
        self.waiting_effects: dict[tuple[int, str], str] = {}
        """What waits for DONE, to be shown: groups it joins or leaves, and the effect of (domain id, permission), "" for none."""
        self.begin()

    @property
    def holder_id(self) -> int:
        """Its id; 0 for one that is not stored yet."""
        directory = self.session.services.directory
        found = directory.admin(self.holder) or directory.admin_group(self.holder)
        return found.id if found is not None else 0

    def specials(self) -> Sequence[Special]:
        """Name and description."""
        return (
            Special("name", "name", _rename, lambda context: quoted(context.renamed_to or context.holder)),
            Special("description", "string", _describe, lambda context: quoted(context.description_now())),
        )

    def description_now(self) -> str:
        """What waits, or what is stored."""
        if self.description is not None:
            return self.description
        directory = self.session.services.directory
        found = directory.admin(self.holder) or directory.admin_group(self.holder)
        return found.description if found is not None else ""

    def creation(self) -> Any:
        """The step that makes it."""
        raise NotImplementedError

    async def collect(self) -> None:
        """Creation in front, then everything else, and write it."""
        directory, actor = self.session.services.directory, self.session.actor
        waiting = list(self.pending.steps)
        steps = []
        if self.new:
            steps.append(self.creation())
        elif self.new_password is not None:
            steps.append(directory.admin_password_change(self.holder, self.new_password, actor=actor))
        if self.description is not None:
            steps.append(directory.admin_description(self.holder, self.description, actor=actor))
        self.pending.steps[:0] = steps
        if self.renamed_to and self.renamed_to != self.holder:
            self.pending.add(directory.admin_renaming(self.holder, self.renamed_to, actor=actor))
        changes_itself = self.holder == actor.name and self.new_password is not None
        try:
            await write(self)
        except BaseException:
            self.pending.steps[:] = waiting
            raise
        if changes_itself:
            self.session.password_changed()

    def value_lines(self) -> list[str]:
        """GRANT of each permission."""
        return [*domain_lines(self, "domain <name>"), *server_lines(self)]

    @command("DONE", "writes the changes and goes to the previous context")
    async def write_and_leave(self, arguments: Arguments) -> Result:
        """DONE: `collect` writes, there is no COMMIT above."""
        return await self.done_command(arguments)  # type: ignore[no-any-return, misc]

    @command("LIST parents", "lists the groups it is in")
    def list_parents(self, arguments: Arguments) -> Result:
        """LIST parents."""
        return table("The list of parent groups:", ("name",), ((name,) for name in self.parents()))

    def parents(self) -> list[str]:
        """Its groups by name, as they are to be after DONE."""
        found = set(self.session.services.directory.admin_parents(self.holder_id))
        joined = {name for name, joins in self.waiting_parents.items() if joins}
        return sorted((found | joined) - (self.waiting_parents.keys() - joined))

    def entries(self) -> dict[tuple[int, str], str]:
        """Its own effect of each (domain id, permission), as it is to be after DONE."""
        number = self.holder_id
        stored = self.session.services.directory.permission_entries(holder_id=number) if number else []
        found = {(entry.domain_id, entry.permission): entry.effect for entry in stored}
        return {key: effect for key, effect in (found | self.waiting_effects).items() if effect}

    def effects(self) -> dict[tuple[int, str], str]:
        """The same after inheritance: its own entries, else a refusal before a grant over all groups (section 7)."""
        directory = self.session.services.directory
        inherited: dict[tuple[int, str], str] = {}
        seen: set[str] = set()
        level = self.parents()
        while level:
            seen.update(level)
            groups = [group for name in level if (group := directory.admin_group(name)) is not None]
            for group in groups:
                for entry in directory.permission_entries(holder_id=group.id):
                    key = (entry.domain_id, entry.permission)
                    if inherited.get(key) != "deny":
                        inherited[key] = entry.effect
            level = sorted({name for group in groups for name in directory.admin_parents(group.id)} - seen)
        return inherited | self.entries()

    @command("ADD parent-group [name] <name>", "puts it into a group")
    def add_parent(self, arguments: Arguments) -> Result:
        """ADD parent-group."""
        return self._membership(arguments["name"], add=True)

    @command("REMOVE parent-group [name] <name>", "takes it out of a group")
    def remove_parent(self, arguments: Arguments) -> Result:
        """REMOVE parent-group."""
        return self._membership(arguments["name"], add=False)

    def _membership(self, name: str, *, add: bool) -> Result:
        group = _need_group(self, name).name
        if add and group == self.holder:
            raise CommandError(f"the group {group} cannot be in itself")
        if not add and group not in self.parents():
            raise CommandError(f"{self.holder} is not in the group {group}")
        self.pending.add(self.session.services.directory.admin_membership(group, self.holder, actor=self.session.actor, add=add))
        self.waiting_parents[group] = add
        return None

    @command("GRANT permission (<permNames>) [domain <name>]", f"gives permissions; {HINT}")
    def grant(self, arguments: Arguments) -> Result:
        """GRANT."""
        return self._permissions(arguments, "grant")

    @command("DENY permission (<permNames>) [domain <name>]", f"refuses permissions; {HINT}")
    def deny(self, arguments: Arguments) -> Result:
        """DENY."""
        return self._permissions(arguments, "deny")

    @command("REVOKE permission (<permNames>) [domain <name>]", f"forgets what was said of permissions; {HINT}")
    def revoke(self, arguments: Arguments) -> Result:
        """REVOKE."""
        return self._permissions(arguments, "")

    def _permissions(self, arguments: Arguments, effect: str) -> Result:
        for change in permission_changes(self, self.holder, arguments.lists["permnames"], arguments.get("domain"), effect):
            self.pending.add(change.step)
            self.waiting_effects[change.domain_id, change.permission] = effect
        return None

    @command("SHOW effective-permissions [domain <name>]", "shows permissions after inheritance")
    def show_effective(self, arguments: Arguments) -> Result:
        """SHOW effective-permissions."""
        directory = self.session.services.directory
        number = 0
        if "domain" in arguments:
            domain = directory.domain_by_name(arguments["domain"])
            if domain is None:
                raise CommandError(f"the domain {arguments['domain'][:80]} does not exist")
            number = domain.id
        admin = directory.admin(self.holder)
        if admin is not None and admin.everything:
            return Reply(["", "Effective permissions:", "everything", ""])
        effects = self.effects()
        shown = {name: effect for (place, name), effect in effects.items() if place == number}
        for name, server in SERVER_FORM.items() if number else ():
            if effects.get((0, server)) == "grant":
                shown.setdefault(name, "grant")  # what is given on any domain is given on this one
        lines = [f"{name} ({effect})" for name, effect in sorted(shown.items())]
        return Reply(["", "Effective permissions:", *lines, ""])

    @command("SHOW", "shows it with its permissions")
    def show_all(self, arguments: Arguments) -> Result:
        """SHOW: parameters, then a heading line for the server and for each domain with what was said there."""
        return _show(self)


class AdminGroupContext(_HolderContext):
    """`<aacl-adminGroup#>`."""

    name = "aacl-adminGroup"
    title = "admin-group"

    def creation(self) -> Any:
        directory = self.session.services.directory
        return directory.admin_group_creation(directory.ids.next(), self.holder, actor=self.session.actor)

    @command("LIST members", "lists who is in it")
    def list_members(self, arguments: Arguments) -> Result:
        """LIST members."""
        found = self.session.services.directory.admin_members(self.holder_id)
        return table("The list of members:", ("name",), ((name,) for name in found))


class AdminUserContext(_HolderContext):
    """`<aacl-adminUser#>`."""

    name = "aacl-adminUser"
    title = "admin-user"

    def specials(self) -> Sequence[Special]:
        """And the password."""
        return (
            *super().specials(),
            Special("password", "password", _set_password, None, ("passwd",)),
            Special("twoFactorConfigured", "bool", _set_two_factor, _two_factor),
        )

    @classmethod
    def extra_commands(cls) -> list[Command]:
        """Second factors."""
        return [*super().extra_commands(), *security_method_commands(_method_owner, add=False)]

    def creation(self) -> Any:
        directory = self.session.services.directory
        made = self.new_password or StoredPassword("", "", "")
        return directory.admin_creation(directory.ids.next(), self.holder, made, actor=self.session.actor)


def _show(context: _HolderContext) -> Reply:
    directory = context.session.services.directory
    lines = ["", "General parameters:", *(f"{name} = {value}" for name, value in context.shown_pairs())]
    lines += [f"parent group {quoted(name)}" for name in context.parents()]
    admin = directory.admin(context.holder)
    if admin is not None and admin.everything:
        lines.append("Permissions on Server: everything")
    entries = sorted(context.entries().items())
    for place in sorted({number for (number, _name), _effect in entries}):
        domain = directory.domain(place) if place else None
        if place and domain is None:
            continue
        lines.append("Permissions on Server:" if domain is None else f"Permissions on Domain {quoted(domain.name)}:")
        lines += [f"    {name} ({effect})" for (number, name), effect in entries if number == place]
    return Reply([*lines, ""])


def _principals(context: CliContext, domain_id: int) -> Reply:
    directory = context.session.services.directory
    names = directory.holder_names()
    rows = [
        (names.get(entry.holder_id, "?"), entry.permission, entry.effect)
        for entry in directory.permission_entries(domain_id=domain_id)
    ]
    if domain_id == 0:
        rows += [(admin.name, "everything", "grant") for admin in directory.admins() if admin.everything]
    return table("The list of principals:", ("name", "permission", "effect"), sorted(rows))


def _need_group(context: CliContext, name: str) -> Any:
    found = context.session.services.directory.admin_group(name)
    if found is None:
        raise CommandError(f"the administrator group {name[:80]} does not exist")
    return found


def _need_user(context: CliContext, name: str) -> Any:
    found = context.session.services.directory.admin(name)
    if found is None:
        raise CommandError(f"the administrator {name[:80]} does not exist")
    return found


def _refuse_taken(context: CliContext, name: str) -> None:
    context.session.actor.require("manageAdminACL")
    directory = context.session.services.directory
    if directory.admin(name) is not None or directory.admin_group(name) is not None:
        raise CommandError(f"the administrator or group {name[:80]} already exists")


def _checked(password: str) -> str:
    check_admin_password(password)
    return password


def _rename(context: Any, value: Word) -> None:
    if value.text != context.holder:
        _refuse_taken(context, value.text)
    context.renamed_to = value.text


def _describe(context: Any, value: Word) -> None:
    context.description = value.text


def _method_owner(context: Any) -> Owner:
    return Owner(Place("admin", context.holder_id), "manageAdminACL")


def _two_factor(context: Any) -> str:
    found = objects_of(context, METHOD, _method_owner(context)) if context.holder_id else []
    return "yes" if any(row.values.confirmed for row in found) else "no"


def _set_two_factor(context: Any, value: Word) -> None:
    if _YES_NO.parse(value.text):
        raise CommandError("a second factor is configured in the web administration, with proof that it works")
    for row in objects_of(context, METHOD, _method_owner(context)) if context.holder_id else ():
        stage(context, METHOD, _method_owner(context), row, None)


async def _set_password(context: Any, value: Word) -> None:
    context.new_password = await context.session.services.directory.stored_password(_checked(value.text))
