"""AUTHENTICATE (RFC 9051 section 6.2.2, SASL-IR of RFC 4959), and what may be used to log in on this connection."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal, one_line
from mailstead.imap.session import Session
from mailstead.observe.metrics import logins

#: Mechanisms in the order in which they are offered.
_ORDER = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN")
MAX_ANSWER = 16384
MAX_STEPS = 20


def login_allowed(session: Session) -> bool:
    """Whether LOGIN may be used (feature IMP-02)."""
    options = session.options
    return bool(options.secureConnAllowLogin if session.link.tls is not None else options.plainConnAllowLogin)


def channel_binding(session: Session) -> Any:
    """The channel binding data of the connection's TLS, None without."""
    return getattr(session.link.tls, "server_end_point", None)


def mechanisms(session: Session) -> list[str]:
    """SASL mechanisms offered on this connection (feature IMP-02)."""
    options = session.options
    secure = session.link.tls is not None
    allowed = {str(name).upper() for name in (options.secureConnAuthTypes if secure else options.plainConnAuthTypes)}
    if "ALL" in allowed:
        allowed = set(_ORDER)
    if not secure:
        allowed = {name for name in allowed if not name.endswith("-PLUS")}
    return [name for name in _ORDER if name in allowed]


def logged_in(session: Session, account: Any) -> bytes:
    """Enter the authenticated state; the reply."""
    from mailstead.imap.commands.capability import capabilities

    session.account = account if isinstance(account, int) else account.id
    session.auth_errors = 0
    session.link.logged_in()
    logins.labels("imap", "ok").inc()
    return b"OK [CAPABILITY " + capabilities(session) + b"] Logged in"


def login_failed(session: Session, reason: str) -> None:
    """Count a failed login; too many end the session. Raises Refusal."""
    logins.labels("imap", "failed").inc()
    session.auth_errors += 1
    limit = session.link.endpoint.max_auth_errors
    if limit and session.auth_errors >= limit:
        session.emit(b"%b NO [AUTHENTICATIONFAILED] Authentication failed\r\n" % session.tag)
        session.bye("Too many failed logins")
        return
    raise Refusal("Authentication failed", "UNAVAILABLE" if reason == "unavailable" else "AUTHENTICATIONFAILED")


def _decode(text: bytes) -> bytes:
    if text == b"*":
        raise BadSyntax("Authentication cancelled")
    if len(text) > MAX_ANSWER:
        raise BadSyntax("Answer too long")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadSyntax("Invalid base64") from None


async def authenticate(session: Session, arguments: Arguments) -> bytes | None:
    """Run a SASL exchange."""
    from mailstead.identity.sasl import SaslExchange

    arguments.space()
    name = arguments.keyword().decode("ascii")
    initial: bytes | None = None
    if not arguments.at_end():
        arguments.space()
        text = arguments.rest().strip(b" ")
        initial = b"" if text == b"=" else _decode(text)
    if name not in mechanisms(session):
        raise Refusal("Mechanism not available", "CANNOT" if name not in _ORDER else "PRIVACYREQUIRED")
    exchange = SaslExchange(
        name, session.services.authenticator, "imap", session.link.peer[0], channel_binding(session)
    )
    step = await exchange.step(initial)
    for _ in range(MAX_STEPS):
        if step.kind.name != "CHALLENGE":
            break
        session.emit(b"+ %b\r\n" % base64.b64encode(step.data or b""))
        step = await exchange.step(_decode(await session.next_line()))
    if step.kind.name == "SUCCESS" and step.data:
        # RFC 9051 has no place for data with the success: it is one more challenge, answered with nothing.
        session.emit(b"+ %b\r\n" % base64.b64encode(step.data))
        if _decode(await session.next_line()):
            login_failed(session, "bad answer")
            return None
    if step.kind.name == "SUCCESS":
        return logged_in(session, step.account)
    login_failed(session, one_line(str(getattr(step, "reason", "") or "")).decode())
    return None
