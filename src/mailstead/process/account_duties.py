"""What the background process does for every account: purging by age (QTA-03), warnings of passwords (PWD-01), welcomes (ACC-05).

Invariants: as in duties.py; a round gives the event loop its turn after each account, rests between some of them, and takes a
bounded number of messages from each, so that no mailbox delays the others; an account that cannot be served now is told in the
log and comes again in the next round.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mailstead.delivery.account_mail import AccountMail
from mailstead.delivery.password_warnings import warn
from mailstead.directory.model import Account
from mailstead.directory.service import Directory
from mailstead.mailbox.autopurge import autopurge
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.service import Mailbox
from mailstead.observe.log import get_logger
from mailstead.settings.database import SystemDatabaseError
from mailstead.store.service import Store

log = get_logger("SERVER")

#: From the end of a round to the next.
ROUND_SECONDS = 3600.0
#: How long after the start the first round begins: others have more urgent work then.
FIRST_SECONDS = 60.0
ACCOUNTS_BEFORE_REST = 20
REST_SECONDS = 0.05


async def rounds(directory: Directory, store: Store, mailbox: Mailbox, mail: AccountMail) -> None:
    """Look after all accounts, again and again, until cancelled."""
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        try:
            purged = await one_round(directory, store, mailbox, mail)
            if purged:
                log.info("old messages purged", messages=purged)
        except SystemDatabaseError as error:
            log.error("accounts not looked after", reason=str(error))
        await asyncio.sleep(ROUND_SECONDS)


async def one_round(directory: Directory, store: Store, mailbox: Mailbox, mail: AccountMail) -> int:
    """Look after every account once; how many messages were purged."""
    purged = 0
    for number, account in enumerate(directory.accounts(), 1):
        await asyncio.sleep(REST_SECONDS if number % ACCOUNTS_BEFORE_REST == 0 else 0)
        if account.rules is not None and account.rules.expiry is not None:
            await warn(mail, account)
        try:
            purged += await _purge(directory, store, mailbox, account)
        except MailboxError as error:
            log.error("old messages not purged", account=account.address, reason=str(error))
    return purged


async def _purge(directory: Directory, store: Store, mailbox: Mailbox, account: Account) -> int:
    if account.shard not in store.shards or not store.mail_index(account.shard).has_account(account.id):
        return 0
    settings: Any = directory.account_settings(account.id)
    days, names = settings["autopurgeAgeLimit"].value, settings["autopurgeFolders"].value
    return await autopurge(mailbox, account.id, names, days) if days and names else 0
