"""The directory: who is here, and every verb on it.

Invariants:
- One `Directory` per process, opened after forking; look-ups are synchronous and fast, verbs are coroutines.
- What a verb has returned from is durable and seen by the next look-up in every process.
- Verbs check their `actor`; look-ups do not.

The look-ups are in `lookup` and `resolve`, the verbs in `domains`, `accounts`, `deleted`, `recipients` and `admins`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from mailstead.directory.accounting import Accounting
from mailstead.directory.accounts import AccountVerbs
from mailstead.directory.address import address_key
from mailstead.directory.admins import AdminVerbs
from mailstead.directory.bringing import BringingVerbs
from mailstead.directory.cache import BoundedCache
from mailstead.directory.domains import DomainVerbs
from mailstead.directory.edits import EditVerbs
from mailstead.directory.ids import IdSource
from mailstead.directory.model import DirectoryError
from mailstead.directory.recipients import RecipientVerbs
from mailstead.directory.sharing import SharingLookups
from mailstead.settings.database import SystemDatabase, Transaction
from mailstead.settings.service import Settings

LOGIN_INTERVAL_S = 60
MAX_SHARDS = 4096


class Directory(
    DomainVerbs, AccountVerbs, BringingVerbs, RecipientVerbs, AdminVerbs, EditVerbs, SharingLookups
):
    """All look-ups and verbs over one system database; `settings` are the settings over the same one."""

    def __init__(self, database: SystemDatabase, settings: Settings, ids: IdSource) -> None:
        super().__init__(database, settings, ids)
        self.accounting = Accounting(database)
        self._logins_written: BoundedCache[tuple[int, str], float] = BoundedCache(100_000)

    @classmethod
    def open(cls, data_dir: Path, *, shards: int = 1, create: bool = False) -> Directory:
        """Open (or with `create` make) the directory of a data directory.

        `shards` extends the stored shard map; it never shrinks. Raises SystemDatabaseError.
        """
        if not 1 <= shards <= MAX_SHARDS:
            raise DirectoryError(f"the number of shards must be 1 to {MAX_SHARDS}")
        database = SystemDatabase.open(Path(data_dir), create=create)
        try:
            count = database.query("SELECT count(*) FROM shard")[0][0]
            node = database.query_row("SELECT value FROM meta WHERE key = 'node'")
            keyed = database.query_row("SELECT 1 FROM meta WHERE key = 'memberKeys'")
            if count < shards or node is None or keyed is None:
                database.write_sync(lambda transaction: _prepare(transaction, shards))
                node = database.query_row("SELECT value FROM meta WHERE key = 'node'")
            assert node is not None
            return cls(database, Settings(database), IdSource(int(node[0])))
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Finish running writes and close the database."""
        self.database.close()

    def poll(self) -> bool:
        """Look for changes by other processes; look-ups do so themselves."""
        return self.database.poll()

    def on_account_change(self, callback: Callable[[int], None]) -> None:
        """Have `callback` called with an account's id after it changed (0: any may have), from the next poll.

        Sessions use it to end when their account is disabled, deleted, or has a new password.
        """

        def listener(changes: object) -> None:
            if changes is None:
                callback(0)
                return
            for change in changes:  # type: ignore[attr-defined]
                if change.kind in ("account", "recipient"):  # a mailing list has a mailbox and a login
                    callback(change.object_id)
                elif change.kind in ("domain", "domainAlias", "accountClass", "setting"):
                    callback(0)

        self.database.subscribe(listener)

    def shard_count(self) -> int:
        """Number of shards in the stored map."""
        return int(self.database.query("SELECT count(*) FROM shard")[0][0])

    def login_due(self, account_id: int, service: str) -> bool:
        """True when `record_login` would write; lets callers skip a task for the many logins it would not."""
        return time.monotonic() - self._logins_written.get((account_id, service), -1e9) >= LOGIN_INTERVAL_S

    async def record_login(self, account_id: int, service: str, peer: str) -> bool:
        """Note a login for the registry information; written at most once a minute for an account and service."""
        key = (account_id, service)
        now = time.monotonic()
        if now - self._logins_written.get(key, -1e9) < LOGIN_INTERVAL_S:
            return False
        self._logins_written.put(key, now)

        def operation(transaction: Transaction) -> bool:
            # Another process may have written within the minute.
            last = transaction.value("SELECT time FROM login WHERE account_id = ? AND service = ?", key)
            if last is not None and transaction.now - last < LOGIN_INTERVAL_S * 1_000_000:
                return False
            transaction.execute(
                "INSERT INTO login (account_id, service, time, peer) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (account_id, service) DO UPDATE SET time = excluded.time, peer = excluded.peer",
                (account_id, service, transaction.now, peer[:64]),
            )
            return True

        return await self.database.write(operation)


def _prepare(transaction: Transaction, shards: int) -> None:
    """Fill the shard map up to `shards` and draw this node's id bits."""
    present = transaction.value("SELECT count(*) FROM shard")
    for number in range(present, shards):
        transaction.execute("INSERT INTO shard (number, accounts) VALUES (?, 0)", (number,))
    if transaction.row("SELECT 1 FROM meta WHERE key = 'memberKeys'") is None:
        _fold_members(transaction)
        transaction.execute("INSERT INTO meta (key, value) VALUES ('memberKeys', '1')")
    if transaction.row("SELECT 1 FROM meta WHERE key = 'node'") is None:
        transaction.execute("INSERT INTO meta (key, value) VALUES ('node', ?)", (str(secrets.randbelow(1024)),))
        # Salt of made-up SCRAM keys for names that do not exist: equal in all processes, so that it tells nothing.
        transaction.execute("INSERT INTO meta (key, value) VALUES ('decoySecret', ?)", (secrets.token_hex(32),))


def _fold_members(transaction: Transaction) -> None:
    """Compared forms of members that migration 4 brought along: SQL folds ASCII only, and knows no NFC and no A-labels."""
    for member_id, recipient, address, old in transaction.execute("SELECT id, recipient_id, address, key FROM member"):
        key = address_key(address) or old
        if key == old:
            continue
        if transaction.row("SELECT 1 FROM member WHERE recipient_id = ? AND key = ?", (recipient, key)):
            transaction.execute("DELETE FROM member WHERE id = ?", (member_id,))
        else:
            transaction.execute("UPDATE member SET key = ? WHERE id = ?", (key, member_id))
