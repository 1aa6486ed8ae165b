"""Restoring from a backup into a server that runs: a domain, an account, a folder, a message.

Invariants: what is here is not removed or changed; nobody gets the mail of another whose name is his alias by now, unless that was
asked for; an account that was deleted and is still kept comes back as it is kept before anything is taken from the backup; doing
it twice brings nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mailstead.directory.address import local_key
from mailstead.directory.model import Account, AlreadyExistsError
from mailstead.directory.service import Directory
from mailstead.mailbox.service import Mailbox
from mailstead.restoring.mail import MailReport, MailRestorer, Wanted
from mailstead.restoring.source import Source, SourceOwner
from mailstead.settings.actor import Actor
from mailstead.store.backup.repository import BackupError
from mailstead.store.service import Store

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class How:
    """``password`` and ``settings``: those of the backup also for an account that is here; ``limited``: quotas hold."""

    password: bool = False
    settings: bool = False
    limited: bool = False


class Restorer:
    """One source into one server. All raise BackupError, Damaged, DirectoryError, MailboxError, PermissionDeniedError."""

    def __init__(self, source: Source, directory: Directory, mailbox: Mailbox, store: Store, actor: Actor, told: Told) -> None:
        self._source = source
        self._directory = directory
        self._mailbox = mailbox
        self._store = store
        self._actor = actor
        self._told = told

    # -- directory --------------------------------------------------------------------------------------------

    def _need_account(self, address: str) -> SourceOwner:
        found = self._source.directory.account(address)
        if found is None:
            raise BackupError(f"the backup has no account {address}")
        return found

    async def _account_here(self, owner: SourceOwner, to: str, how: How, *, by_alias: bool) -> Account:
        """The account that is to have the mail, made of the backup where it is missing; ``by_alias``: also another's whose alias
        the address is."""
        directory, actor = self._directory, self._actor
        target = to or owner.address
        here = directory.account_by_address(target)
        own_name = here is not None and local_key(here.name) == local_key(target.rpartition("@")[0])
        if here is not None and not (by_alias or own_name or here.id == owner.id):
            here = None  # another's alias by now
        if here is None and not to:
            here = directory.account(owner.id)  # renamed since
        rows = self._source.directory.rows(owner)
        if here is None:
            local, _, domain = target.rpartition("@")
            home = directory.domain_by_name(domain)
            if home is None:
                raise BackupError(f"the domain {domain} does not exist here; restore the domain, or give another account (--to)")
            kept = [one for one in directory.deleted_accounts(home.id) if one.id == owner.id]
            name = local if to else ""
            if kept and not to:
                back = await directory.restore_account(owner.id, actor=actor)
                self._told(f"{back.account.address}: was deleted and is brought back as it was kept")
            else:
                back = await directory.bring_account(rows, home.id, actor=actor, name=name)
                self._told(f"{back.account.address}: made, with its password and settings")
            for text in back.left_out:
                self._told(f"{back.account.address}: left out: {text}")
            return back.account
        actor.require("restoreDomain", here.domain_id)
        if how.password or how.settings:
            for text in await directory.take_back(here.id, rows, actor=actor, password=how.password, settings=how.settings):
                self._told(f"{here.address}: left out: {text}")
        return here

    def _translate(self, owner: SourceOwner, target: int) -> Callable[[str], str | None]:
        """Identifiers of the backup in those of this server: the same object by id, else by address."""

        def translate(identifier: str) -> str | None:
            sign = "-" if identifier.startswith("-") else ""
            bare = identifier.removeprefix("-")
            if bare == f"u{owner.id}":
                return f"{sign}u{target}"
            people = self._directory.owner(target)
            if bare.startswith("d"):
                return f"{sign}d{people.domain_id}" if people is not None else None
            if bare[1:].isdigit() and self._directory.identifier_text(target, bare) is not None:
                return identifier
            named = self._source.directory.address_of(bare)
            if named is None:
                return None
            return self._directory.identifier(target, f"{sign}{'group=' if named[0] == 'group' else ''}{named[1]}")

        return translate

    # -- verbs ------------------------------------------------------------------------------------------------

    async def account(self, address: str, *, to: str = "", wanted: Wanted = Wanted(), how: How = How()) -> MailReport:
        """An account's mail (or what is ``wanted`` of it) into the account of that address, or ``to``."""
        owner = self._need_account(address)
        await self._need(owner, wanted)
        account = await self._account_here(owner, to, how, by_alias=bool(to))
        return await self._mail(owner, account.id, account.shard, account.address, wanted, how)

    async def _need(self, owner: SourceOwner, wanted: Wanted) -> None:
        """Raises BackupError where the backup has nothing of what is wanted."""
        source = self._source.mailbox(owner.shard)
        folders = [one for one in source.folders(owner.id) if wanted.target(one.name) is not None]
        where = f"{owner.address} in the folder {wanted.folder}" if wanted.folder else owner.address
        if wanted.folder and not folders:
            raise BackupError(f"the backup has no folder {wanted.folder} of {owner.address}")
        if not (wanted.message_id or wanted.uid):
            return
        keywords = source.index.keywords(owner.id)
        for folder in folders:
            if any(wanted.wants(one) for one in await asyncio.to_thread(source.all_messages, folder.id, keywords)):
                return
        what = f"<{wanted.message_id.strip('<> ')}>" if wanted.message_id else f"with UID {wanted.uid}"
        raise BackupError(f"the backup has no message {what} of {where}")

    async def _mail(self, owner: SourceOwner, target: int, shard: int, name: str, wanted: Wanted, how: How) -> MailReport:
        restorer = MailRestorer(self._mailbox, self._store, limited=how.limited)
        report = await restorer.restore(
            self._source.mailbox(owner.shard), owner, target, shard, wanted, self._translate(owner, target)
        )
        self._told(
            f"{name}: {report.restored} messages restored, {report.there} are there"
            + (f", {report.moved} are in another folder now" if report.moved else "")
            + (f"; {report.folders} folders made" if report.folders else "")
        )
        for text in report.notes:
            self._told(f"{name}: {text}")
        return report

    async def domain(self, name: str, *, to: str = "", how: How = How()) -> list[MailReport]:
        """A domain with all its accounts, groups, lists, classes and public folders, and their mail; as the domain ``to``."""
        directory, actor = self._directory, self._actor
        source = self._source.directory.domain(name)
        if source is None:
            raise BackupError(f"the backup has no domain {name}")
        here = directory.domain_by_name(to or source.address) or (None if to else directory.domain(source.id))
        rows = self._source.directory.rows(source)
        if here is None and not to and any(one.id == source.id for one in directory.deleted_domains()):
            here = (await directory.restore_domain(source.id, actor=actor)).domain
            self._told(f"{here.name}: was deleted and is brought back as it was kept")
        if here is None:
            back = await directory.bring_domain(rows, actor=actor, name=to)
            here = back.domain
            self._told(f"{here.name}: made, with {back.accounts} accounts")
            for text in back.left_out:
                self._told(f"{here.name}: left out: {text}")
        else:
            actor.require("restoreDomain", here.id)
            for text in await directory.bring_missing(rows, here.id, actor=actor):
                self._told(f"{here.name}: {text}")
        reports = []
        for owner in self._source.directory.accounts(source):
            target = f"{owner.address.rpartition('@')[0]}@{here.name}"
            try:
                to_here = target if here.name != source.address else ""
                account = await self._account_here(owner, to_here, how, by_alias=False)
            except AlreadyExistsError as error:
                self._told(f"{owner.address}: not restored: {error}")
                continue
            reports.append(await self._mail(owner, account.id, account.shard, account.address, Wanted(), how))
        public = directory.owner(here.id)
        if public is not None and self._source.mailbox(source.shard).folders(source.id):
            reports.append(await self._mail(source, here.id, public.shard, f"public folders of {here.name}", Wanted(), how))
        return reports

    async def public_folders(self, domain: str, *, wanted: Wanted = Wanted(), how: How = How()) -> MailReport:
        """The public folders of a domain that is here, or one of them."""
        source = self._source.directory.domain(domain)
        here = self._directory.domain_by_name(domain)
        public = self._directory.owner(here.id) if here is not None else None
        if source is None or here is None or public is None:
            raise BackupError(f"the domain {domain} is not in the backup, or not here")
        self._actor.require("restoreDomain", here.id)
        await self._need(source, wanted)
        return await self._mail(source, here.id, public.shard, f"public folders of {here.name}", wanted, how)
