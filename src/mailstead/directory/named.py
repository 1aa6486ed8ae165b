"""Names by which one object points to another: asked when they are given, followed when they change, told when they lead nowhere.

Invariants: a renamed account, group, list or domain keeps what pointed to it; a name whose object is gone is as if it were
not set (see `resolve`), so that it can come back.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailstead.directory.address import address_key, join_address, local_key, split_address
from mailstead.directory.base import DirectoryBase
from mailstead.directory.member_history import difference, rows_of
from mailstead.directory.model import NotFoundError, RecipientKind
from mailstead.settings.database import Row, Transaction
from mailstead.settings.declarations import DOMAIN
from mailstead.settings.edits import Place
from mailstead.settings.service import store_value

ACCOUNT_NAMES = ("catchAllAccountName", "postmasterAccount")
"""Settings of a domain that name an account of it."""
_MEMBERS = (
    "SELECT m.address, g.name, d.name FROM member m JOIN recipient g ON g.id = m.recipient_id AND g.kind = 'group' "
    "JOIN domain d ON d.id = g.domain_id JOIN domain_name n ON n.key = substr(m.key, instr(m.key, '@') + 1) "
    "LEFT JOIN address a ON a.domain_id = n.domain_id AND a.local = substr(m.key, 1, instr(m.key, '@') - 1) "
    "WHERE a.domain_id IS NULL ORDER BY g.id, m.key"
)


class NamedObjects(DirectoryBase):
    """Look-ups of names that must lead somewhere."""

    def names_account(self, domain_id: int, name: str) -> bool:
        """Whether a name of a domain is an account's, main or other."""
        self.database.poll()
        found = self._name(domain_id, local_key(name))
        return found is not None and found.kind == "account" and not found.expires

    def need_named_account(self, place: Place, setting: str, text: str | None) -> None:
        """Raise NotFoundError for a domain's setting that names an account which does not exist."""
        if not text or place.scope != "domainConfig" or place.prefix or setting not in ACCOUNT_NAMES:
            return
        domain = self.domain(place.scope_id)
        if domain is not None and not self.names_account(domain.id, text):
            raise NotFoundError(f"{setting}: {domain.name} has no account {text}")

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
        transaction.record(author, "recipient", recipient, "remove members", difference(before, {})[0])
        return
    transaction.execute("UPDATE member SET address = ?, key = ? WHERE id = ?", (address, key, member))
    went, came = difference(before, rows_of(transaction, recipient, [key]))
    transaction.record(author, "recipient", recipient, "update member", went, came)

