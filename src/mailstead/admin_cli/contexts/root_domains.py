"""Commands of the root over whole domains: EDIT, DELETE, RESTORE, PURGE, SEARCH, LOOKUP, premium accounts, migrations.

Invariants: an administrator sees of each answer what it may see; a deleted domain can be brought back within the retention
time unless
dontKeepCopy was given.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mailstead.admin_cli.context import CliContext, Command, Result, anywhere, make, needs, run_now, together_anywhere
from mailstead.admin_cli.contexts.account_mail import check_allowed, names_and_condition, purge_folders
from mailstead.admin_cli.contexts.domain import DomainContext
from mailstead.admin_cli.contexts.domain_create import DomainEditContext, domain_at
from mailstead.admin_cli.contexts.save import write_domain
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.lists import matching
from mailstead.admin_cli.registry import date_of
from mailstead.admin_cli.responses import Reply, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.admin_cli.visibility import ACCOUNTS, VISIBLE
from mailstead.directory.activation import left_without_parent
from mailstead.directory.model import Domain
from mailstead.migration.service import MigrationService, progress
from mailstead.settings.declarations import ACCOUNT
from mailstead.settings.edits import Pending, place_of
from mailstead.settings.permissions import SERVER_FORM

MAX_FOUND = 1000
FOLDERS_AT_ONCE = 20
"""Mailboxes looked through for a folder between two turns of the event loop."""
ADDONS = ("outlook", "activesync", "sharing", "personalorganizer", "ia")
_ADDON_SETTINGS = {
    "outlook": "enableOutlookConnector", "activesync": "enableActiveSync", "sharing": "enableSharing",
    "personalorganizer": "enableWebPersonalOrganizer",
}  # fmt: skip


_PURGING = {name: SERVER_FORM[name] for name in ("manageAccounts", "managePublicFolder")}


def commands() -> list[Command]:
    """All of them."""
    return [
        make("EDIT Domain name <name>", "enters the locations of a disabled domain", _edit,
             allowed=anywhere("manageDomainStorage")),
        make("EDIT Domain domainLocation <path>", "enters those of the domain at a location", _edit,
             allowed=anywhere("manageDomainStorage")),
        make("DELETE Domain [name] <name> [dontKeepCopy]", "deletes a disabled domain", _delete,
             allowed=anywhere("deactivateDomain")),
        make("DELETE Domain domainLocation <path> [dontKeepCopy]", "deletes the disabled domain at a location", _delete,
             allowed=anywhere("deactivateDomain")),
        make("LIST DeletedDomains", "lists domains that can be brought back", _list_deleted, allowed=needs("restoreAnyDomain")),
        make("RESTORE Domain name <domainName>", "brings a deleted domain back, and enters it", _restore,
             allowed=needs("restoreAnyDomain")),
        make("PURGE public|account folders <folders...>", "removes messages of folders of every domain", _purge,
             allowed=_may_purge),
        make("SEARCH Object <object>", "finds objects by name or id: <object>[+<folder>][@<domain>]", _search),
        make("LOOKUP Index Object <object>", "tells where an account's or folder's data lies", _lookup_object,
             listed=anywhere(*ACCOUNTS)),
        make("LOOKUP Index File <path>", "tells what a file of the store holds", _lookup_file,
             allowed=needs("manageServerConfig")),
        make("LIST premiumAccounts [domain <name>] [<wildcard>]", "lists accounts of type premium", _list_premium),
        make("SET premiumAccountAddons name <name> addons (<addons>)", f"switches add-ons on: {' '.join(ADDONS)}", _set_addons,
             listed=together_anywhere(ACCOUNT.permission_for(ACCOUNT.setting(name)) for name in _ADDON_SETTINGS.values())),
        make("LIST premiumFolderRcpts [domain <name>] [<wildcard>]", "lists folder recipients with add-ons", _list_premium_folders),
        make("SET premiumFolderRcptsAddons name <name> addons (<addons>)", "there is nothing to switch on", _set_folder_addons),
        make("SHOW LicenseInfo", "shows what the licence allows", _license),
        make("SHOW PremiumAddonsStatistics", "shows how many accounts use an add-on", _addon_statistics,
             allowed=needs("manageServerConfig")),
        make("SHOW MigrationStatus", "shows migrations that run", migration_status),
        make("EXPORT DOMAINDB <domainname>", "writes a domain's configuration to a file", _export,
             allowed=needs("manageServerConfig")),
    ]  # fmt: skip


def _domain(context: Any, name: str) -> Domain:
    found: Domain = context.need(name)
    return found


def _named(context: Any, arguments: Arguments) -> Domain:
    return _domain(context, arguments["name"] if "name" in arguments else domain_at(context, arguments["domainlocation"]))


def _edit(context: Any, arguments: Arguments) -> Result:
    domain = _named(context, arguments)
    context.session.actor.require("manageDomainStorage", domain.id)
    if domain.switched_on:
        raise CommandError(f"the domain {domain.name} is enabled; DISABLE it first")
    context.session.enter(DomainEditContext(context, domain))
    return None


async def _delete(context: Any, arguments: Arguments) -> Result:
    domain = _named(context, arguments)
    context.session.actor.require("deactivateDomain", domain.id)
    if domain.switched_on:
        raise CommandError(f"the domain {domain.name} is enabled; DISABLE it first")
    keep = "dontkeepcopy" not in arguments.flags
    directory, actor = context.session.services.directory, context.session.actor
    below = directory.subdomains(domain.id)
    await directory.delete_domain(domain.name, actor=actor, keep_copy=keep)
    seen = [one.name for one in below if actor.sees(one.id)]
    return Reply(notes=(left_without_parent(len(below), seen),)) if below else None


def _list_deleted(context: Any, arguments: Arguments) -> Result:
    rows = [
        (row.name, date_of(row.time), date_of(row.until), row.author)
        for row in context.session.services.directory.deleted_domains()
        if context.session.actor.may("restoreDomain", row.id)
    ]
    return table("The list of deleted domains:", ("name", "deleted", "until", "by"), rows)


async def _restore(context: Any, arguments: Arguments) -> Result:
    directory = context.session.services.directory
    if directory.domain_by_name(arguments["name"]) is None:
        await directory.restore_domain(arguments["name"], actor=context.session.actor)
    domain = _domain(context, arguments["name"])
    context.session.actor.require("restoreDomain", domain.id)
    context.session.enter(DomainContext(context, domain))
    if domain.switched_on:
        return None
    return Reply(text=f"{domain.name} is disabled, as it was; ENABLE Domain at the root enables it")


def _may_purge(context: CliContext) -> bool:
    return context.session.actor.may_any(_PURGING.values())


async def _purge(context: Any, arguments: Arguments) -> Result:
    """In the domains on which the administrator may; in none when one of them does not allow it."""
    names, condition = names_and_condition(arguments.rest)
    directory, actor = context.session.services.directory, context.session.actor
    permission = "managePublicFolder" if "public" in arguments.flags else "manageAccounts"
    actor.require(_PURGING[permission])
    domains = [domain for domain in context.visible() if actor.may(permission, domain.id)]
    for domain in domains:
        try:
            check_allowed(context.session, domain.id, names, condition)
        except CommandError as error:
            raise CommandError(f"{domain.name}: {error}") from error
    removed = 0
    for domain in domains:
        if "public" in arguments.flags:
            removed += await purge_folders(context, domain.id, names, condition, missing=False)
            continue
        for account in directory.accounts(domain.id):
            removed += await purge_folders(context, account.id, names, condition, missing=False)
            await asyncio.sleep(0)
    return Reply(notes=(f"{removed} messages removed",))


async def _search(context: Any, arguments: Arguments) -> Result:
    text = arguments["object"]
    name, _, domain = text.rpartition("@") if "@" in text else (text, "", "")
    name, _, folder = name.partition("+")
    where, values = ["1 = 1"], []
    if name:
        where.append("(a.local = ? OR a.object_id = ?)")
        values += [name.lower(), int(name) if name.isdigit() and len(name) < 19 else -1]
    if domain:
        where.append("a.domain_id = ?")
        values.append(_domain(context, domain).id)
    found = []
    rows = await asyncio.to_thread(_addresses, context, where, values)
    for number, (kind, object_id, address, main) in enumerate(rows):
        if folder and number % FOLDERS_AT_ONCE == 0:
            await asyncio.sleep(0)
        place = _folder_id(context, object_id, folder) if folder else ""
        if folder and not place:
            continue
        found.append((address, kind if main else f"{kind} alias", str(object_id), place))
    return table("The objects found:", ("name", "type", "id", "folder"), found)


def _addresses(context: Any, where: list[str], values: list[Any]) -> list[tuple[str, int, str, bool]]:
    """Kind, object, address, and whether it is the main one, of names of objects that the administrator may see."""
    directory, actor = context.session.services.directory, context.session.actor
    domains = {domain.id: domain.name for domain in directory.domains()}
    if not actor.everything:
        seen = []
        for kind, permissions in VISIBLE.items():
            seen.append("((a.kind = ? OR a.kind LIKE ?) AND a.domain_id IN (SELECT value FROM json_each(?)))")
            ids = [number for number in domains if actor.may_any(permissions, number)]
            values = [*values, kind, f"{kind}-%", json.dumps(ids)]
        where = [*where, f"({' OR '.join(seen)})"]
    rows = directory.database.query(
        "SELECT a.kind, a.object_id, a.name, a.domain_id, a.main FROM address a "
        f"WHERE {' AND '.join(where)} ORDER BY a.local LIMIT {MAX_FOUND}",
        values,
    )
    return [
        (kind, number, f"{local}@{domains[domain_id]}", bool(main))
        for kind, number, local, domain_id, main in rows
        if domain_id in domains
    ]


def _folder_id(context: Any, owner: int, folder: str) -> str:
    services = context.session.services
    place = services.directory.owner(owner)
    if place is None or not services.store.mail_index(place.shard).has_account(owner):
        return ""
    for row in services.store.mail_index(place.shard).folders(owner):
        if folder.lower() in (str(row[0]), str(row[1]).lower()):
            return f"{row[1]} ({row[0]})"
    return ""


def _lookup_object(context: Any, arguments: Arguments) -> Result:
    text = arguments["object"]
    local, at, domain = text.rpartition("@")
    name, _, folder = local.partition("+")
    directory = context.session.services.directory
    owner = _domain(context, domain) if at else None
    shown = owner is not None and context.session.actor.may_any(ACCOUNTS, owner.id)
    account = directory.account_named(owner.id, name) if owner is not None and shown else None
    if account is None:
        raise CommandError(f"the object {text[:80]} does not exist")
    pairs = [("account id", str(account.id)), ("index", f"index/shard-{account.shard}.db")]
    if folder:
        place = _folder_id(context, account.id, folder)
        if not place:
            raise CommandError(f"the folder {folder[:80]} does not exist")
        pairs.append(("folder", place))
    return show(pairs, "Index information:")


def _lookup_file(context: Any, arguments: Arguments) -> Result:
    data_dir = context.session.services.data_dir
    try:
        path = (data_dir / arguments["path"]).resolve()
    except (OSError, ValueError) as error:
        raise CommandError(f"the store has no file {arguments['path'][:80]}") from error
    if data_dir.resolve() not in path.parents or not path.is_file():
        raise CommandError(f"the store has no file {arguments['path'][:80]}")
    parts = path.relative_to(data_dir.resolve()).parts
    kinds = {"log": "segments of the log", "index": "index", "keys": "keys", "certs": "certificates"}
    return show([("file", str(path)), ("holds", kinds.get(parts[0], parts[0])), ("size", str(path.stat().st_size))])


async def _list_premium(context: Any, arguments: Arguments) -> Result:
    return await asyncio.to_thread(_premium_table, context, arguments)


def _premium_table(context: Any, arguments: Arguments) -> Reply:
    directory = context.session.services.directory
    wanted = _domain(context, arguments["domain"]).id if "domain" in arguments else 0
    basic = {
        int(row[0])
        for row in directory.database.query(
            "SELECT scope_id FROM setting WHERE scope = 'accountData' AND name = 'accountType' AND value = 'basic'"
        )
    }
    rows = [
        account.address
        for domain in context.visible()
        if (not wanted or domain.id == wanted) and context.session.actor.may_any(ACCOUNTS, domain.id)
        for account in directory.accounts(domain.id)
        if account.id not in basic
    ]
    found = matching(rows, arguments["wildcard"] + "@*" if "wildcard" in arguments else "")
    return table("The list of premium accounts:", ("name",), ((name,) for name in found))


def _addons(arguments: Arguments) -> list[str]:
    chosen = [word.lower() for word in arguments.lists["addons"]]
    for word in chosen:
        if word not in ADDONS:
            raise CommandError(f"addons: expected any of {', '.join(ADDONS)}")
    return chosen


async def _set_addons(context: Any, arguments: Arguments) -> Result:
    directory = context.session.services.directory
    account = directory.account_by_address(arguments["name"])
    if account is None or not context.session.actor.may_any(ACCOUNTS, account.domain_id):
        raise CommandError(f"the account {arguments['name'][:80]} does not exist")
    chosen = _addons(arguments)
    place = place_of(ACCOUNT, account.id, account.domain_id, "account")

    def change(pending: Pending) -> None:
        for addon, name in _ADDON_SETTINGS.items():
            pending.set_value(place, ACCOUNT, ACCOUNT.setting(name), "yes" if addon in chosen else "no")

    await run_now(context, change)
    return None


def _list_premium_folders(context: Any, arguments: Arguments) -> Result:
    return table("The list of premium folder recipients:", ("name",), ())


def _set_folder_addons(context: Any, arguments: Arguments) -> Result:
    _addons(arguments)
    return Reply(notes=("folder recipients have no add-ons here",))


def _license(context: CliContext, arguments: Arguments) -> Result:
    return show(
        [
            ("product", '"Mailstead"'), ("license", '"Apache-2.0"'), ("maxMailboxes", "unlimited"),
            ("maxPremiumMailboxes", "unlimited"), ("expires", "never"),
        ],
        "License information:",
    )  # fmt: skip


async def _addon_statistics(context: Any, arguments: Arguments) -> Result:
    return await asyncio.to_thread(_count_addons, context)


def _count_addons(context: Any) -> Reply:
    directory = context.session.services.directory
    counts = dict.fromkeys(_ADDON_SETTINGS.values(), 0)
    total = 0
    for domain in directory.domains():
        for account in directory.accounts(domain.id):
            total += 1
            values = directory.account_settings(account.id)
            for name in counts:
                counts[name] += bool(values[name].value)
    pairs = [("accounts", str(total)), *((addon, str(counts[name])) for addon, name in _ADDON_SETTINGS.items())]
    return show(pairs, "Premium add-ons:")


def migration_status(context: Any, arguments: Arguments) -> Result:
    """SHOW MigrationStatus: those that the administrator may see."""
    services = context.session.services
    jobs = MigrationService(services.directory, services.data_dir).list(actor=context.session.actor, live=True)
    rows = []
    for job in jobs:
        account = services.directory.account(job.account_id)
        rows.append((account.address if account is not None else str(job.account_id), job.source, progress(job)))
    return table("The list of migrations:", ("account", "source", "progress"), rows)


async def _export(context: Any, arguments: Arguments) -> Result:
    domain = _domain(context, arguments["domainname"])
    path = await asyncio.to_thread(write_domain, context.session.services, domain.name)
    return Reply(notes=(f"written to {path}",))
