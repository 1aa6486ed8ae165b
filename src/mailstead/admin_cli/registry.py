"""Registry information: dates, identifiers, last logins and sizes of an object, under the keys that clients read.

Invariants: dates are RFC 2822 with the local zone; what never happened has the epoch's date; nothing is quoted.
"""

from __future__ import annotations

import email.utils

from mailstead.admin_cli.services import AdminServices
from mailstead.directory.model import Account, Domain, Recipient

_LOGINS = (
    ("POP3", "pop3"),
    ("IMAP", "imap"),
    ("WebMail", "webmail"),
    ("Active Sync", "activesync"),
    ("OLK", "outlook"),
)


def date_of(microseconds: int) -> str:
    """`Mon, 01 Jan 2024 10:00:00 +0200`."""
    return email.utils.formatdate(microseconds / 1_000_000, localtime=True)


def modified(services: AdminServices, kind: str, object_id: int, created: int) -> tuple[int, int]:
    """When an object was last changed (us), and how often: from its history."""
    row = services.directory.database.query_row(
        "SELECT max(time), count(*) FROM history WHERE kind = ? AND object_id = ?", (kind, object_id)
    )
    return (int(row[0]), int(row[1])) if row is not None and row[0] is not None else (created, 0)


def account_registry(services: AdminServices, account: Account) -> list[tuple[str, str]]:
    """SHOW RegistryInformation of an account."""
    directory = services.directory
    row = directory.database.query_row("SELECT created FROM account WHERE id = ?", (account.id,))
    created = int(row[0]) if row is not None else 0
    changed, version = modified(services, "account", account.id, created)
    logins = {login.service: login for login in directory.last_logins(account.id)}
    pairs = [
        ("Internal ID", str(account.id)),
        ("Creation Date", date_of(created)),
        ("Modification Date", date_of(changed)),
    ]
    for label, service in _LOGINS:
        login = logins.get(service)
        pairs.append((f"{label} Last Login Date", date_of(login.time if login is not None else 0)))
        pairs.append((f"{label} Last Login IP", login.peer if login is not None else "0.0.0.0"))
    octets, messages, folders = mailbox_size(services, account.id, account.shard)
    return [
        *pairs,
        ("Internal Mbox Container ID", f"{account.shard}"),
        ("Configuration Version", str(version)),
        ("Mbox Storage Version", "1"),
        ("Associated LDAP ID", ""),
        ("Associated LDAP DN", ""),
        ("Configuration Status", "OK" if account.enabled else "disabled"),
        ("Mbox size", str((octets + 1023) // 1024)),
        ("Mbox message count", str(messages)),
        ("Mbox folder count", str(folders)),
        ("Mbox Storage Status", "OK"),
    ]


def mailbox_size(services: AdminServices, owner: int, shard: int) -> tuple[int, int, int]:
    """Octets, messages and folders of an account, a list, or a domain's public folders."""
    index = services.store.mail_index(shard)
    if not index.has_account(owner):
        return 0, 0, 0
    octets, messages = index.usage(owner)
    return octets, messages, len(index.folders(owner))


def domain_registry(services: AdminServices, domain: Domain) -> list[tuple[str, str]]:
    """SHOW RegistryInformation of a domain."""
    changed, version = modified(services, "domain", domain.id, domain.created)
    return [
        ("Internal ID", str(domain.id)),
        ("Creation Date", date_of(domain.created)),
        ("Modification Date", date_of(changed)),
        ("Configuration Version", str(version)),
        ("Configuration Status", "OK" if domain.enabled else domain.state),
        ("Account count", str(services.directory.account_count(domain.id))),
        ("Parent Domain", services.directory.domain_settings(domain.id).parentDomain),
    ]


def recipient_registry(services: AdminServices, found: Recipient) -> list[tuple[str, str]]:
    """SHOW RegistryInformation of a group, list or folder recipient."""
    row = services.directory.database.query_row("SELECT created FROM recipient WHERE id = ?", (found.id,))
    created = int(row[0]) if row is not None else 0
    changed, version = modified(services, "recipient", found.id, created)
    return [
        ("Internal ID", str(found.id)),
        ("Creation Date", date_of(created)),
        ("Modification Date", date_of(changed)),
        ("Configuration Version", str(version)),
        ("Configuration Status", "OK" if found.enabled else "disabled"),
    ]
