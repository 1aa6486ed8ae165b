"""The warning that a mailbox is nearly full (QTA-02), at delivery and at login.

Invariants: an account is warned at most once in its interval, over all processes and restarts; nobody waits for the warning; an
account without the setting costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from mailstead.delivery.account_mail import AccountMail, account_fields
from mailstead.delivery.notice_texts import QUOTA_ALERT
from mailstead.directory.cache import BoundedCache
from mailstead.directory.model import Account
from mailstead.directory.service import Directory
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.service import Mailbox
from mailstead.observe.log import get_logger
from mailstead.settings.database import SystemDatabaseError

log = get_logger("PROCESSING")
KIND = "quota"


def percent_used(account: Account, usage: tuple[int, int]) -> int:
    """The larger of the percentages of size and of messages; 0 without a quota."""
    size = usage[0] * 100 // account.quota_bytes if account.quota_bytes else 0
    count = usage[1] * 100 // account.quota_messages if account.quota_messages else 0
    return max(size, count)


class QuotaAlerts:
    """One per process; `spawn` runs a coroutine in the background."""

    def __init__(
        self, directory: Directory, mailbox: Mailbox, mail: AccountMail, spawn: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._directory = directory
        self._mailbox = mailbox
        self._mail = mail
        self._spawn = spawn
        #: When this process last saw that an account was told, so that not every delivery asks the database.
        self._told: BoundedCache[int, int] = BoundedCache(50_000)

    def look(self, account: Account) -> None:
        """Warn the account if it is due."""
        alert = account.rules.alert if account.rules is not None else None
        if alert is None or not (account.quota_bytes or account.quota_messages):
            return
        if self._told.get(account.id, 0) > time.time() - alert.interval:
            return
        try:
            used = percent_used(account, self._mailbox.usage(account.id))
        except MailboxError:
            return
        if used >= alert.threshold:
            self._spawn(self._warn(account))

    async def _warn(self, account: Account) -> None:
        alert = account.rules.alert if account.rules is not None else None
        if alert is None:
            return
        now = int(time.time())
        try:
            due = self._mail.claimed(account.id, KIND) <= now - alert.interval
            # At the very second of the last one it is not due again, whatever the interval.
            claimed = due and await self._mail.claim(account.id, KIND, max(1, now - alert.interval + (alert.interval > 0)))
            self._told.put(account.id, self._mail.claimed(account.id, KIND))
            if not claimed:
                return
            octets = await self._mail.compose(
                account.address, account.domain, alert.file, QUOTA_ALERT, self._fields(account, alert.threshold)
            )
            await self._mail.put(account, octets)
            log.info("account warned of its quota", account=account.address)
        except (SystemDatabaseError, MailboxError) as error:
            log.error("account not warned of its quota", account=account.address, reason=str(error))

    def _fields(self, account: Account, threshold: int) -> dict[str, str]:
        size, messages = self._mailbox.usage(account.id)
        return {
            **account_fields(account),
            "THRESHOLD": str(threshold),
            "SIZEQUOTA": str(account.quota_bytes // 1024) if account.quota_bytes else "unlimited",
            "SIZEUSED": str((size + 1023) // 1024),
            "SIZEPERCENT": f"{size * 100 // account.quota_bytes}%" if account.quota_bytes else "-",
            "COUNTQUOTA": str(account.quota_messages) if account.quota_messages else "unlimited",
            "COUNTUSED": str(messages),
            "COUNTPERCENT": f"{messages * 100 // account.quota_messages}%" if account.quota_messages else "-",
        }
