"""Mail that a password is about to expire (PWD-01).

Invariants: a user is told once for each password, or once a day where that is set, over restarts; nobody is told whose password
has expired already, or does not.
"""

from __future__ import annotations

import time

from mailstead.delivery.account_mail import AccountMail, account_fields
from mailstead.delivery.notice_texts import PASSWORD_WARNING
from mailstead.directory.model import Account
from mailstead.mailbox.errors import MailboxError
from mailstead.message.dates import rfc5322_date
from mailstead.observe.log import get_logger
from mailstead.settings.database import SystemDatabaseError

log = get_logger("PROCESSING")

DAY = 86_400
KIND = "password"


async def warn(mail: AccountMail, account: Account) -> bool:
    """Tell the account that its password expires soon, if that is so and it is due; whether it was told."""
    expiry = account.rules.expiry if account.rules is not None else None
    if expiry is None or not expiry.warning or not account.enabled:
        return False
    changed = account.password_changed // 1_000_000
    expires, now = expiry.expires(changed), int(time.time())
    if not expires or not expires - expiry.warning <= now < expires:
        return False
    # Once: since the warning of this password could first be sent. Some minutes are left out, so that days do not creep.
    before = now - DAY + 600 if expiry.daily else max(changed, expires - expiry.warning)
    try:
        if mail.claimed(account.id, KIND) >= before or not await mail.claim(account.id, KIND, before):
            return False
        fields = {
            **account_fields(account),
            "EXPIRES": rfc5322_date(expires),
            "DAYS": str(max(1, (expires - now + DAY - 1) // DAY)),
        }
        octets = await mail.compose(account.address, account.domain, expiry.file, PASSWORD_WARNING, fields)
        await mail.put(account, octets)
    except (SystemDatabaseError, MailboxError) as error:
        log.error("account not warned of its password", account=account.address, reason=str(error))
        return False
    log.info("account warned of its password", account=account.address)
    return True
