"""Making a server as a file says: the differences, by the verbs of settings and directory, in one transaction.

Invariants:
- All or nothing: the first refusal rolls everything back, and names the line of the file it came from.
- What has to be there before something can point at it is made first: groups before their members, domains and
  classes before accounts, limits before what they limit. What is removed goes first, so that its names are free.
- A secret whose text the file does not have is left out, and told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from mailstead.directory.address import address_key
from mailstead.directory.configuration.comparing import Difference
from mailstead.directory.configuration.credentials import SECRETS, credentials_operation, must_change_operation
from mailstead.directory.configuration.parents import refuse_orphans
from mailstead.directory.configuration.parsing import ConfigurationError
from mailstead.directory.configuration.rights import Rights, word_list
from mailstead.directory.configuration.schema import (
    ACCESS_RULE,
    ACCOUNT_NODE,
    ADMIN,
    ADMIN_GROUP,
    CLASS,
    DOMAIN_NODE,
    FOLDER_NODE,
    GROUP_NODE,
    LIST_NODE,
    LISTENER_NODE,
    PERMISSIONS,
    RULE,
    SECRET,
    Node,
    Table,
)
from mailstead.directory.model import DirectoryError, RecipientEdit, RecipientKind
from mailstead.directory.password_policy import StoredPassword
from mailstead.directory.recipient_kinds import FAMILIES, checked_contents
from mailstead.directory.service import Directory
from mailstead.settings.actor import Actor, PermissionDeniedError
from mailstead.settings.declaration import InvalidValueError, Setting
from mailstead.settings.declarations import SERVICE_CONTEXTS
from mailstead.settings.edits import Pending, Place
from mailstead.settings.service import Settings, check_pair
from mailstead.settings.transaction_view import TransactionView, whole

_RECIPIENTS = {
    GROUP_NODE.name: RecipientKind.GROUP, LIST_NODE.name: RecipientKind.LIST, FOLDER_NODE.name: RecipientKind.FOLDER,
}  # fmt: skip
_NOT_ATTRIBUTES = frozenset({"enabled", "digestMembers", "nomailMembers", *SECRETS})


@dataclass(slots=True)
class Applied:
    """What was done: the range (first, last] of history rows, and what an operator has to know."""

    first: int = 0
    last: int = 0
    notes: list[str] = field(default_factory=list)


async def apply_changes(directory: Directory, differences: Sequence[Difference], *, actor: Actor, dry_run: bool = False) -> Applied:
    """Make the differences. With `dry_run` everything is tried and nothing kept.

    Raises ConfigurationError for what was refused, SystemDatabaseError; then nothing was changed.
    """
    applied = Applied()

    async def work(view: TransactionView) -> Applied:
        applied.first = view.position()
        inner = Directory(view, Settings(view), directory.ids)
        await _Work(inner, actor, applied).run(differences)
        applied.last = view.position()
        if dry_run:
            raise _DryRunError
        return applied

    try:
        await directory.database.write(whole(directory.database, work))
    except _DryRunError:
        return applied
    directory.poll()
    return applied


class _DryRunError(Exception):
    """Rolls a dry run back."""


class _Work:
    def __init__(self, directory: Directory, actor: Actor, applied: Applied) -> None:
        self._directory = directory
        self._settings = directory.settings
        self._actor = actor
        self._applied = applied
        self._limits, self._values = Pending(), Pending()
        self._rights = Rights(directory, actor)
        self._line = 0

    async def run(self, differences: Sequence[Difference]) -> None:
        orphans = {domain.id for domain in self._directory.orphans()}
        try:
            removed = [(one.path, one.removed) for one in reversed(differences) if one.removed is not None]
            # One administrator with every right has to be there at all times, so a successor comes first.
            for path, node in removed:
                if node.type not in (ADMIN, ADMIN_GROUP):
                    await self._remove(path, node)
            for difference in differences:
                if difference.added is not None:
                    await self._add(difference.path, difference.added)
            for path, node in removed:
                if node.type in (ADMIN, ADMIN_GROUP):
                    await self._remove(path, node)
            for path, changes in _by_node(differences):
                await self._change(path, changes)
            for change in self._rights.waiting:
                self._line = change.line
                await self._rights.make(change)
            for pending in (self._limits, self._values):
                if pending:
                    await self._directory.commit(pending, actor=self._actor, own=lambda _seq: True, as_it_was=True)
            processing = self._settings.service("processing")
            context = SERVICE_CONTEXTS["processing"]
            check_pair(context, context.setting("schedInterval"), str(processing.schedInterval), processing)
        except (DirectoryError, InvalidValueError, PermissionDeniedError) as error:
            raise ConfigurationError([(self._line, str(error))]) from error
        refuse_orphans(self._directory, orphans, differences)

    # -- what is common to all nodes ------------------------------------------------------------------------

    def _told(self, node: Node, setting: Setting, text: str | None) -> bool:
        """False for a secret that the file does not tell."""
        if text != SECRET or not setting.secret:
            return True
        if setting.name not in ("scram", "recoverable"):
            self._applied.notes.append(f"{node.title()}: {setting.name} is not in the file, and has to be set")
        return False

    def _fields(self, node: Node) -> dict[str, str]:
        """Fields of a new node, without secrets that are not told."""
        result = {}
        for name, text in node.fields.items():
            setting = node.type.field(name)
            if setting is not None and self._told(node, setting, text):
                result[name] = text
        return result

    def _tables(self, path: tuple[Node, ...], node: Node) -> None:
        """Values of a new node, for the commit at the end."""
        for table_name, values in node.tables.items():
            for name, text in values.items():
                self._set(path, node, table_name, node.type.tables[table_name], name, text)

    def _set(self, path: tuple[Node, ...], node: Node, table_name: str, table: Table, name: str, text: str | None) -> None:
        if not table.scope:
            return
        self._line = node.lines.get(f"{table_name}.{name}", self._line)
        domain = next((one.number for one in (*path, node) if one.type is DOMAIN_NODE), 0)
        if table.context is None:
            if node.type is LIST_NODE:
                checked_contents(FAMILIES[RecipientKind.LIST], {name: text})
            permission = "manageDomainConfig" if domain else "manageServerConfig"
            self._values.set_content(Place(table.scope, node.number, "", domain), name, text, permission)
            return
        setting = table.context.setting(name)
        if not self._told(node, setting, text):
            return
        stored = table.context.stored_name(setting)
        place = Place(table.scope, node.number, stored[: len(stored) - len(setting.name)], domain)
        first = table.scope in ("domainConfig", "service")
        (self._limits if first else self._values).set_value(place, table.context, setting, text)

    async def _write(self, operation: object) -> None:
        await self._directory.database.write(operation)  # type: ignore[arg-type]
        self._directory.poll()

    # -- adding ---------------------------------------------------------------------------------------------

    async def _add(self, path: tuple[Node, ...], node: Node) -> None:
        self._line = node.lines.get("", 0)
        fields = self._fields(node)
        parent = path[-1]
        match node.type.name:
            case LISTENER_NODE.name:
                added = await self._settings.add_listener(node.key[0], node.key[1], fields, self._actor)
                node.number = added.id
            case RULE.name:
                action, ip_set = node.key
                await self._settings.add_access_rule(
                    parent.key[0], action, ip_set, fields, self._actor, listener_id=parent.number
                )
            case ACCESS_RULE.name:
                service, action, ip_set = node.key
                await self._settings.add_access_rule(service, action, ip_set, fields, self._actor)
            case ADMIN_GROUP.name:
                description = fields.get("description", "")
                node.number = await self._directory.create_admin_group(node.key[0], actor=self._actor, description=description)
                self._rights.wait(self._line, node, node, "groups", None, fields.get("groups"))
            case ADMIN.name:
                await self._add_admin(node, fields)
            case PERMISSIONS.name:
                for effect in ("grant", "deny"):
                    if effect in fields:
                        self._rights.wait(self._line, parent, node, effect, None, fields[effect])
            case DOMAIN_NODE.name:
                domain = await self._directory.create_domain(node.key[0], actor=self._actor)
                node.number = domain.id
                await self._domain_fields(node, fields)
            case CLASS.name:
                made = await self._directory.create_account_class(parent.key[0], node.key[0], actor=self._actor)
                node.number = made.id
            case ACCOUNT_NODE.name:
                await self._add_account(parent, node, fields)
            case name if name in _RECIPIENTS:
                await self._add_recipient(parent, node, fields)
            case _:
                await self._add_object(parent, node, fields)
        self._tables(path, node)
        for name in node.type.children:
            for child in node.children.get(name, {}).values():
                await self._add((*path, node), child)

    async def _add_admin(self, node: Node, fields: dict[str, str]) -> None:
        stored = StoredPassword(fields.get("password", ""), fields.get("scram", ""), "")
        node.number = self._directory.ids.next()
        step = self._directory.admin_creation(
            node.number, node.key[0], stored, actor=self._actor, everything=fields.get("everything") == "yes",
            description=fields.get("description", ""),
        )  # fmt: skip
        await self._write(step.operation)
        if fields.get("enabled") == "no":
            await self._directory.enable_admin(node.key[0], False, actor=self._actor)
        self._rights.wait(self._line, node, node, "groups", None, fields.get("groups"))

    async def _domain_fields(self, node: Node, fields: dict[str, str]) -> None:
        for alias in word_list(fields.get("aliases")):
            await self._directory.add_domain_alias(node.key[0], alias, actor=self._actor)
        if fields.get("enabled") == "no":
            await self._directory.enable_domain(node.key[0], False, actor=self._actor)

    async def _add_account(self, domain: Node, node: Node, fields: dict[str, str]) -> None:
        account = await self._directory.create_account(
            domain.key[0], node.key[0], actor=self._actor, full_name=fields.get("fullName", ""),
            class_id=self._class(domain, fields.get("class", "")),
        )  # fmt: skip
        node.number = account.id
        await self._credentials(node, {name: fields.get(name, "") for name in SECRETS})
        for alias in word_list(fields.get("aliases")):
            await self._directory.add_account_alias(account.id, alias, actor=self._actor)
        if fields.get("mustChangePass") == "yes":
            await self._write(must_change_operation(account.id, True, self._actor.name))
        if fields.get("enabled") == "no":
            await self._directory.enable_account(account.id, False, actor=self._actor)

    async def _add_recipient(self, domain: Node, node: Node, fields: dict[str, str]) -> None:
        kind = _RECIPIENTS[node.type.name]
        attributes = {name: text for name, text in fields.items() if name not in _NOT_ATTRIBUTES}
        edit = RecipientEdit(
            enabled=fields.get("enabled") != "no", members_added=node.tables.get("members", {}),
            members_options=_wishes(fields),
        )  # fmt: skip
        found = await self._directory.create_recipient(
            kind, domain.key[0], node.key[0], attributes, (), actor=self._actor, edit=edit, as_it_was=True
        )
        node.number = found.id
        if kind is RecipientKind.LIST and fields.get("password"):
            await self._credentials(node, {name: fields.get(name, "") for name in SECRETS})

    async def _add_object(self, parent: Node, node: Node, fields: dict[str, str]) -> None:
        kind = node.type.kind
        assert kind is not None
        attributes = {node.type.keys[0].name: node.key[0], **fields}
        node.number = self._directory.ids.next()
        await self._write(
            self._settings.objects.adder(kind, attributes, self._actor.name, node.type.scope, parent.number, node.number)
        )

    # -- removing -------------------------------------------------------------------------------------------

    async def _remove(self, path: tuple[Node, ...], node: Node) -> None:
        self._line = 0
        parent = path[-1]
        match node.type.name:
            case LISTENER_NODE.name:
                await self._settings.remove_listener(node.key[0], node.key[1], self._actor)
            case RULE.name:
                action, ip_set = node.key
                await self._settings.remove_access_rule(
                    parent.key[0], action, ip_set, self._actor, listener_id=parent.number
                )
            case ACCESS_RULE.name:
                service, action, ip_set = node.key
                await self._settings.remove_access_rule(service, action, ip_set, self._actor)
            case ADMIN_GROUP.name | ADMIN.name:
                await self._directory.delete_admin(node.key[0], actor=self._actor)
            case PERMISSIONS.name:
                for effect, text in node.fields.items():
                    self._rights.wait(self._line, parent, node, effect, text, None)
            case DOMAIN_NODE.name:
                await self._directory.delete_domain(node.key[0], actor=self._actor)
                self._rights.gone.add(node.key[0])
            case CLASS.name:
                await self._directory.delete_account_class(node.number, actor=self._actor)
            case ACCOUNT_NODE.name:
                await self._directory.delete_account(node.number, actor=self._actor)
            case name if name in _RECIPIENTS:
                await self._directory.delete_recipient(node.number, actor=self._actor)
            case _:
                assert node.type.kind is not None
                await self._write(
                    self._settings.objects.remover(
                        node.type.kind, node.key[0], self._actor.name, node.type.scope, parent.number
                    )
                )

    # -- changing -------------------------------------------------------------------------------------------

    async def _change(self, path: tuple[Node, ...], changes: list[Difference]) -> None:
        node, parent = path[-1], path[-2] if len(path) > 1 else path[-1]
        members = [one for one in changes if one.table == "members"]
        for one in changes:
            self._line = one.line
            if one.table and one.table != "members":
                self._set(path[:-1], node, one.table, node.type.tables[one.table], one.name, one.new)
        values: dict[str, str] = {}
        for one in changes:
            setting = node.type.field(one.name) if not one.table else None
            if setting is not None:
                values[one.name] = node.default(setting) if one.new is None else one.new
        if not values and not members:
            return
        match node.type.name:
            case LISTENER_NODE.name:
                await self._settings.update_listener(node.key[0], node.key[1], values, self._actor)
            case RULE.name:
                action, ip_set = node.key
                await self._settings.update_access_rule(
                    parent.key[0], action, ip_set, values, self._actor, listener_id=parent.number
                )
            case ACCESS_RULE.name:
                service, action, ip_set = node.key
                await self._settings.update_access_rule(service, action, ip_set, values, self._actor)
            case ADMIN_GROUP.name | ADMIN.name:
                await self._change_admin(node, values)
            case PERMISSIONS.name:
                for name, text in values.items():
                    self._rights.wait(self._line, parent, node, name, node.fields.get(name), text)
            case DOMAIN_NODE.name:
                await self._change_domain(node, values)
            case ACCOUNT_NODE.name:
                await self._change_account(parent, node, values)
            case name if name in _RECIPIENTS:
                await self._change_recipient(node, changes, values)
            case _:
                assert node.type.kind is not None
                fields = {one.name: one.new for one in changes if not one.table}
                await self._write(
                    self._settings.objects.updater(
                        node.type.kind, node.key[0], fields, self._actor.name, node.type.scope, parent.number
                    )
                )

    async def _change_admin(self, node: Node, values: dict[str, str]) -> None:
        name = node.key[0]
        if "description" in values:
            step = self._directory.admin_description(name, values["description"], actor=self._actor)
            await self._write(step.operation)
        if "everything" in values:
            raise DirectoryError(f"{node.title()}: everything cannot be changed; remove the administrator and add it anew")
        if "enabled" in values:
            await self._directory.enable_admin(name, values["enabled"] == "yes", actor=self._actor)
        if "groups" in values:
            self._rights.wait(self._line, node, node, "groups", node.fields.get("groups"), values["groups"])
        if values.keys() & set(SECRETS):
            await self._credentials(node, values)

    async def _change_domain(self, node: Node, values: dict[str, str]) -> None:
        name = node.key[0]
        if "aliases" in values:
            for alias in word_list(node.fields.get("aliases"), without=values["aliases"]):
                await self._directory.remove_domain_alias(name, alias, actor=self._actor)
            for alias in word_list(values["aliases"], without=node.fields.get("aliases")):
                await self._directory.add_domain_alias(name, alias, actor=self._actor)
        if "enabled" in values:
            await self._directory.enable_domain(name, values["enabled"] == "yes", actor=self._actor)

    async def _change_account(self, domain: Node, node: Node, values: dict[str, str]) -> None:
        directory, number = self._directory, node.number
        if "aliases" in values:
            for alias in word_list(node.fields.get("aliases"), without=values["aliases"]):
                await directory.remove_account_alias(number, alias, actor=self._actor)
            for alias in word_list(values["aliases"], without=node.fields.get("aliases")):
                await directory.add_account_alias(number, alias, actor=self._actor)
        if "class" in values:
            await directory.set_account_class(number, self._class(domain, values["class"]), actor=self._actor)
        if "fullName" in values:
            await directory.set_full_name(number, values["fullName"], actor=self._actor)
        if "mustChangePass" in values:
            await self._write(must_change_operation(number, values["mustChangePass"] == "yes", self._actor.name))
        if "enabled" in values:
            await directory.enable_account(number, values["enabled"] == "yes", actor=self._actor)
        if values.keys() & set(SECRETS):
            await self._credentials(node, values)

    async def _change_recipient(self, node: Node, changes: list[Difference], values: dict[str, str]) -> None:
        attributes = {one.name: one.new for one in changes if not one.table and one.name not in _NOT_ATTRIBUTES}
        members = [one for one in changes if one.table == "members"]
        edit = RecipientEdit(
            enabled=values["enabled"] == "yes" if "enabled" in values else None,
            attributes=attributes,
            members_added={one.name: one.new for one in members if one.old is None and one.new is not None},
            members_removed=[one.name for one in members if one.new is None],
            members_renamed={one.name: (one.name, one.new) for one in members if one.old is not None and one.new is not None},
            members_options=_wishes(values, node.fields, gone=[one.name for one in members if one.new is None]),
        )
        await self._directory.edit_recipient(node.number, edit, actor=self._actor, as_it_was=True)
        if values.keys() & set(SECRETS):
            await self._credentials(node, values)

    # -- what has no verb -----------------------------------------------------------------------------------

    async def _credentials(self, node: Node, values: dict[str, str]) -> None:
        operation = credentials_operation(node, values, self._actor.name)
        if operation is not None:
            await self._write(operation)

    def _class(self, domain: Node, name: str) -> int:
        if not name:
            return 0
        row = self._directory.database.query_row(
            "SELECT id FROM account_class WHERE domain_id = ? AND name = ?", (domain.number, name)
        )
        if row is None:
            raise DirectoryError(f"{domain.title()} has no account class {name}")
        return int(row[0])


def _by_node(differences: Sequence[Difference]) -> Iterator[tuple[tuple[Node, ...], list[Difference]]]:
    """Values that change, by the node they are of."""
    grouped: dict[int, tuple[tuple[Node, ...], list[Difference]]] = {}
    for one in differences:
        if one.added is None and one.removed is None:
            grouped.setdefault(id(one.path[-1]), (one.path, []))[1].append(one)
    yield from grouped.values()


def _wishes(
    new: dict[str, str], old: dict[str, str] | None = None, gone: Collection[str] = ()
) -> dict[str, dict[str, bool]]:
    """What members of a list want now and did not before, by address; whoever is `gone` wants nothing."""
    result: dict[str, dict[str, bool]] = {}
    left_out = {address_key(address) for address in gone}
    for wish in ("digest", "nomail"):
        name = f"{wish}Members"
        if name not in new:
            continue
        before = (old or {}).get(name)
        kept = left_out | {address_key(address) for address in word_list(new[name])}
        for address in word_list(before, without=new[name]):
            if address_key(address) not in kept:
                result.setdefault(address, {})[wish] = False
        for address in word_list(new[name], without=before):
            result.setdefault(address, {})[wish] = True
    return result

