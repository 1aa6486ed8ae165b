"""LOGIN (RFC 9051 section 6.2.3)."""

from __future__ import annotations

from mailstead.identity.authenticator import AuthReason
from mailstead.imap.commands.authenticate import logged_in, login_allowed, login_failed
from mailstead.imap.grammar import Arguments
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session

MAX_NAME = 512


async def login(session: Session, arguments: Arguments) -> bytes | None:
    """Log in with name and password."""
    arguments.space()
    name = arguments.astring()
    arguments.space()
    password = arguments.astring()
    arguments.end()
    if not login_allowed(session):
        raise Refusal("LOGIN is only allowed over TLS", "PRIVACYREQUIRED")
    if len(name) > MAX_NAME or len(password) > 4 * MAX_NAME:
        login_failed(session, AuthReason.MALFORMED)
        return None
    result = await session.services.authenticator.verify_password(
        name.decode("utf-8", "replace"), password.decode("utf-8", "surrogateescape"), service="imap",
        peer=session.link.peer[0], default_domain=session.link.endpoint.listener_domain,
    )  # fmt: skip
    if not result.ok:
        login_failed(session, result.reason, name.decode("utf-8", "replace"))
        return None
    return logged_in(session, result.account, name.decode("utf-8", "replace"))
