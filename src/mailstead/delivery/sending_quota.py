"""How much an account may send (QTA-04), and that it may not while its mailbox is too full (QTA-02).

Invariants
- Counters are durable, and exact over all processes: a message is counted in the transaction that finds room for it.
- What is refused is not counted; what was counted and then could not be taken is given back.
- Whoever is to be told of an account that oversteps is told once in an interval.
- An account without such limits costs one look at its rules.

An interval begins with the first message after the last one ended. Recipients that match `sentRecipientsExceptions` do not count,
and a message that goes to none but such does not either.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.delivery.account_mail import AccountMail, account_fields
from mailstead.delivery.notice_texts import SENDING_LIMIT
from mailstead.delivery.quota_alert import percent_used
from mailstead.directory.account_rules import SendingLimits
from mailstead.directory.model import Account
from mailstead.directory.service import Directory
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.service import Mailbox
from mailstead.observe.log import fault, get_logger
from mailstead.settings.database import SystemDatabaseError, Transaction

log = get_logger("PROCESSING")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an account may not send this. `temporary`: it may later; `full`: its mailbox has to be emptied first."""

    text: str
    temporary: bool = True
    full: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """What an account has sent since `started` (unix time, 0: nothing in a present interval), with its limits (0: none).
    Sizes in octets, the interval in seconds."""

    started: int
    messages: int
    recipients: int
    size: int
    limits: SendingLimits | None

    @property
    def ends(self) -> int:
        """When the interval ends (unix time), 0 where none runs."""
        return self.started + self.limits.interval if self.started and self.limits is not None else 0


class SendingQuota:
    """One per process. Without `mailbox` and `mail` it only tells and resets."""

    def __init__(
        self, directory: Directory, mailbox: Mailbox | None = None, mail: AccountMail | None = None,
        send: Callable[[str, bytes], Awaitable[Any]] | None = None,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._mailbox = mailbox
        self._mail = mail
        self._send = send

    def limits(self, account: Account) -> bool:
        """Whether anything has to be asked before the account sends."""
        return account.rules is not None and (account.rules.sending is not None or account.rules.send_threshold > 0)

    def blocked(self, account: Account) -> Refusal | None:
        """Why the account may send nothing at all now; a look at the counters, which counts nothing."""
        rules = account.rules
        if rules is None:
            return None
        if rules.send_threshold and self._mailbox is not None:
            try:
                used = percent_used(account, self._mailbox.usage(account.id))
            except MailboxError:
                return Refusal("Try again later")
            if used >= rules.send_threshold:
                return Refusal(f"Your mailbox is {used}% full: make room before you send", temporary=False, full=True)
        limits = rules.sending
        if limits is not None and limits.messages:
            status = self.status(account)
            if status.messages >= limits.messages:
                return _refusal(f"{limits.messages} messages", status.ends)
        return None

    async def check_and_count(self, account: Account, recipients: Sequence[str], size: int) -> Refusal | None:
        """Count a message of `size` octets, or say why it may not be sent. Whoever sends for an account asks here first."""
        refusal = self.blocked(account)
        limits = account.rules.sending if account.rules is not None else None
        if limits is None or (refusal is not None and refusal.full):
            return refusal
        counted = sum(not limits.exceptions.match(address) for address in recipients)
        if not counted:
            return None
        if limits.recipients and counted > limits.recipients:
            return Refusal(f"A message may have at most {limits.recipients} recipients", temporary=False)
        if limits.size and size > limits.size:
            return Refusal(f"A message may have at most {limits.size // 1024} KB", temporary=False)
        now = int(time.time())

        def operation(transaction: Transaction) -> tuple[Refusal | None, bool]:
            return _count(transaction, account.id, limits, counted, size, now)

        try:
            refusal, tell = await self._directory.database.write(operation)
        except SystemDatabaseError as error:
            log.error("sending not counted", account=account.address, reason=str(error))
            return Refusal("Try again later")
        if refusal is not None:
            log.warning("sending limit reached", account=account.address, reason=refusal.text)
            if tell:
                await self._tell(account, limits, refusal)
        return refusal

    async def give_back(self, account: Account, recipients: Sequence[str], size: int) -> None:
        """Take back what `check_and_count` counted: the message was not taken after all."""
        limits = account.rules.sending if account.rules is not None else None
        counted = sum(not limits.exceptions.match(address) for address in recipients) if limits is not None else 0
        if not counted:
            return

        def operation(transaction: Transaction) -> None:
            transaction.execute(
                "UPDATE sent_quota SET messages = max(0, messages - 1), recipients = max(0, recipients - ?), "
                "size = max(0, size - ?) WHERE account_id = ?",
                (counted, size, account.id),
            )

        try:
            await self._directory.database.write(operation)
        except SystemDatabaseError as error:
            log.error("sending not given back", account=account.address, reason=str(error))

    async def overstepped(self, account: Account, refusal: Refusal) -> None:
        """The account was refused by `blocked`: tell whoever is to be told, once in an interval."""
        limits = account.rules.sending if account.rules is not None else None
        if limits is None or refusal.full:
            return
        started = self.status(account).started

        def operation(transaction: Transaction) -> bool:
            transaction.execute(
                "UPDATE sent_quota SET told = ? WHERE account_id = ? AND started = ? AND told = 0",
                (int(time.time()), account.id, started),
            )
            return bool(transaction.changed())

        try:
            if await self._directory.database.write(operation):
                await self._tell(account, limits, refusal)
        except SystemDatabaseError as error:
            log.error("notice of a sending limit not sent", account=account.address, reason=str(error))

    def status(self, account: Account) -> Status:
        """What the account has sent in the present interval. Raises SystemDatabaseError."""
        limits = account.rules.sending if account.rules is not None else None
        row = self._directory.database.query_row(
            "SELECT started, messages, recipients, size FROM sent_quota WHERE account_id = ?", (account.id,)
        )
        if row is None or limits is None or row[0] + limits.interval <= time.time():
            return Status(0, 0, 0, 0, limits)
        started, messages, recipients, size = row
        return Status(started, messages, recipients, size, limits)

    async def reset(self, account: Account) -> None:
        """Begin a new interval. Raises SystemDatabaseError."""
        await self._directory.database.write(
            lambda transaction: transaction.execute("DELETE FROM sent_quota WHERE account_id = ?", (account.id,))
        )

    async def _tell(self, account: Account, limits: SendingLimits, refusal: Refusal) -> None:
        if not limits.notice_to or self._mail is None or self._send is None:
            return
        try:
            status = self.status(account)
            fields = {
                **account_fields(account),
                "LIMIT": refusal.text.partition(": ")[2].partition(" in ")[0] or refusal.text,
                "MESSAGES": str(status.messages),
                "RECIPIENTS": str(status.recipients),
                "SIZE": str((status.size + 1023) // 1024),
                "INTERVAL": str(limits.interval),
            }
            octets = await self._mail.compose(limits.notice_to, account.domain, limits.notice_file, SENDING_LIMIT, fields)
            await self._send(limits.notice_to, octets)
        except Exception as error:  # the refusal stands whoever hears of it
            fault(log, "notice of a sending limit not sent", error, account=account.address)


def _refusal(limit: str, ends: int) -> Refusal:
    return Refusal(f"Sending limit reached: {limit} in the interval, try again in {max(1, ends - int(time.time()))} seconds")


def _count(
    transaction: Transaction, account_id: int, limits: SendingLimits, recipients: int, size: int, now: int
) -> tuple[Refusal | None, bool]:
    """Inside a transaction: count, or the refusal and whether somebody is to be told of it."""
    row = transaction.row(
        "SELECT started, messages, recipients, size, told FROM sent_quota WHERE account_id = ?", (account_id,)
    )
    if row is None or row[0] + limits.interval <= now or row[0] > now:
        row = (now, 0, 0, 0, 0)
    started, messages, there, octets, told = row
    ends = started + limits.interval
    refusal = None
    if limits.messages and messages + 1 > limits.messages:
        refusal = _refusal(f"{limits.messages} messages", ends)
    elif limits.recipients and there + recipients > limits.recipients:
        refusal = _refusal(f"{limits.recipients} recipients", ends)
    elif limits.size and octets + size > limits.size:
        refusal = _refusal(f"{limits.size // 1024} KB", ends)
    if refusal is None:
        values = (account_id, started, messages + 1, there + recipients, octets + size, told)
    elif told:
        return refusal, False
    else:
        values = (account_id, started, messages, there, octets, now)
    transaction.execute(
        "INSERT INTO sent_quota (account_id, started, messages, recipients, size, told) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (account_id) DO UPDATE SET started = excluded.started, messages = excluded.messages, "
        "recipients = excluded.recipients, size = excluded.size, told = excluded.told",
        values,
    )
    return refusal, refusal is not None
