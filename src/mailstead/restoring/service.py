"""Restoring from a backup into a server that runs: a domain, an account or mailing list, a folder, a message (BKP-01).

Invariants: with a domain comes the mail of whoever of it owns a mailbox: accounts, mailing lists, the domain itself (its public
folders); what is here is not removed or changed; nobody gets the mail of another whose name is his alias by now, unless that
was asked for; an account that was deleted and is still kept comes back as it is kept before anything is taken from the backup;
doing it twice brings nothing twice, and a list sends nothing twice on its account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mailstead.directory.address import address_key, local_key
from mailstead.directory.model import Account, AlreadyExistsError, Domain, RecipientKind
from mailstead.directory.service import Directory
from mailstead.mailbox.names import ACTING_FOLDERS
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

    def _need_owner(self, address: str) -> SourceOwner:
        found = self._source.directory.account(address) or self._source.directory.mailing_list(address)
        if found is None:
            raise BackupError(f"the backup has no account or list {address}")
        return found

    def _list_named(self, address: str) -> Account | None:
        """The mailbox of the mailing list here that has that address."""
        local, _, domain = address.rpartition("@")
        home = self._directory.domain_by_name(domain)
        found = self._directory.account_by_login(f"{local}@{home.name}") if home is not None else None
        return found if found is not None and self._is_list(found.id) and local_key(found.name) == local_key(local) else None

    def _is_list(self, id: int) -> bool:
        found = self._directory.recipient(id)
        return found is not None and found.kind is RecipientKind.LIST

    async def _list_here(self, owner: SourceOwner, how: How) -> Account:
        """The list that is to have a list's mail, made of the backup where it is missing."""
        directory = self._directory
        here = self._list_named(owner.address) or (directory.account(owner.id) if self._is_list(owner.id) else None)
        if here is not None:
            self._actor.require("restoreDomain", here.domain_id)
            if how.password or how.settings:
                self._told(f"{here.address}: is here, so its password, settings and members stay")
            return here
        domain = owner.address.rpartition("@")[2]
        home = directory.domain_by_name(domain)
        if home is None:
            raise BackupError(f"the domain {domain} does not exist here; restore the domain, or give another account (--to)")
        said = await directory.bring_missing(self._source.directory.rows(owner), home.id, actor=self._actor)
        here = self._list_named(owner.address)
        if here is None:
            raise AlreadyExistsError("; ".join(said) or f"the list {owner.address} cannot be made")
        self._told(f"{here.address}: made, with its members, password and settings")
        return here

    def _other_target(self, owner: SourceOwner, to: str) -> Account | None:
        """A list that is to have the mail instead, or the account that is to have a list's; None for an account's other
        account, which may be made."""
        here = self._list_named(to)
        if here is None and owner.kind == "list":
            here = self._directory.account_by_address(to)
            if here is None:
                raise BackupError(f"there is no account or list {to} here")
        if here is not None:
            self._actor.require("restoreDomain", here.domain_id)
        return here

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

    def _translate(self, owner: SourceOwner, target: int, renamed: Mapping[str, str]) -> Callable[[str], str | None]:
        """Identifiers of the backup in those of this server: the same object of the domain by id, else by address, where
        ``renamed`` says what a domain of the backup is called here."""

        def translate(identifier: str) -> str | None:
            sign = "-" if identifier.startswith("-") else ""
            bare = identifier.removeprefix("-")
            if bare == f"u{owner.id}":
                return f"{sign}u{target}"
            people = self._directory.owner(target)
            if people is None:
                return None
            if bare.startswith("d"):
                return f"{sign}d{people.domain_id}"
            if bare[1:].isdigit() and self._directory.identifier_text(target, bare) is not None:
                number = int(bare[1:])
                same = self._directory.account(number) if bare[0] == "u" else self._directory.recipient(number)
                if same is not None and same.domain_id == people.domain_id:
                    return identifier
            named = self._source.directory.address_of(bare)
            if named is None:
                return None
            kind, address = named
            local, _, domain = address.rpartition("@")
            return self._directory.identifier(
                target, f"{sign}{'group=' if kind == 'group' else ''}{local}@{renamed.get(domain, domain)}"
            )

        return translate

    # -- verbs ------------------------------------------------------------------------------------------------

    async def account(self, address: str, *, to: str = "", wanted: Wanted = Wanted(), how: How = How()) -> MailReport:
        """The mail of an account or mailing list (or what is ``wanted`` of it) into that of this address, or
        ``to``."""
        owner = self._need_owner(address)
        await self._need(owner, wanted)
        account = self._other_target(owner, to) if to else None
        if account is None and owner.kind == "list":
            account = await self._list_here(owner, how)
        elif account is None:
            account = await self._account_here(owner, to, how, by_alias=bool(to))
        # Another account's domain may have others of the same names.
        renamed = {} if to else {owner.address.rpartition("@")[2]: account.domain}
        return await self._mail(owner, account.id, account.shard, account.address, wanted, how, renamed)

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

    async def _mail(
        self, owner: SourceOwner, target: int, shard: int, name: str, wanted: Wanted, how: How, renamed: Mapping[str, str]
    ) -> MailReport:
        acting = await self._acting(owner, target, name)
        restorer = MailRestorer(self._mailbox, self._store, limited=how.limited)
        report = await restorer.restore(
            self._source.mailbox(owner.shard), owner, target, shard, wanted, self._translate(owner, target, renamed), acting
        )
        self._told(
            f"{name}: {report.restored} messages restored, {report.there} are there"
            + (f", {report.moved} are in another folder now" if report.moved else "")
            + (f"; {report.folders} folders made" if report.folders else "")
        )
        for text in report.notes:
            self._told(f"{name}: {text}")
        if wanted.everything:
            self._tell_scripts(owner, name, renamed)
        return report

    async def _acting(self, owner: SourceOwner, target: int, name: str) -> frozenset[str]:
        """Folders that do not get mail unasked: those in which a list sends what it had sent since the backup, or what the list
        that it was written to sends. Where the same list lost its folder, what waited in it waits again."""
        if not self._is_list(target):
            return frozenset()
        if owner.kind != "list" or address_key(owner.address) != address_key(name):
            return ACTING_FOLDERS
        return ACTING_FOLDERS & {folder.name for folder in await self._mailbox.folders(target)}

    def _tell_scripts(self, owner: SourceOwner, name: str, renamed: Mapping[str, str]) -> None:
        """Scripts are what people wrote, so that addresses in them stay; whoever restores is to know."""
        index = self._source.mailbox(owner.shard).index
        texts = [(index.script(owner.id, script) or "").lower() for script, _, _ in index.scripts(owner.id)]
        for old, new in renamed.items():
            count = sum(f"@{old.lower()}" in text for text in texts)
            if count and old != new:
                self._told(f"{name}: WARNING: {count} scripts name addresses of {old} and stay as they were")

    async def domain(self, name: str, *, to: str = "", how: How = How()) -> list[MailReport]:
        """A domain with all its accounts, groups, lists, classes and public folders, and their mail; as the domain ``to``, of
        which addresses of its own (members, administrators of lists) then are."""
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
            for text in back.readdressed:
                self._told(f"{here.name}: {text}")
        else:
            actor.require("restoreDomain", here.id)
            for text in await directory.bring_missing(rows, here.id, actor=actor):
                self._told(f"{here.name}: {text}")
        renamed = {source.address: here.name}
        reports = []
        # All of them first, so that the rights of one who comes early find those who come late.
        for owner, target in await self._owners_here(source, here, how):
            reports.append(await self._mail(owner, target.id, target.shard, target.address, Wanted(), how, renamed))
        public = directory.owner(here.id)
        if public is not None and self._source.mailbox(source.shard).folders(source.id):
            name = f"public folders of {here.name}"
            reports.append(await self._mail(source, here.id, public.shard, name, Wanted(), how, renamed))
        return reports

    async def _owners_here(self, source: SourceOwner, here: Domain, how: How) -> list[tuple[SourceOwner, Account]]:
        """The accounts of a domain of the backup, made where they are missing, and its lists with mail; each with whoever has
        its mail here."""
        found: list[tuple[SourceOwner, Account]] = []
        for owner in self._source.directory.accounts(source):
            target = f"{owner.address.rpartition('@')[0]}@{here.name}"
            try:
                to_here = target if here.name != source.address else ""
                found.append((owner, await self._account_here(owner, to_here, how, by_alias=False)))
            except AlreadyExistsError as error:
                self._told(f"{owner.address}: not restored: {error}")
        for owner in self._source.directory.lists(source):
            if not self._source.mailbox(owner.shard).folders(owner.id):
                continue
            listed = self._list_named(f"{owner.address.rpartition('@')[0]}@{here.name}")
            if listed is None:
                self._told(f"{owner.address}: not restored: there is no list of that name in {here.name}")
                continue
            found.append((owner, listed))
        return found

    async def public_folders(self, domain: str, *, wanted: Wanted = Wanted(), how: How = How()) -> MailReport:
        """The public folders of a domain that is here, or one of them."""
        source = self._source.directory.domain(domain)
        here = self._directory.domain_by_name(domain)
        public = self._directory.owner(here.id) if here is not None else None
        if source is None or here is None or public is None:
            raise BackupError(f"the domain {domain} is not in the backup, or not here")
        self._actor.require("restoreDomain", here.id)
        await self._need(source, wanted)
        renamed = {source.address: here.name}
        return await self._mail(source, here.id, public.shard, f"public folders of {here.name}", wanted, how, renamed)
