"""AUTHENTICATE (RFC 9051 section 6.2.2, SASL-IR of RFC 4959), and what may be used to log in on this connection."""

from __future__ import annotations

import base64
from typing import Any

from mailstead.identity import sasl
from mailstead.identity.authenticator import AuthReason
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.localized import names_of
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session
from mailstead.observe.metrics import logins

MAX_STEPS = 20
_REASONS = {
    AuthReason.TEMPORARY: "UNAVAILABLE",
    AuthReason.DISABLED: "CONTACTADMIN",
    AuthReason.SERVICE_OFF: "CONTACTADMIN",
    AuthReason.EXPIRED: "EXPIRED",
}


def login_allowed(session: Session) -> bool:
    """Whether LOGIN may be used (feature IMP-02)."""
    options = session.options
    return bool(options.secureConnAllowLogin if session.link.tls is not None else options.plainConnAllowLogin)


def channel_binding(session: Session) -> bytes | None:
    """The channel binding data of the connection's TLS, None without."""
    tls = session.link.tls
    return (tls.channel_binding or None) if tls is not None else None


def mechanisms(session: Session) -> list[str]:
    """SASL mechanisms offered on this connection (feature IMP-02)."""
    recoverable = bool(session.services.settings.service("server").recoverableSecrets)
    return sasl.mechanisms(session.options, session.link.tls is not None, channel_binding(session), recoverable=recoverable)


def logged_in(session: Session, account: Any, login: str) -> bytes:
    """Enter the authenticated state; the reply. `login` is the name the client gave."""
    from mailstead.imap.commands.capability import capabilities

    session.services.sessions.enter(session, account)
    session.account = account if isinstance(account, int) else account.id
    session.account_name = str(getattr(account, "address", "") or login)
    session.names = names_of(session.services, account)
    session.auth_errors = 0
    session.link.logged_in()
    logins.labels("imap", "ok").inc()
    session.link.log.info("login", account=getattr(account, "address", account), peer=session.link.peer[0])
    return b"OK [CAPABILITY " + capabilities(session) + b"] Logged in"


def login_failed(session: Session, reason: AuthReason, login: str = "") -> None:
    """Count a failed login; too many end the session. Raises Refusal."""
    logins.labels("imap", "failed").inc()
    session.link.log.warning("login failed", login=login[:256], reason=reason.value, peer=session.link.peer[0])
    session.auth_errors += 1
    limit = session.link.endpoint.max_auth_errors
    text = "The password must be changed first" if reason is AuthReason.EXPIRED else "Authentication failed"
    refusal = Refusal(text, _REASONS.get(reason, "AUTHENTICATIONFAILED"))
    if limit and session.auth_errors >= limit:
        session.emit(b"%b %b\r\n" % (session.tag, refusal.reply()))
        session.bye("Too many failed logins")
        return
    raise refusal


def _decode(text: bytes) -> bytes:
    if text == b"*":
        raise BadSyntax("Authentication cancelled")
    try:
        return sasl.decode_response(text)
    except sasl.SaslFormatError as error:
        raise BadSyntax(str(error)) from None


async def authenticate(session: Session, arguments: Arguments) -> bytes | None:
    """Run a SASL exchange."""
    arguments.space()
    name = arguments.keyword().decode("ascii")
    initial: bytes | None = None
    if not arguments.at_end():
        arguments.space()
        initial = _decode(arguments.rest().strip(b" "))
    offered = mechanisms(session)
    if name not in offered:
        raise Refusal("Mechanism not available", "CANNOT")
    endpoint = session.link.endpoint
    exchange = sasl.SaslExchange(
        name, session.services.authenticator, "imap", session.link.peer[0], channel_binding(session), offered=offered,
        default_domain=endpoint.listener_domain, host=endpoint.listener_domain or "localhost",
    )  # fmt: skip
    step = await exchange.step(initial)
    for _ in range(MAX_STEPS):
        if step.kind is not sasl.SaslStepKind.CHALLENGE:
            break
        session.emit(b"+ %b\r\n" % base64.b64encode(step.data))
        step = await exchange.step(_decode(await session.next_line()))
    if step.kind is sasl.SaslStepKind.SUCCESS and step.account is not None:
        return logged_in(session, step.account, exchange.login)
    login_failed(session, step.reason, exchange.login)
    return None
