"""USER and PASS (RFC 1939 section 7), and what follows every login."""

from __future__ import annotations

from mailstead.directory.model import Account
from mailstead.identity.authenticator import AuthReason
from mailstead.identity.sasl import mechanisms
from mailstead.mailbox.errors import MailboxError
from mailstead.observe.metrics import logins
from mailstead.pop3.maildrop import Maildrop
from mailstead.pop3.session import Session

MAX_NAME = 512


def login_allowed(session: Session) -> bool:
    """Whether USER and PASS may be used (feature IMP-02)."""
    options = session.options
    return bool(options.secureConnAllowLogin if session.link.tls is not None else options.plainConnAllowLogin)


def offered(session: Session) -> list[str]:
    """SASL mechanisms on offer."""
    tls = session.link.tls
    recoverable = bool(session.services.settings.service("server").recoverableSecrets)
    return mechanisms(session.options, tls is not None, tls.channel_binding if tls else None, recoverable=recoverable)


def user(session: Session, argument: bytes) -> bytes:
    if not login_allowed(session):
        return b"-ERR [AUTH] use TLS first\r\n"
    if not argument or len(argument) > MAX_NAME:
        return b"-ERR a name is needed\r\n"
    session.user = argument
    return b"+OK\r\n"


async def password(session: Session, argument: bytes) -> bytes:
    """Spaces are part of a password (RFC 1939 section 7)."""
    if not session.user:
        return b"-ERR USER first\r\n"
    name, session.user = session.user, b""
    result = await session.services.authenticator.verify_password(
        name.decode("utf-8", "replace"),
        argument.decode("utf-8", "surrogateescape"),
        service="pop3",
        peer=session.link.peer[0],
        default_domain=session.link.endpoint.listener_domain,
    )
    if not result.ok or result.account is None:
        return refused(session, result.reason, name.decode("utf-8", "replace"))
    return await enter(session, result.account)


def refused(session: Session, reason: AuthReason, login: str = "") -> bytes:
    """Count a failed login; too many end the session."""
    session.link.log.warning("login failed", login=login[:256], reason=reason.value, peer=session.link.peer[0])
    logins.labels("pop3", "failed").inc()
    session.auth_errors += 1
    limit = session.link.endpoint.max_auth_errors
    if limit and session.auth_errors >= limit:
        session.emit(b"-ERR [AUTH] too many failed logins\r\n")
        session.bye()
        return b""
    if reason is AuthReason.TEMPORARY:
        return b"-ERR [SYS/TEMP] try again later\r\n"
    if reason is AuthReason.EXPIRED:
        return b"-ERR [AUTH] the password must be changed first\r\n"
    return b"-ERR [AUTH] login failed\r\n"


async def enter(session: Session, account: Account) -> bytes:
    """Lock and open the maildrop."""
    exclusive = session.services.settings.service("server").pop3ExclusiveLock
    limit = 1 if exclusive else account.pop3_connections
    if not session.services.locks.acquire(account.id, limit):
        return b"-ERR [IN-USE] the maildrop is locked by another session\r\n"
    session.locked = account.id
    try:
        session.maildrop = await Maildrop.open(session.services.mailbox, account.id)
    except MailboxError:
        session.release()
        return b"-ERR [SYS/TEMP] the maildrop cannot be opened now\r\n"
    except BaseException:
        session.release()
        raise
    delay = session.options.loginDelay
    if delay and session.services.locks.too_soon(account.id, delay):  # RFC 2449 section 8.1.1; a login that fails is none
        session.release()
        return b"-ERR [LOGIN-DELAY] %d seconds must pass between two logins\r\n" % delay
    session.account = account
    session.entered()
    if session.stopping:
        session.release()
        return b"-ERR [SYS/TEMP] try again later\r\n"
    session.link.logged_in()
    logins.labels("pop3", "ok").inc()
    session.link.log.info("login", account=account.address, peer=session.link.peer[0])
    return b"+OK %d messages (%d octets)\r\n" % session.maildrop.totals()
