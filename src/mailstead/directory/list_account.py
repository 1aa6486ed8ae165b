"""The mailbox and login of a mailing list: an account in all but its mail address (LST-01)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mailstead.directory.account_rules import MBOX_QUOTA_SQL, NAMES, make_rules
from mailstead.directory.address import join_address
from mailstead.directory.bounds import LIST_OWNER, bounds_folders, listed_default
from mailstead.directory.model import Account
from mailstead.directory.recipient_kinds import LIST_SERVICES
from mailstead.settings.database import SystemDatabase
from mailstead.settings.declaration import Snapshot
from mailstead.settings.declarations import ACCOUNT

ACCOUNT_SETTINGS = (
    "services",
    "totalMessageSize",
    "totalMessageCount",
    "mboxCount",
    "imapConnectionCount",
    "pop3ConnectionCount",
    "localizedImapFolderNames",
)
"""What an account's effective limits are made of."""
_SQL = """
SELECT r.domain_id, r.shard, r.name, d.name, r.enabled, r.auth_version + d.version, r.attributes
FROM recipient r JOIN domain d ON d.id = r.domain_id WHERE r.id = ? AND r.kind = 'list'
"""


def list_account(
    database: SystemDatabase,
    list_id: int,
    domain_limits: Callable[[int], Snapshot],
    domain_enabled: Callable[[int], bool],
) -> Account | None:
    """The account of a mailing list; None where there is no such list."""
    row = database.query_row(_SQL, (list_id,))
    if row is None:
        return None
    domain_id, shard, name, domain, enabled, version, attributes = row
    rows = database.query("SELECT name, value FROM setting WHERE scope = 'recipient' AND scope_id = ?", (list_id,))
    limits = domain_limits(domain_id)
    # Quotas and limits lie apart: "listQuotas.mboxCount", "listLimits.imapConnectionCount".
    explicit: dict[str, str] = {name.rpartition(".")[2]: value for name, value in rows}

    def value(word: str) -> Any:
        setting = ACCOUNT.setting(word)
        return setting.parse(explicit[word]) if word in explicit else listed_default(limits, setting.name)

    values = {word: value(word) for word in ACCOUNT_SETTINGS}
    quotas = database.query(MBOX_QUOTA_SQL, ("recipient", list_id))
    stored = json.loads(attributes).get("services")
    services = frozenset(LIST_SERVICES if stored is None else stored.strip("()").split())
    return Account(
        list_id,
        domain_id,
        shard,
        name,
        domain,
        join_address(name, domain),
        bool(enabled) and domain_enabled(domain_id),
        services & limits.services,
        0,
        values["totalMessageSize"] * 1024,
        values["totalMessageCount"],
        values["mboxCount"],
        values["imapConnectionCount"],
        values["pop3ConnectionCount"],
        "",
        version,
        bool(values["localizedImapFolderNames"]),
        rules=make_rules(value, quotas) if quotas or NAMES & explicit.keys() or bounds_folders(limits, LIST_OWNER) else None,
    )
