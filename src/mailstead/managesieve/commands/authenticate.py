"""AUTHENTICATE and UNAUTHENTICATE (RFC 5804 sections 2.1 and 2.14)."""

from __future__ import annotations

from mailstead.identity.authenticator import AuthReason
from mailstead.identity.sasl import SaslCancelled, SaslExchange, SaslFormatError, SaslStepKind
from mailstead.managesieve.commands.capability import offered
from mailstead.managesieve.grammar import BadCommand
from mailstead.managesieve.session import Refusal, Session, reply
from mailstead.observe.metrics import logins


async def authenticate(session: Session, arguments: list[bytes | int]) -> bytes:
    """Log in by SASL, with or without an initial response."""
    if not 1 <= len(arguments) <= 2 or not all(isinstance(each, bytes) for each in arguments):
        raise BadCommand("AUTHENTICATE takes a mechanism and perhaps a response")
    words = [each for each in arguments if isinstance(each, bytes)]
    name, known = words[0].decode("ascii", "replace").upper(), offered(session)
    if name not in known:
        if session.link.tls is None:
            raise Refusal("This mechanism is not available here", "ENCRYPT-NEEDED")
        raise Refusal("This mechanism is not available")
    tls = session.link.tls
    exchange = SaslExchange(
        name,
        session.services.authenticator,
        "managesieve",
        session.link.peer[0],
        tls.channel_binding if tls else None,
        offered=known,
        default_domain=session.link.endpoint.listener_domain,
    )
    try:
        step = await exchange.converse(words[1] if len(words) > 1 else None, session.ask)
    except SaslCancelled:
        raise Refusal("Authentication cancelled") from None
    except (SaslFormatError, BadCommand):
        return _failed(session, AuthReason.MALFORMED, exchange.login)
    if step.kind is not SaslStepKind.SUCCESS or step.account is None:
        return _failed(session, step.reason, exchange.login)
    session.enter(step.account)
    logins.labels("managesieve", "ok").inc()
    session.link.log.info("login", account=step.account.address, peer=session.link.peer[0])
    return reply(b"OK", "Logged in")


def _failed(session: Session, reason: AuthReason, login: str) -> bytes:
    session.link.log.warning("login failed", login=login[:256], reason=reason.value, peer=session.link.peer[0])
    logins.labels("managesieve", "failed").inc()
    session.auth_errors += 1
    limit = session.link.endpoint.max_auth_errors
    if limit and session.auth_errors >= limit:
        session.bye("Too many failed logins")
        return b""
    if reason is AuthReason.TEMPORARY:
        raise Refusal("Try again later", "TRYLATER")
    if reason is AuthReason.EXPIRED:
        raise Refusal("The password must be changed first")
    raise Refusal("Authentication failed")


def unauthenticate(session: Session, arguments: list[bytes | int]) -> bytes:
    """Back to the state before the login."""
    session.leave()
    return reply(b"OK", "Logged out")
