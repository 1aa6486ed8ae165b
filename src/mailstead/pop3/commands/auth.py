"""AUTH (RFC 5034) with initial response."""

from __future__ import annotations

from mailstead.identity.authenticator import AuthReason
from mailstead.identity.sasl import SaslCancelled, SaslExchange, SaslFormatError, SaslStepKind
from mailstead.pop3.commands.login import enter, offered, refused
from mailstead.pop3.grammar import MAX_ANSWER, TooLong
from mailstead.pop3.session import Session


async def auth(session: Session, argument: bytes) -> bytes:
    mechanisms = offered(session)
    words = argument.split()
    if not words:
        return "\r\n".join(["+OK mechanisms follow", *mechanisms, "."]).encode() + b"\r\n"
    name = words[0].decode("ascii", "replace").upper()
    if name not in mechanisms:
        return b"-ERR [AUTH] mechanism not available\r\n"
    tls = session.link.tls
    exchange = SaslExchange(
        name,
        session.services.authenticator,
        "pop3",
        session.link.peer[0],
        tls.channel_binding if tls else None,
        offered=mechanisms,
        default_domain=session.link.endpoint.listener_domain,
    )
    try:
        step = await exchange.converse(words[1] if len(words) > 1 else None, lambda challenge: session.ask(challenge, MAX_ANSWER))
    except SaslCancelled:
        return b"-ERR authentication cancelled\r\n"
    except (SaslFormatError, TooLong):
        return refused(session, AuthReason.MALFORMED)
    if step.kind is SaslStepKind.SUCCESS and step.account is not None:
        return await enter(session, step.account)
    return refused(session, step.reason, exchange.login)
