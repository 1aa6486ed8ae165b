"""Where mail lies and how much there is: storages, statistics, locks for a backup of files, of the server and of a domain.

Invariants: a domain's administrator sees figures of its domain only; all domains share the log and the index files, so a storage
that a domain names is the one its owners lie in, and a lock holds for the node.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.admin_cli.context import CliContext, Command, Result, make, needs, run_now
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.lists import matching
from mailstead.admin_cli.responses import Reply, items, quoted, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.model import RecipientKind
from mailstead.directory.service import Directory
from mailstead.settings.declarations import SERVICE_CONTEXTS
from mailstead.settings.edits import place_of
from mailstead.store.statistics import OwnerUse, StoreFile, storages, use_by_owner

NOTHING = OwnerUse()
_SERVER = SERVICE_CONTEXTS["server"]


@dataclass(frozen=True, slots=True)
class Box:
    """A mailbox with its use."""

    id: int
    shard: int
    name: str
    kind: str
    use: OwnerUse


async def owners_of(context: CliContext, domain_id: int = 0) -> list[tuple[int, int, str, str]]:
    """(id, shard, name, kind) of all that has mail: accounts, lists, public folders; of a domain, or of the server."""
    return await asyncio.to_thread(_owners, context.session.services.directory, domain_id)


def _owners(directory: Directory, domain_id: int) -> list[tuple[int, int, str, str]]:
    found = [(one.id, one.shard, one.address, "account") for one in directory.accounts(domain_id)]
    for domain in directory.domains():
        if domain_id and domain.id != domain_id:
            continue
        found += [(one.id, one.shard, one.address, "list") for one in directory.recipients(domain.id, RecipientKind.LIST)]
        owner = directory.owner(domain.id)
        if owner is not None:
            found.append((domain.id, owner.shard, f"Public Folders@{domain.name}", "publicFolder"))
    return found


async def boxes(context: CliContext, domain_id: int = 0) -> list[Box]:
    """Mailboxes with their use."""
    services = context.session.services
    owners = await owners_of(context, domain_id)
    use: dict[tuple[int, int], OwnerUse] = {}
    for number in sorted({shard for _id, shard, _name, _kind in owners}):
        found = await asyncio.to_thread(use_by_owner, services.data_dir, number)
        use.update({(number, owner): one for owner, one in found.items()})
    return [Box(id, shard, name, kind, use.get((shard, id), NOTHING)) for id, shard, name, kind in owners]


def kilobytes(octets: int) -> str:
    """Octets as whole KB."""
    return str((octets + 1023) // 1024)


def storage_commands(permission: str, *, server: bool) -> list[Command]:
    """For the server's context, or a domain's."""
    allowed = needs(permission)
    pattern = " [matchingURI <pattern>]" if server else ""
    made = [
        make("SHOW StorageInformation [details]", "shows what the storages hold", _information, allowed=allowed),
        make(
            "SHOW StorageStatistics [details|summary] [average] [raw] [mboxDetails] [mboxReset]",
            "shows the use of mailboxes", _statistics, allowed=allowed,
        ),
        make("SHOW DisposableMetadataInformation", "shows data that could be made anew", _disposable, allowed=allowed),
        make(f"LIST Storages{pattern}", "lists the storages", _list, allowed=allowed),
        make(
            f"LIST activeStorageTransactions{pattern} [details]", "lists maintenance and locks that are under way", _active,
            allowed=allowed,
        ),
        make(f"READLOCK Storages{pattern}", "keeps files of the log in place, for a backup of files", _lock, allowed=allowed),
        make(f"READUNLOCK Storages{pattern}", "ends that", _unlock, allowed=allowed),
    ]  # fmt: skip
    switch_on = "has statistics of the storages shown"
    made.append(make("ENABLE StorageStatistics", switch_on, _switch("yes"), allowed=_switching))
    for words in ("detailed", "mbox", "detailed mbox") if server else ("detailed",):
        made.append(make(f"ENABLE {words} StorageStatistics", switch_on, _switch("yes"), hidden=True, allowed=_switching))
    return [*made, make("DISABLE StorageStatistics", "has them shown no more", _switch("no"), allowed=_switching)]


def _switching(context: CliContext) -> bool:
    return context.session.actor.may("manageServerConfig")


async def _files(context: CliContext, arguments: Arguments) -> list[StoreFile]:
    """Storages of the context: for a domain those its owners lie in, and the log."""
    found = await asyncio.to_thread(storages, context.session.services.data_dir)
    if context.domain_id:
        shards = {f"shard-{shard}" for _id, shard, _name, _kind in await owners_of(context, context.domain_id)}
        found = [one for one in found if one.name in shards or one.name.startswith("log-")]
    if "matchinguri" in arguments:
        chosen = set(matching([uri(one) for one in found], arguments["matchinguri"]))
        found = [one for one in found if uri(one) in chosen]
    return found


def uri(storage: StoreFile) -> str:
    """A storage's address."""
    return storage.path.absolute().as_uri()


async def _list(context: CliContext, arguments: Arguments) -> Result:
    found = await _files(context, arguments)
    return items("The list of storages:", (f"{one.name} {uri(one)} {kilobytes(one.octets)}" for one in found))


async def _information(context: CliContext, arguments: Arguments) -> Result:
    """Rows from the second line on, the last one the sum; blanks between the columns."""
    files = await _files(context, arguments)
    by_shard: dict[str, list[Box]] = {}
    for box in await boxes(context, context.domain_id):
        by_shard.setdefault(f"shard-{box.shard}", []).append(box)
    rows: list[str] = []
    total = [0, 0, 0, 0]
    for one in files:
        held = by_shard.get(one.name, [])
        figures = [len(held), sum(box.use.messages for box in held), sum(box.use.octets for box in held), one.octets]
        total = [before + now for before, now in zip(total, figures, strict=True)]
        rows.append(_row(one.name, figures, f" files={one.files} {uri(one)}" if "details" in arguments.flags else ""))
    return Reply(["", *rows, _row("total", total), ""])


def _row(name: str, figures: Sequence[int], more: str = "") -> str:
    mailboxes, messages, octets, disk = figures
    return f"{name} mailboxes={mailboxes} messages={messages} mailKB={kilobytes(octets)} diskKB={kilobytes(disk)}{more}"


async def _statistics(context: CliContext, arguments: Arguments) -> Result:
    if not context.session.services.settings.service("server").enableStorageStatistics:
        raise CommandError("statistics of the storages are switched off; ENABLE StorageStatistics in SERVER switches them on")
    found = await boxes(context, context.domain_id)
    flags = arguments.flags
    size = (lambda octets: str(octets)) if "raw" in flags else kilobytes
    unit = "octets" if "raw" in flags else "KB"
    uses = [box.use for box in found]
    octets, messages = sum(use.octets for use in uses), sum(use.messages for use in uses)
    pairs = [
        ("mailboxes", str(len(found))), ("folders", str(sum(use.folders for use in uses))), ("messages", str(messages)),
        (f"size ({unit})", size(octets)), ("restorable messages", str(sum(use.kept for use in uses))),
    ]  # fmt: skip
    if "details" in flags:
        for kind in ("account", "list", "publicFolder"):
            own = [box.use for box in found if box.kind == kind]
            pairs += [
                (f"{kind} mailboxes", str(len(own))), (f"{kind} messages", str(sum(use.messages for use in own))),
                (f"{kind} size ({unit})", size(sum(use.octets for use in own))),
            ]  # fmt: skip
        pairs.append((f"largest mailbox ({unit})", size(max((use.octets for use in uses), default=0))))
    if "average" in flags:
        count = max(1, len(found))
        pairs += [
            ("average messages of a mailbox", str(messages // count)),
            (f"average size of a mailbox ({unit})", size(octets // count)),
            (f"average size of a message ({unit})", size(octets // max(1, messages))),
        ]  # fmt: skip
    if "mboxdetails" in flags:
        pairs += [
            (f"mailbox {box.name}", f"{box.use.messages} messages, {size(box.use.octets)} {unit}")
            for box in sorted(found, key=lambda box: -box.use.octets)
        ]
    if "mboxreset" in flags:
        pairs.append(("reset", quoted("the figures are those of the rows themselves: there is nothing to reset")))
    return show(pairs, "Storage statistics:")


async def _disposable(context: CliContext, arguments: Arguments) -> Result:
    """What can be made anew: the search index, and snapshots of the index files."""
    data_dir = context.session.services.data_dir

    def sizes() -> list[tuple[str, str]]:
        search = sum(path.stat().st_size for path in (data_dir / "index").glob("search-*"))
        copies = sum(path.stat().st_size for path in (data_dir / "index" / "snapshots").glob("*.db"))
        return [("searchIndex", kilobytes(search)), ("indexSnapshots", kilobytes(copies))]

    pairs = await asyncio.to_thread(sizes)
    note = "both are shared by all domains and kept small by themselves; PURGE has nothing to do"
    return show([*pairs, ("note", quoted(note))], "Disposable metadata (KB):")


async def _active(context: CliContext, arguments: Arguments) -> Result:
    rows = []
    directory = context.session.services.directory
    for kind, domain, since, state in await context.session.services.background.call("maintenance.list"):
        if context.domain_id and domain not in (0, context.domain_id):
            continue
        owner = directory.domain(domain) if domain else None
        began = time.strftime("%d %b %Y %H:%M:%S", time.localtime(since))
        rows.append((str(kind), owner.name if owner is not None else "server", str(state), began))
    return table("The list of active storage transactions:", ("kind", "of", "state", "since"), rows)


async def _lock(context: CliContext, arguments: Arguments) -> Result:
    notes = await context.session.services.background.call("maintenance.lock", domain=context.domain_id)
    return Reply(notes=tuple(notes))


async def _unlock(context: CliContext, arguments: Arguments) -> Result:
    await context.session.services.background.call("maintenance.unlock", domain=context.domain_id)
    return None


def _switch(value: str) -> Any:
    async def handler(context: CliContext, arguments: Arguments) -> Result:
        setting = _SERVER.setting("enableStorageStatistics")
        await run_now(context, lambda pending: pending.set_value(place_of(_SERVER), _SERVER, setting, value))
        return None

    return handler

