"""The read side: accounts, domains and addresses, from caches that are right across processes.

Invariants:
- Every public look-up first polls the system database, so that a change committed anywhere is never missed.
- Reading a row and keeping it happen under the database lock, and nothing polls in between, so that no stale row is
  kept.
- Caches are bounded; negative answers live apart, so that guessing cannot push out the known ones.
- Nothing here blocks for more than a point query.

Caches hold names -> (kind, object) and id -> account. A change of an account drops that account; a change of names,
domains, groups or inherited settings drops what could depend on it, whole: it is filled again in microseconds.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.directory.account_rules import MBOX_QUOTA_SQL, NAMES, AccountRules, make_rules
from mailstead.directory.address import join_address, local_key, split_address
from mailstead.directory.bounds import ACCOUNT_OWNER, bounded, bounds_folders
from mailstead.directory.cache import BoundedCache
from mailstead.directory.domain_lookups import FACTORY_DOMAIN, DomainLookups
from mailstead.directory.list_account import ACCOUNT_SETTINGS, list_account
from mailstead.directory.model import (
    Account,
    AccountClass,
    Credentials,
    Login,
    NotFoundError,
    Recipient,
    RecipientKind,
)
from mailstead.settings.database import Change, SystemDatabase
from mailstead.settings.declaration import InvalidValueError, Snapshot, Value
from mailstead.settings.declarations import ACCOUNT
from mailstead.settings.service import Inherited, Settings

PAGE = 1000
_KINDS = {"group": RecipientKind.GROUP, "list": RecipientKind.LIST, "folder": RecipientKind.FOLDER}

_ACCOUNT_SQL = """
SELECT a.id, a.domain_id, a.shard, a.name, d.name, a.enabled, a.class_id, a.full_name,
       a.auth_version + d.version + coalesce(c.version, 0), a.must_change, a.password_changed
FROM account a JOIN domain d ON d.id = a.domain_id LEFT JOIN account_class c ON c.id = a.class_id
"""
_ACCOUNT_BY_ID = f"{_ACCOUNT_SQL} WHERE a.id = ?"
_SETTING_SQL = """
SELECT scope, name, value FROM setting WHERE (scope = 'account' AND scope_id = ?)
OR (scope = 'class' AND scope_id = ?) OR (scope = 'domain' AND scope_id = ?)
"""
_RECIPIENT_SQL = (
    "SELECT r.id, r.kind, r.domain_id, r.name, d.name, r.enabled, r.attributes, r.shard "
    "FROM recipient r JOIN domain d ON d.id = r.domain_id"
)

#: What holds where nothing is explicit, but for the size, which then is the server's default quota.
_FACTORY_ACCOUNT: Mapping[str, Any] = {name: ACCOUNT.setting(name).default for name in ACCOUNT_SETTINGS}


@dataclass(frozen=True, slots=True)
class Name:
    """One local name: what it leads to; `main` is false for aliases, `expires` (s since 1970) is 0 for never."""

    kind: str
    object_id: int
    main: bool
    expires: int


class Lookup(DomainLookups):
    """Look-ups over one SystemDatabase; base of `Directory`."""

    def __init__(self, database: SystemDatabase, settings: Settings) -> None:
        super().__init__(database, settings)
        self._accounts: BoundedCache[int, Account] = BoundedCache(100_000)
        self._names: BoundedCache[tuple[int, str], Name] = BoundedCache(200_000)
        self._unknown_names: BoundedCache[tuple[int, str], None] = BoundedCache(20_000)
        self._recipients: BoundedCache[int, Recipient] = BoundedCache(20_000)
        self._logins: BoundedCache[tuple[str, str], int] = BoundedCache(100_000)
        self._found: BoundedCache[str, Any] = BoundedCache(100_000)
        database.subscribe(self._changed)

    # -- accounts -------------------------------------------------------------------------------------------

    def account(self, account_id: int) -> Account | None:
        """An account by its id, with effective limits; also the mailbox of a mailing list, by the list's."""
        self.database.poll()
        return self._account(account_id)

    def _account(self, account_id: int) -> Account | None:
        found = self._accounts.get(account_id)
        if found is not None:
            return found
        with self.database.reading():
            row = self.database.query_row(_ACCOUNT_BY_ID, (account_id,))
            if row is None:
                listed = list_account(self.database, account_id, self._domain_config, self._domain_enabled)
                if listed is None:
                    return None
                found = listed
            else:
                found = self._as_account(row)
            self._accounts.put(account_id, found)
            return found

    def _as_account(self, row: Sequence[Any]) -> Account:
        account_id, domain_id, shard, name, domain, enabled, class_id, full_name, version, *password = row
        explicit: dict[str, dict[str, str]] = {"account": {}, "class": {}, "domain": {}}
        rows = self.database.query(_SETTING_SQL, (account_id, class_id, domain_id))
        for scope, setting, text in rows:
            explicit[scope][setting] = text
        limits = self._domain_config(domain_id)  # the factory's bound nothing

        def effective_value(setting: str) -> Any:
            return self._effective(setting, explicit, limits)

        if rows or limits is not FACTORY_DOMAIN or self.settings.account_defaults():
            effective: Mapping[str, Any] = {setting: effective_value(setting) for setting in ACCOUNT_SETTINGS}
        else:
            effective = {**_FACTORY_ACCOUNT, "totalMessageSize": self.settings.peek("processing").defaultAccountQuota}
        services: Any = effective["services"]
        return Account(
            account_id,
            domain_id,
            shard,
            name,
            domain,
            join_address(name, domain),
            bool(enabled) and self._domain_enabled(domain_id),
            services & limits.services,
            class_id,
            effective["totalMessageSize"] * 1024,
            effective["totalMessageCount"] or 0,
            effective["mboxCount"] or 0,
            effective["imapConnectionCount"],
            effective["pop3ConnectionCount"],
            full_name,
            version,
            bool(effective["localizedImapFolderNames"]),
            bool(password[0]),
            password[1],
            self._rules(
                "account", account_id, (*explicit.values(), self.settings.account_defaults()), effective_value,
                bounds_folders(limits, ACCOUNT_OWNER),
            ),
        )

    def _rules(
        self, scope: str, owner: int, explicit: Sequence[Mapping[str, str]], value: Callable[[str], Any], bound: bool
    ) -> AccountRules | None:
        """What restricts an account beyond its quota, at the cost of one look where nothing does."""
        quotas = self.database.query(MBOX_QUOTA_SQL, (scope, owner))
        if not quotas and not bound and not any(NAMES & values.keys() for values in explicit):
            return None
        return make_rules(value, quotas)

    def _effective(self, name: str, explicit: dict[str, dict[str, str]], limits: Snapshot) -> Any:
        """Value by DOM-09; what is not the account's own is within the limits of its domain (ADM-02). For a size that nobody
        set the server's default quota applies."""
        setting = ACCOUNT.setting(name)
        for level, values in enumerate((*explicit.values(), self.settings.account_defaults())):
            text = values.get(name)
            if text is not None:
                with contextlib.suppress(InvalidValueError):  # A range became narrower in a newer release: the value above holds.
                    value = setting.parse(text)
                    return value if level == 0 else bounded(limits, ACCOUNT_OWNER, name, value)
        value = self.settings.peek("processing").defaultAccountQuota if name == "totalMessageSize" else setting.default
        return bounded(limits, ACCOUNT_OWNER, name, value)

    def bare_domain(self) -> str:
        """The domain that completes login names without one where no listener says another; "" for none."""
        return self._bare_domain()

    def account_by_login(self, login: str, default_domain: str = "") -> Account | None:
        """The account a login name means: its address, an alias or a domain alias (POP-03, unless switched off).

        A bare name is completed with `default_domain`, else the server's primary (or only) domain. Never a
        subaddress, a catch-all or a temporary alias. A mailing list's own address is its login. Disabled accounts are
        returned too: the caller decides.
        """
        self.database.poll()
        key = (login, default_domain)
        account_id = self._logins.get(key)
        if account_id is not None:
            return self._account(account_id)
        with self.database.reading():
            account_id = self._find_login(login, default_domain)
            if account_id is None:
                return None
            self._logins.put(key, account_id)
            return self._account(account_id)

    def _find_login(self, login: str, default_domain: str) -> int | None:
        text = login.strip()
        parts = split_address(text)
        if parts is None:
            if not text or "@" in text:
                return None
            parts = (text, default_domain or self._bare_domain())
        entry = self._domain_entry(parts[1])
        if entry is None:
            return None
        name = self._name(entry[0], local_key(parts[0]))
        if name is None or name.kind not in ("account", "list") or name.expires:
            return None
        if not (name.main and entry[1]) and not self.settings.peek("server").allowAliasLogins:
            return None
        return name.object_id

    def _bare_domain(self) -> str:
        """The domain of bare user names: the primary one, else the oldest."""
        primary: str = self.settings.peek("server").primaryDomain
        if primary:
            return primary
        row = self.database.query_row("SELECT name FROM domain ORDER BY id LIMIT 1")
        return row[0] if row else ""

    def account_by_address(self, address: str) -> Account | None:
        """The account an address or alias names exactly (no subaddress, no catch-all)."""
        self.database.poll()
        parts = split_address(address)
        if parts is None:
            return None
        entry = self._domain_entry(parts[1])
        if entry is None:
            return None
        name = self._name(entry[0], local_key(parts[0]))
        if name is None or name.kind != "account" or _expired(name):
            return None
        return self._account(name.object_id)

    def _subaddress(self, key: str) -> tuple[str, str] | None:
        """A compared local part before its first delimiter and what stands behind (RFC 5233); None where it has none."""
        marks = self.settings.peek("smtpIncoming").recipientDelimiter
        places = [place for mark in marks if (place := key.find(mark)) > 0]
        return (key[: min(places)], key[min(places) + 1 :]) if places else None

    def _name(self, domain_id: int, local: str) -> Name | None:
        key = (domain_id, local)
        found = self._names.get(key)
        if found is not None:
            return found
        if key in self._unknown_names:
            return None
        with self.database.lock:
            row = self.database.query_row(
                "SELECT kind, object_id, main, expires FROM address WHERE domain_id = ? AND local = ?", key
            )
            if row is None:
                self._unknown_names.put(key, None)
                return None
            found = Name(row[0], row[1], bool(row[2]), row[3])
            self._names.put(key, found)
            return found

    def accounts(self, domain_id: int = 0) -> Iterator[Account]:
        """All accounts (of a domain), by id, read in pages; no read stays open between them."""
        self.database.poll()
        last = 0
        while True:
            where = " AND a.domain_id = ?" if domain_id else ""
            values = (last, domain_id, PAGE) if domain_id else (last, PAGE)
            rows = self.database.query(f"{_ACCOUNT_SQL} WHERE a.id > ?{where} ORDER BY a.id LIMIT ?", values)
            for row in rows:
                yield self._as_account(row)
            if len(rows) < PAGE:
                return
            last = rows[-1][0]

    def account_count(self, domain_id: int = 0) -> int:
        """Number of accounts on the server or in a domain."""
        sql = "SELECT count(*) FROM account" + (" WHERE domain_id = ?" if domain_id else "")
        return int(self.database.query(sql, (domain_id,) if domain_id else ())[0][0])

    def account_counts(self) -> dict[int, int]:
        """Number of accounts of every domain that has any, by its id."""
        rows = self.database.query("SELECT domain_id, count(*) FROM account GROUP BY domain_id")
        return {int(row[0]): int(row[1]) for row in rows}

    def account_aliases(self, account_id: int) -> list[str]:
        """Alias names (local parts) of an account, temporary ones included while they live."""
        rows = self.database.query(
            "SELECT name, expires FROM address WHERE object_id = ? AND main = 0 ORDER BY name", (account_id,)
        )
        now = int(time.time())
        return [name for name, expires in rows if not expires or expires > now]

    def account_settings(self, account_id: int) -> dict[str, Inherited]:
        """Every limit, quota and restriction with its origin (DOM-09). Raises NotFoundError."""
        return self.settings.account_values(self._chain(account_id))

    def account_setting(self, account_id: int, name: str) -> Value:
        """One effective value. Raises NotFoundError."""
        return self.settings.account_value(self._chain(account_id), name).value

    def _chain(self, account_id: int) -> list[tuple[str, int]]:
        """Where the values of an account lie, nearest first. Raises NotFoundError."""
        account = self.account(account_id)
        if account is None:
            raise NotFoundError(f"account {account_id} does not exist")
        if self._recipient(account_id) is not None:
            return [("recipient", account_id)]
        chain = [("account", account_id), ("class", account.class_id), ("domain", account.domain_id)]
        return [link for link in chain if link[1]]

    def language_of(self, account_id: int) -> str:
        """The language of an account: its choice in WebMail, what it inherits, its domain's, the server's."""
        account = self.account(account_id)
        own = ""
        if account is not None:
            chosen = self.settings.explicit("accountData", account_id).get("webmailData.language", "")
            own = chosen or str(self.account_setting(account_id, "language"))
        domain = str(self.domain_settings(account.domain_id).defaultLanguage) if account is not None else ""
        return own or domain or str(self.settings.peek("server").defaultLanguage)

    def credentials(self, account_id: int) -> Credentials | None:
        """Secrets of an account; read from the database each time, never cached."""
        row = self.database.query_row(
            "SELECT password, scram, recoverable, must_change, password_changed FROM account WHERE id = ? UNION ALL "
            "SELECT password, scram, recoverable, 0, 0 FROM recipient WHERE id = ? AND kind = 'list'",
            (account_id, account_id),
        )
        return None if row is None else Credentials(row[0], row[1], row[2], bool(row[3]), row[4])

    def last_logins(self, account_id: int) -> list[Login]:
        """Registry information: the last login by each service, at most a minute old."""
        rows = self.database.query("SELECT service, time, peer FROM login WHERE account_id = ? ORDER BY service", (account_id,))
        return [Login(*row) for row in rows]

    # -- classes, groups, lists, folder recipients ----------------------------------------------------------

    def account_classes(self, domain_id: int) -> list[AccountClass]:
        """Classes of a domain by name."""
        rows = self.database.query("SELECT id, domain_id, name FROM account_class WHERE domain_id = ? ORDER BY name", (domain_id,))
        return [AccountClass(*row) for row in rows]

    def recipient(self, object_id: int) -> Recipient | None:
        """A group, mailing list or folder recipient by its id."""
        self.database.poll()
        return self._recipient(object_id)

    def _recipient(self, object_id: int) -> Recipient | None:
        found = self._recipients.get(object_id)
        if found is not None:
            return found
        with self.database.lock:
            row = self.database.query_row(f"{_RECIPIENT_SQL} WHERE r.id = ?", (object_id,))
            if row is None:
                return None
            found = self._as_recipient(row)
            self._recipients.put(object_id, found)
            return found

    def recipients(self, domain_id: int, kind: RecipientKind) -> list[Recipient]:
        """Groups, lists or folder recipients of a domain by name."""
        self.database.poll()
        rows = self.database.query(
            f"{_RECIPIENT_SQL} WHERE r.domain_id = ? AND r.kind = ? ORDER BY r.name", (domain_id, kind.value)
        )
        return [self._as_recipient(row) for row in rows]

    def _as_recipient(self, row: Sequence[Any]) -> Recipient:
        object_id, kind, domain_id, name, domain, enabled, attributes, shard = row
        active = bool(enabled) and self._domain_enabled(domain_id)
        address = join_address(name, domain)
        return Recipient(object_id, _KINDS[kind], domain_id, name, address, active, json.loads(attributes), shard)

    # -- invalidation ---------------------------------------------------------------------------------------

    def _changed(self, changes: Sequence[Change] | None) -> None:
        if changes is None:
            self._forget_accounts()
            self._forget_names()
            return
        for change in changes:
            if change.kind == "account":
                self._accounts.pop(change.object_id, None)
                if change.verb in _NAME_VERBS:
                    self._forget_names()
            elif change.kind in ("setting", "accountClass"):
                self._forget_accounts()
                self._found.clear()
                self._logins.clear()
            elif change.kind == "object" and change.verb.endswith(" mboxQuota"):
                self._accounts.clear()
            elif change.kind in ("domain", "domainAlias"):
                self._forget_accounts()
                self._forget_names()
            elif change.kind == "recipient":
                self._recipients.pop(change.object_id, None)
                self._accounts.pop(change.object_id, None)
                if change.verb in _NAME_VERBS:
                    self._forget_names()

    def _forget_accounts(self) -> None:
        self._accounts.clear()
        self._recipients.clear()
        self._domains.clear()
        self._domain_settings.clear()

    def _forget_names(self) -> None:
        self._names.clear()
        self._unknown_names.clear()
        self._domain_names.clear()
        self._unknown_domains.clear()
        self._logins.clear()
        self._found.clear()


_NAME_VERBS = frozenset({"create", "import", "delete", "rename", "restore", "add alias", "remove alias"})


def _expired(name: Name) -> bool:
    return bool(name.expires) and name.expires <= time.time()
