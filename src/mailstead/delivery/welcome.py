"""The first message of a new account (ACC-05).

Invariants: every account that is made while its settings want a welcome gets it once, in its INBOX, whatever happens in between;
accounts of before this release, and those that come back from a backup or from deletion, get none.

How: accounts are taken in the order of the history's rows that tell of their creation, and a mark says up to which they were
looked at. The mark moves after the message is durable, so after a crash one message may be there already: it has an id that
follows from the account's, and is looked for before the first message after a start is written, among what was deleted as well.
Accounts that nothing wants welcomed are passed over in the database alone, for thousands of them may be made in a minute.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mailstead.delivery.account_mail import AccountMail, account_fields
from mailstead.delivery.notice_texts import WELCOME
from mailstead.directory.model import Account
from mailstead.directory.service import Directory
from mailstead.mailbox.errors import MailboxError
from mailstead.observe.log import get_logger
from mailstead.settings.database import SystemDatabaseError, Transaction
from mailstead.settings.declarations import ACCOUNT
from mailstead.store.service import Store
from mailstead.store.undelete import holds_message

log = get_logger("PROCESSING")

BATCH = 1000
#: After an account has come, others that come at once are waited for.
GATHER_SECONDS = 0.5

_MADE = """
SELECT h.seq, h.object_id, EXISTS (
  SELECT 1 FROM account a CROSS JOIN setting s ON s.name = 'welcomeMessageEnabled' AND (
    (s.scope = 'account' AND s.scope_id = a.id) OR (s.scope = 'class' AND s.scope_id = a.class_id)
    OR (s.scope = 'domain' AND s.scope_id = a.domain_id) OR (s.scope = 'defaults' AND s.scope_id = 0))
  WHERE a.id = h.object_id)
FROM history h WHERE h.seq > ? AND h.kind = 'account' AND h.verb IN ('create', 'import') ORDER BY h.seq LIMIT ?"""


class Welcome:
    """One per node, in the background process."""

    def __init__(self, directory: Directory, store: Store, mail: AccountMail) -> None:
        self._directory = directory
        self._store = store
        self._mail = mail
        #: Whether an earlier process may have written the next message and not moved the mark.
        self._in_doubt = True

    async def run_once(self) -> int:
        """Welcome the accounts that have come; how many got a message. Raises SystemDatabaseError, MailboxError."""
        sent = 0
        while rows := self._next():
            for seq, account_id, perhaps in rows:
                account = self._directory.account(account_id) if perhaps else None
                if account is not None and self._directory.account_setting(account_id, "welcomeMessageEnabled"):
                    sent += await self._welcome(account)
                    self._in_doubt = False
                    await self._move(seq)
                    await asyncio.sleep(0)
            await self._move(rows[-1][0])
        return sent

    def _next(self) -> list[tuple[int, int, bool]]:
        """(history row, account, whether anything says that it may be welcomed) of accounts made behind the mark."""
        row = self._directory.database.query_row("SELECT value FROM meta WHERE key = 'welcomed'")
        mark = int(row[0]) if row is not None else 0
        found: list[Any] = self._directory.database.query(_MADE, (mark, BATCH))
        default = bool(ACCOUNT.setting("welcomeMessageEnabled").default)
        return [(int(seq), int(account), default or bool(perhaps)) for seq, account, perhaps in found]

    async def _move(self, seq: int) -> None:
        def operation(transaction: Transaction) -> None:
            transaction.execute("UPDATE meta SET value = ? WHERE key = 'welcomed'", (str(seq),))

        await self._directory.database.write(operation)

    async def _welcome(self, account: Account) -> int:
        domain = self._directory.domain(account.domain_id)
        message_id = f"welcome.{account.id}@{domain.key if domain is not None else account.domain}"
        if self._in_doubt and await asyncio.to_thread(
            holds_message, self._store.data_dir, account.shard, account.id, message_id
        ):
            return 0
        file = str(self._directory.account_setting(account.id, "welcomeMessageFileName"))
        octets = await self._mail.compose(
            account.address, account.domain, file, WELCOME, account_fields(account), message_id=f"<{message_id}>"
        )
        await self._mail.put(account, octets)
        log.info("new account welcomed", account=account.address)
        return 1


async def run(welcome: Welcome, directory: Directory) -> None:
    """Welcome new accounts as they come, until cancelled."""
    changed = asyncio.Event()
    directory.on_account_change(lambda _account: changed.set())
    while True:
        changed.clear()
        try:
            await welcome.run_once()
        except (SystemDatabaseError, MailboxError) as error:  # the mark stays where it is: the next round tries again
            log.error("new accounts not welcomed", reason=str(error))
            await asyncio.sleep(5)
            continue
        await changed.wait()
        await asyncio.sleep(GATHER_SECONDS)
