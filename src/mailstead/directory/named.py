"""Names by which one object points to another: asked when they are given, followed when they change, told when they lead nowhere.

Invariants: the verbs that take a name ask for its object, whoever calls them; only what is brought from elsewhere, or taken
back, comes as it was. A renamed account, group, list or domain keeps what pointed to it; a name whose object is gone is as if
it were not set (see `resolve`), so that it can come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from mailstead.directory.address import address_key, join_address, local_key, split_address
from mailstead.directory.base import DirectoryBase
from mailstead.directory.member_history import difference, rows_of
from mailstead.directory.model import NotFoundError, RecipientKind
from mailstead.settings.database import Row, Transaction
from mailstead.settings.declarations import DOMAIN, DOMAIN_CONTEXTS
from mailstead.settings.edits import Place
from mailstead.settings.references import is_new
from mailstead.settings.service import store_value

ACCOUNT_NAMES = ("catchAllAccountName", "postmasterAccount")
"""Settings of a domain that name an account of it."""
MIGRATION_DATA = DOMAIN_CONTEXTS["migrationData"]
FOLDER_NAME = "catchAllFolderName"
CLASS_NAME = "defaultAccountClassName"
_PAUSE = 50
"""Addresses looked up between two turns of the event loop."""
_MEMBERS = (
    "SELECT m.address, g.name, d.name FROM member m JOIN recipient g ON g.id = m.recipient_id AND g.kind = 'group' "
    "JOIN domain d ON d.id = g.domain_id JOIN domain_name n ON n.key = substr(m.key, instr(m.key, '@') + 1) "
    "LEFT JOIN address a ON a.domain_id = n.domain_id AND a.local = substr(m.key, 1, instr(m.key, '@') - 1) "
    "WHERE a.domain_id IS NULL ORDER BY g.id, m.key"
)
_CLASSES = (
    "SELECT d.name, s.value FROM setting s INDEXED BY setting_of_domains JOIN domain d ON d.id = s.scope_id "
    "LEFT JOIN account_class c ON c.domain_id = d.id AND lower(c.name) = lower(s.value) "
    "WHERE s.scope = 'domainConfig' AND s.name = ? AND s.value <> '' AND c.id IS NULL ORDER BY d.name"
)


class NamedObjects(DirectoryBase):
    """Look-ups of names that must lead somewhere."""

    #: Whether a domain (by id) has a public folder of a name; None in a process without the store, which does not ask.
    _has_public_folder: Callable[[int, str], bool] | None = None

    def know_public_folders(self, look_up: Callable[[int, str], bool]) -> None:
        """Let the verbs ask who keeps the folders whether a domain, by its id, has a public folder of a name."""
        self._has_public_folder = look_up

    def names_account(self, domain_id: int, name: str) -> bool:
        """Whether a name of a domain is an account's, main or other."""
        self.database.poll()
        found = self._name(domain_id, local_key(name))
        return found is not None and found.kind == "account" and not found.expires

    def need_named(self, place: Place, setting: str, text: str | None) -> None:
        """Raise NotFoundError for a domain's setting that names an account, a class or a public folder that does not exist, and did
        not name it before."""
        if not text or place.scope != "domainConfig" or setting not in (*ACCOUNT_NAMES, FOLDER_NAME, CLASS_NAME):
            return
        if not is_new(self.database.query, place.scope, place.scope_id, place.stored(setting), text):
            return
        if not place.prefix and setting in ACCOUNT_NAMES:
            domain = self.domain(place.scope_id)
            if domain is not None and not self.names_account(domain.id, text):
                raise NotFoundError(f"{setting}: {domain.name} has no account {text}")
        elif not place.prefix and setting == FOLDER_NAME:
            self.need_public_folder(place.scope_id, setting, text)
        elif place.prefix == f"{MIGRATION_DATA.name}." and setting == CLASS_NAME:
            domain = self.domain(place.scope_id)
            if domain is not None and all(one.name.lower() != text.lower() for one in self.account_classes(domain.id)):
                raise NotFoundError(f"{setting}: {domain.name} has no account class {text}")

    def need_public_folder(self, domain_id: int, setting: str, name: str) -> None:
        """Raise NotFoundError for the name of no public folder of a domain."""
        domain = self.domain(domain_id)
        if domain is not None and self._has_public_folder is not None and not self._has_public_folder(domain_id, name):
            raise NotFoundError(f"{setting}: {domain.name} has no public folder {name[:80]}")

    async def need_members(self, addresses: Iterable[str]) -> None:
        """`need_member` of each."""
        for number, address in enumerate(addresses):
            if number % _PAUSE == 0:
                await asyncio.sleep(0)
            self.need_member(address)

    def need_member(self, address: str) -> None:
        """Raise NotFoundError for an address of a local domain that leads nowhere."""
        if self.resolve(address).kind is not RecipientKind.UNKNOWN_USER:
            return
        parts = split_address(address)
        domain = self.domain_by_name(parts[1]) if parts is not None else None
        where = domain.name if domain is not None else "the domain"
        raise NotFoundError(f"the address {address} leads nowhere: {where} has no such name")

    def dangling_names(self) -> Iterator[str]:
        """What names something that is gone, in words."""
        marks = ", ".join("?" * len(ACCOUNT_NAMES))
        rows = self.database.query(
            "SELECT s.scope_id, d.name, s.name, s.value FROM setting s INDEXED BY setting_of_domains "
            f"JOIN domain d ON d.id = s.scope_id WHERE s.scope = 'domainConfig' AND s.name IN ({marks}) AND s.value <> '' "
            "ORDER BY d.name, s.name",
            ACCOUNT_NAMES,
        )
        for domain_id, domain, setting, value in rows:
            if not self.names_account(domain_id, value):
                yield f"domain {domain}: {setting} names {value}, who does not exist"
        for domain, value in self.database.query(_CLASSES, (f"{MIGRATION_DATA.name}.{CLASS_NAME}",)):
            yield f"domain {domain}: {CLASS_NAME} names {value}, which does not exist"
        for address, group, domain in self.database.query(_MEMBERS):
            if self.resolve(address).kind is RecipientKind.UNKNOWN_USER:
                yield f"group {join_address(group, domain)}: the member {address} leads nowhere"


def follow_name(transaction: Transaction, author: str, domain_id: int, old: str, new: str) -> None:
    """An object of a domain has another name: members of groups and lists, and settings of the domain, follow."""
    before, after = local_key(old), local_key(new)
    if before == after:
        return
    for (domain,) in transaction.execute("SELECT key FROM domain_name WHERE domain_id = ?", (domain_id,)):
        key = f"{before}@{domain}"
        for row in transaction.execute("SELECT id, recipient_id, address FROM member WHERE key = ?", (key,)):
            _readdress(transaction, author, row, join_address(new, domain))
    for name in ACCOUNT_NAMES:
        value = transaction.value(
            "SELECT value FROM setting WHERE scope = 'domainConfig' AND scope_id = ? AND name = ?", (domain_id, name)
        )
        if value is not None and local_key(str(value)) == before:
            store_value(transaction, author, "domainConfig", domain_id, name, DOMAIN.setting(name), new)


def follow_class(transaction: Transaction, author: str, domain_id: int, old: str, new: str) -> None:
    """An account class has another name: the setting of its domain that names it follows."""
    stored = f"{MIGRATION_DATA.name}.{CLASS_NAME}"
    value = transaction.value(
        "SELECT value FROM setting WHERE scope = 'domainConfig' AND scope_id = ? AND name = ?", (domain_id, stored)
    )
    if value is not None and str(value).lower() == old.lower():
        store_value(transaction, author, "domainConfig", domain_id, stored, MIGRATION_DATA.setting(CLASS_NAME), new)


def follow_domain(transaction: Transaction, author: str, old: str, new: str) -> None:
    """A domain has another name: members of groups and lists follow. Both names are keys."""
    if old == new:
        return
    # Without LIKE, which would take an underscore for any character.
    sql = "SELECT id, recipient_id, address FROM member WHERE substr(key, -length(?1)) = ?1"
    for row in transaction.execute(sql, (f"@{old}",)):
        _readdress(transaction, author, row, f"{str(row[2]).rpartition('@')[0]}@{new}")


def _readdress(transaction: Transaction, author: str, row: Row, address: str) -> None:
    member, recipient, old = row
    key, old_key = address_key(address) or address, address_key(old) or old
    before = rows_of(transaction, recipient, [old_key])
    if transaction.row("SELECT 1 FROM member WHERE recipient_id = ? AND key = ?", (recipient, key)):
        transaction.execute("DELETE FROM member WHERE id = ?", (member,))
        transaction.record(author, "recipient", recipient, "remove members", difference(before, {}).old)
        return
    transaction.execute("UPDATE member SET address = ?, key = ? WHERE id = ?", (address, key, member))
    done = difference(before, rows_of(transaction, recipient, [key]))
    transaction.record(author, "recipient", recipient, "update member", done.old, done.new)

