"""Maintenance of a domain: its storages, COMPACT, SCAN, REPAIR, FINDINVALIDMSG, RECOVER, ghosts, what an upgrade would do.

Invariants: what reads the whole log runs in a process of its own, as a task; nothing is changed but by COMPACT, `purge`, RECOVER
and REMOVE; what a scan with `purge` removes can be brought back within the retention time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import apsw

from mailstead.admin_cli.context import CliContext, Command, Result, make, needs
from mailstead.admin_cli.contexts.index_information import nothing_kept
from mailstead.admin_cli.contexts.storage import boxes, kilobytes, owners_of, storage_commands
from mailstead.admin_cli.contexts.tasks import finished_commands, start, task_commands
from mailstead.admin_cli.grammar import CommandError, Word
from mailstead.admin_cli.lists import matching
from mailstead.admin_cli.responses import Reply, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.deleted import Deleted
from mailstead.store.files import Files
from mailstead.store.search_jobs import ask_for_all
from mailstead.store.shard import Shard
from mailstead.store.statistics import storages

_SCAN_FLAGS = (
    "[purge|softPurge] [verbose] [readOnly] [imapLeaks] [cachedOnly] [clearCache] [analyzeStructure] [recoverTo <accountName>]"
)
_FLAG_WORDS = ("purge", "softpurge", "verbose", "readonly", "imapleaks", "cachedonly", "clearcache", "analyzestructure", "details",
               "skip-stage-3")  # fmt: skip
_NO_SPLIT = "storages are not split by size: segments of the log have 64 MB, and accounts are spread over the index files"


def maintenance_commands() -> list[Command]:
    """For the domain's context."""
    storage, restore = needs("manageDomainStorage"), needs("restoreDomain")
    server, config = needs("manageServerConfig"), needs("manageDomainConfig")
    split = "[forced] [splitAfter <max_size>] [into <split_storage_usid>]"
    return [
        *storage_commands("manageDomainStorage", server=False),
        make(f"COMPACT All {split}", "gives back the space of what nobody wants any more", _compact, allowed=storage),
        make(f"COMPACT Storage usid <storage_usid> {split}", "the same", _compact, allowed=storage),
        *task_commands("COMPACT", "compact", storage),
        make(f"SCAN ALL {_SCAN_FLAGS}", "looks through all mail of the domain", _scan_all, allowed=storage),
        make("SCAN Storage usid <usids...>", "looks through what lies in some storages", _scan_storages, allowed=storage),
        make("SCAN DomainContainer", "looks through all mailboxes of the domain", _scan_all, allowed=storage),
        make("SCAN PublicFolders", "looks through the public folders", _scan_public, allowed=storage),
        make("SCAN Account <accountName>", "looks through an account's mail", _scan_account, allowed=storage),
        *task_commands("SCAN", "scan", storage),
        make("REPAIR Accounts <accountNames...> [skip-stage-3]", "puts counters right and has accounts indexed anew", _repair,
             allowed=storage),
        *task_commands("REPAIR", "repair", storage),
        make("FINDINVALIDMSG <accountNames...> [purge] [details]", "looks for messages that cannot be read", _find_invalid,
             allowed=storage),
        *task_commands("FINDINVALIDMSG", "findinvalid", storage),
        make("UPGRADE Storage", "would bring the storages to this release's form", _upgrade, allowed=storage),
        make("RECOVER accounts [setpassword <password>] [dryrun]", "brings deleted accounts back", _recover, allowed=restore),
        make(
            "RECOVER domain <domainName> [clearpassword] [setpassword <password>] [defaultpassword <password>] [dryrun]",
            "brings a deleted domain back", _recover_domain, allowed=needs("restoreAnyDomain"),
        ),
        *finished_commands("RECOVER", restore),
        make(
            "PURGEMAPIPROPS [onMessages] [onFolders] [specialFolders] [onContacts] [dryrun] [regex] [<patterns...>]",
            "removes MAPI properties", nothing_kept("0 properties removed: none are kept, messages are stored as they came"),
            allowed=storage,
        ),
        *finished_commands("PURGEMAPIPROPS", storage),
        make("LIST Ghosts [<wildcard>]", "lists mailboxes of deleted accounts", _ghosts, allowed=storage),
        make("REMOVE GHOSTS [<wildcard>]", "removes their mail now", _remove_ghosts, allowed=storage),
        make("LIST DomainObjectsInfo [<wildcard>]", "lists mailboxes with their sizes", _objects, allowed=storage),
        make("LIST SearchFolders [details]", "lists folders that are searches", _search_folders, allowed=storage),
        make("REMOVE TmpSearchFolders <which> [<wildcard>]", "removes searches that were kept",
             nothing_kept("0 folders removed: searches are not kept as folders"), allowed=storage),
        make("PURGE disposableMetadata", "removes what can be made anew",
             nothing_kept("what can be made anew is kept small by itself; SHOW DisposableMetadataInformation shows it"),
             allowed=storage),
        make("RESET maintenanceDate", "has maintenance looked at anew",
             nothing_kept("maintenance goes by what there is to do, not by a date"), allowed=storage),
        make("RESET ldapSynchronization", "begins synchronizing anew", _no_ldap, allowed=config),
        make("SYNCCONTACTS", "would copy the directory into the contacts", _no_contacts, allowed=config),
        *(
            make(f"{verb} traceLog {what}", text, handler, allowed=server)
            for verb, text, handler in (
                ("ENABLE", "would log single mailboxes", _no_trace),
                ("DISABLE", "logs no single mailbox", nothing_kept("none is logged")),
            )
            for what in (
                "DomainContainer [folder <foldername>]", "PublicFolders [folder <foldername>]",
                "Account <accountName> [allfolders] [folder <foldername>]", "NODB",
            )
        ),
    ]  # fmt: skip


def account_commands() -> list[Command]:
    """For an account's context: contacts."""
    allowed = needs("manageAccounts")
    return [
        make(
            "IMPORTCONTACTS file <file_path> [folder <name>] [duplicatesPolicy <allow|ignore|mergeServerWins|mergeClientWins>]",
            "would import contacts", _no_contacts, allowed=allowed,
        ),
        make("REPAIR contacts in folder <folder> remove invalid bday", "would repair contacts", _no_contacts, allowed=allowed),
        make("REPAIR contacts in folder <folder> remove duplicates", "would repair contacts", _no_contacts, allowed=allowed),
    ]  # fmt: skip


def _no_contacts(context: CliContext, arguments: Arguments) -> Result:
    raise CommandError("this server does not keep contacts yet")


def _no_ldap(context: CliContext, arguments: Arguments) -> Result:
    raise CommandError("this domain is not synchronized with LDAP")


def _no_trace(context: CliContext, arguments: Arguments) -> Result:
    raise CommandError(
        "single mailboxes are not traced; every change of a mailbox is in the log of the store, and each message has its receipt"
    )


def _upgrade(context: CliContext, arguments: Arguments) -> Result:
    return Reply(notes=("every storage has this release's form: the server's start brings them to it",))


# -- COMPACT -------------------------------------------------------------------------------------------------------------


async def _compact(context: CliContext, arguments: Arguments) -> Result:
    if "splitafter" in arguments or "into" in arguments:
        raise CommandError(_NO_SPLIT)
    if "storage_usid" in arguments or "usid" in arguments:
        await _shards(context, [arguments.get("usid", arguments.get("storage_usid", ""))])
    return await start(context, "compact", forced="forced" in arguments.flags)


async def _shards(context: CliContext, usids: Sequence[str]) -> set[int]:
    """Indexes that USIDs name; the log holds all of them. Raises CommandError."""
    known = await asyncio.to_thread(storages, context.session.services.data_dir)
    names = {one.name.lower(): one.name for one in known}
    shards: set[int] = set()
    for usid in usids:
        name = names.get(usid.lower())
        if name is None:
            raise CommandError(f"there is no storage {usid[:80]}; LIST Storages shows them")
        if name.startswith("log-"):
            return {shard for _id, shard, _name, _kind in await owners_of(context, context.domain_id)}
        if name.startswith("shard-"):
            shards.add(int(name.removeprefix("shard-")))
    return shards


# -- SCAN and its like -----------------------------------------------------------------------------------------------------


async def _begin(context: CliContext, kind: str, owners: Sequence[tuple[int, int, str, str]], flags: set[str]) -> Reply:
    rows = [[owner, shard, name] for owner, shard, name, _kind in owners]
    return await start(
        context, kind, owners=rows, verbose=bool(flags & {"verbose", "details"}), purge=bool(flags & {"purge", "softpurge"})
    )


async def _scan_all(context: CliContext, arguments: Arguments) -> Result:
    if "recoverto" in arguments:
        raise CommandError("messages come back out of the retention time or a backup: UNDELETE Account, `mailstead restore`")
    return await _begin(context, "scan", await owners_of(context, context.domain_id), arguments.flags)


async def _scan_storages(context: CliContext, arguments: Arguments) -> Result:
    names, flags = _names(arguments.rest)
    shards = await _shards(context, [name for name in names if name.lower() != "usid"])
    owners = [one for one in await owners_of(context, context.domain_id) if one[1] in shards]
    return await _begin(context, "scan", owners, flags)


async def _scan_public(context: CliContext, arguments: Arguments) -> Result:
    owners = [one for one in await owners_of(context, context.domain_id) if one[3] == "publicFolder"]
    return await _begin(context, "scan", owners, set())


async def _scan_account(context: Any, arguments: Arguments) -> Result:
    return await _begin(context, "scan", _accounts(context, [arguments["accountname"]]), set())


def _names(words: Sequence[Word]) -> tuple[list[str], set[str]]:
    """Names, and the flags among them."""
    flags = {word.text.lower() for word in words if not word.quoted and word.text.lower() in _FLAG_WORDS}
    names = [word.text for word in words if word.quoted or word.text.lower() not in _FLAG_WORDS]
    if not names:
        raise CommandError("a name is missing")
    return names, flags


def _accounts(context: Any, names: Sequence[str]) -> list[tuple[int, int, str, str]]:
    found = [context.need_account(name) for name in names]
    return [(account.id, account.shard, account.address, "account") for account in found]


def _matched(context: Any, names: Sequence[str]) -> list[str]:
    """Names of accounts, each once, in the place of those with wildcards. Raises CommandError."""
    found: dict[str, None] = {}
    for name in names:
        if not ("*" in name or "?" in name):
            found[context.need_account(name).name] = None
            continue
        matched = context.names("account", name)
        if not matched:
            raise CommandError(f"no account matches {name[:80]}")
        found.update(dict.fromkeys(matched))
    return list(found)


async def _repair(context: Any, arguments: Arguments) -> Result:
    """Counters and the search index are put right beside the running server; the rest is fsck's, with the server stopped."""
    names, flags = _names(arguments.rest)
    owners = _accounts(context, names)
    reply = await _begin(context, "repair", owners, {"verbose"})
    notes = list(reply.notes)
    if "skip-stage-3" not in flags | arguments.flags:
        await asyncio.to_thread(_index_anew, context.session.services.data_dir, owners)
        notes.append("their search index is made anew")
    notes.append("counters are counted anew; PEEK says what is left for `mailstead fsck --repair`, with the server stopped")
    return Reply(reply.body, notes=tuple(notes))


def _index_anew(data_dir: Any, owners: Sequence[tuple[int, int, str, str]]) -> None:
    try:
        for number in sorted({shard for _id, shard, _name, _kind in owners}):
            shard = Shard(data_dir / "index", number, Files())
            try:
                shard.wait_for_lock(10.0)
                ask_for_all(shard, [owner for owner, own, _name, _kind in owners if own == number], True)
            finally:
                shard.close()
    except apsw.Error as error:
        raise CommandError(f"the index is busy: {error}") from error


async def _find_invalid(context: Any, arguments: Arguments) -> Result:
    names, flags = _names(arguments.rest)
    found = _accounts(context, _matched(context, names))
    return await _begin(context, "findinvalid", found, flags | (arguments.flags & set(_FLAG_WORDS)))


# -- deleted accounts --------------------------------------------------------------------------------------------------------


def _deleted(context: Any, pattern: str = "") -> list[Deleted]:
    found: list[Deleted] = context.session.services.directory.deleted_accounts(context.domain_id)
    chosen = set(matching([one.name.rpartition("@")[0] for one in found], pattern))
    return [one for one in found if one.name.rpartition("@")[0] in chosen]


def _ghosts(context: Any, arguments: Arguments) -> Result:
    rows = [(one.name.rpartition("@")[0],) for one in _deleted(context, arguments.get("wildcard", ""))]
    return table("The list of ghosts for this domain:", ("name",), rows)


async def _remove_ghosts(context: Any, arguments: Arguments) -> Result:
    found = _deleted(context, arguments.get("wildcard", ""))
    for one in found:
        await context.session.services.directory.erase_deleted("account", one.id, actor=context.session.actor)
    return Reply(notes=(f"{len(found)} mailboxes removed",))


async def _recover(context: Any, arguments: Arguments) -> Result:
    directory, actor = context.session.services.directory, context.session.actor
    found = _deleted(context)
    lines = []
    for one in found:
        if "dryrun" in arguments.flags:
            lines.append(f"{one.name} can be brought back")
            continue
        restored = await directory.restore_account(one.id, actor=actor)
        if "setpassword" in arguments:
            await directory.set_password(restored.account.id, arguments["setpassword"], actor=actor)
        lines.append(f"{restored.account.address} is back{''.join(f'; {text}' for text in restored.left_out)}")
    return Reply([*lines, f"{len(found)} accounts", ""])


async def _recover_domain(context: Any, arguments: Arguments) -> Result:
    directory, actor = context.session.services.directory, context.session.actor
    name = arguments.get("domain", arguments.get("domainname", ""))
    found = [one for one in directory.deleted_domains() if one.name.lower() == name.lower()]
    if not found:
        raise CommandError(f"no domain {name[:80]} was deleted within the retention time")
    if "dryrun" in arguments.flags:
        return Reply([f"{name} can be brought back", ""])
    if arguments.keys() & {"setpassword", "defaultpassword"} or "clearpassword" in arguments.flags:
        raise CommandError("the accounts come back with the passwords they had; set others afterwards")
    restored = await directory.restore_domain(found[0].id, actor=actor)
    return Reply([f"{restored.domain.name} is back with {restored.accounts} accounts", *restored.left_out, ""])


# -- lists -------------------------------------------------------------------------------------------------------------------


async def _objects(context: CliContext, arguments: Arguments) -> Result:
    found = await boxes(context, context.domain_id)
    chosen = set(matching([box.name.rpartition("@")[0] for box in found], arguments.get("wildcard", "")))
    rows = [
        (box.name.rpartition("@")[0], box.kind, str(box.id), str(box.use.messages), kilobytes(box.use.octets), str(box.use.folders))
        for box in sorted(found, key=lambda box: box.name)
        if box.name.rpartition("@")[0] in chosen
    ]
    return table("The list of domain objects:", ("name", "type", "id", "messages", "size", "folders"), rows)


def _search_folders(context: CliContext, arguments: Arguments) -> Result:
    return table("The list of search folders:", ("account", "name"), ())
