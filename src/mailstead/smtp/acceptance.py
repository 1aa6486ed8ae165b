"""The end of a message's data: the last checks, and its way to the delivery.

Invariants: one reply per message; what is refused here has touched no mailbox, and its spool goes; the log has one
line per message.
"""

from __future__ import annotations

import time
from functools import partial

from mailstead.delivery.model import AcceptedMessage, Outcome, Result
from mailstead.delivery.sending_quota import Refusal
from mailstead.directory.model import Account
from mailstead.message.headers import count_received, header_end
from mailstead.observe.metrics import smtp_accept_seconds, smtp_message_bytes, smtp_messages
from mailstead.observe.receipt import Authenticated, Connected, Encrypted
from mailstead.smtp import trace
from mailstead.smtp.data import Incoming
from mailstead.smtp.session import Session, Transaction

LOGGED_RECIPIENTS = 10

_ACCEPTED = smtp_messages.labels("accepted")
_REFUSED = smtp_messages.labels("refused")
_DEFERRED = smtp_messages.labels("deferred")

_REPLIES: dict[Result, bytes] = {
    Result.OVER_QUOTA: b"552 5.2.2 The mailbox is over its quota\r\n",
    Result.NO_MEMBERS: b"550 5.2.4 The group has no members\r\n",
    Result.TOO_MANY: b"550 5.3.4 The group has too many members\r\n",
    Result.REJECTED: b"550 5.7.1 The recipient's rules reject the message\r\n",
    Result.RESTRICTED: b"550 5.7.1 The recipient takes no mail from this sender\r\n",
    Result.FULL: b"452 4.3.1 Insufficient system storage\r\n",
    Result.TEMPORARY: b"451 4.3.0 Local error, try again later\r\n",
}


def finish(session: Session, transaction: Transaction, incoming: Incoming) -> None:
    """All octets are there: refuse, or deliver and answer later."""
    incoming.finish()
    octets = b"" if incoming.failed else incoming.head or incoming.octets()
    header = header_end(octets)
    refusal = _refusal(session, incoming, octets[:header])
    session.transactions += 1
    if refusal is not None:
        _log(session, transaction, incoming.size, refusal)
        session.end_transaction()
        session.reply(refusal)
        return
    bare = not header and not octets.startswith((b"\r\n", b"\n"))
    message = _message(session, transaction, incoming, bare)
    if session.link.endpoint.submission or session.login is not None:
        added = trace.missing_fields(octets[:header], session.options.host, message.arrival)
        message.trace = message.trace[:-2] + added + b"\r\n" if bare else message.trace + added
    begun = time.perf_counter()
    delivery = session.server.services.delivery
    if session.login is not None and delivery.sending.limits(session.login):
        session.run(_send(session, session.login, transaction, message, begun))
        return
    session.wait()
    delivery.deliver(message, partial(_delivered, session, transaction, message, begun))


async def _send(session: Session, login: Account, transaction: Transaction, message: AcceptedMessage, begun: float) -> None:
    """A message of an account whose sending is limited (QTA-04): counted before it is taken."""
    delivery, recipients = session.server.services.delivery, [one.address for one in message.recipients]
    refusal = await delivery.sending.check_and_count(login, recipients, message.size)
    if refusal is None:
        outcome = await delivery.accept(message)
        if outcome.result is not Result.STORED:
            await delivery.sending.give_back(login, recipients, message.size)
        _answer(session, transaction, message, begun, outcome)
        return
    if message.spool is not None:
        session.server.abandon(message.spool)
    reply = refused(refusal)
    _log(session, transaction, message.size, reply)
    if session.transaction is transaction:
        session.transaction = None
    session.reply(reply)


def refused(refusal: Refusal) -> bytes:
    """The reply to an account that may not send now, or not this."""
    code = "552 5.2.2" if refusal.full else "450 4.7.1" if refusal.temporary else "550 5.7.1"
    return f"{code} {refusal.text}\r\n".encode("ascii", "replace")


def _refusal(session: Session, incoming: Incoming, header: bytes) -> bytes | None:
    if incoming.too_large:
        return b"552 5.3.4 Message too big\r\n"
    if incoming.bare:
        return b"554 5.6.0 A CR or LF stands alone, which RFC 5321 section 2.3.8 forbids\r\n"
    if incoming.broken or session.server.services.delivery.full:
        return _REPLIES[Result.FULL]
    limit = session.options.max_received
    if limit and count_received(header) > limit:
        return b"554 5.4.6 Too many Received fields: the message is in a loop\r\n"
    return None


def _message(session: Session, transaction: Transaction, incoming: Incoming, bare: bool) -> AcceptedMessage:
    """``bare``: the octets have no header, so all of them are body."""
    link, parameters = session.link, transaction.parameters
    now = trace.now()
    id = f"{link.session_id}.{session.transactions}"
    recipients = transaction.recipients
    opening = session.opening(parameters.utf8)
    header = trace.received(opening, id, recipients[0].address if len(recipients) == 1 else "", now)
    spool = incoming.take_spool()
    body = b"" if spool is not None else incoming.octets()
    if bare:
        header += b"\r\n"
    tls, login = link.tls, session.login
    endpoint = link.endpoint
    return AcceptedMessage(
        id,
        transaction.sender,
        recipients,
        header,
        body,
        incoming.size,
        now,
        spool,
        parameters.body,
        parameters.utf8,
        parameters.envid,
        parameters.ret,
        Connected(link.session_id, endpoint.service, link.peer[0], link.peer[1], link.local[0], session.helo),
        None if tls is None else Encrypted(tls.version, tls.cipher, tls.bits, tls.sni),
        None if login is None else Authenticated(login.address, session.mechanism),
    )


def _delivered(session: Session, transaction: Transaction, message: AcceptedMessage, begun: float, outcome: Outcome) -> None:
    _answer(session, transaction, message, begun, outcome)
    session.proceed()


def _answer(session: Session, transaction: Transaction, message: AcceptedMessage, begun: float, outcome: Outcome) -> None:
    result = outcome.result
    seconds = time.perf_counter() - begun
    if result is Result.STORED:
        _ACCEPTED.inc()
        smtp_message_bytes.observe(message.size)
        smtp_accept_seconds.observe(seconds)
        session.reply(b"250 2.0.0 Ok: queued as %b\r\n" % message.id.encode())
    else:
        reply = _REPLIES[result]
        (_REFUSED if reply[:1] == b"5" else _DEFERRED).inc()
        session.reply(reply)
    session.link.log.info(
        "message",
        message=message.id,
        sender=message.sender,
        recipients=len(message.recipients),
        to=_to(message),
        size=message.size,
        result=result.value,
        delivered=outcome.delivered,
        queued=outcome.queued,
        **({"entry": outcome.entry} if outcome.entry else {}),
        ms=round(seconds * 1000, 1),
    )
    if session.transaction is transaction:
        session.transaction = None


def _to(message: AcceptedMessage) -> str:
    """The first recipients, as a log line has them."""
    shown = " ".join(recipient.address for recipient in message.recipients[:LOGGED_RECIPIENTS])
    return shown if len(message.recipients) <= LOGGED_RECIPIENTS else f"{shown} ..."


def _log(session: Session, transaction: Transaction, size: int, refusal: bytes) -> None:
    (_REFUSED if refusal[:1] == b"5" else _DEFERRED).inc()
    session.link.log.info(
        "message refused",
        peer=session.link.peer[0],
        sender=transaction.sender,
        recipients=len(transaction.recipients),
        size=size,
        result=refusal.decode().rstrip(),
    )
