"""RCPT (RFC 5321 section 4.1.1.3), with NOTIFY and ORCPT of RFC 3461."""

from __future__ import annotations

from mailstead.delivery.model import EnvelopeRecipient, Verdict
from mailstead.directory.model import Resolution
from mailstead.observe.metrics import smtp_recipients
from mailstead.smtp.grammar import BadCommand, parse_path, parse_rcpt
from mailstead.smtp.session import Session, Transaction
from mailstead.smtp.trace import address_literal

_ACCEPTED = smtp_recipients.labels("accepted")
_REFUSED = smtp_recipients.labels("refused")

_REPLIES: dict[Verdict, bytes] = {
    Verdict.UNKNOWN: b"550 5.1.1 No such user here\r\n",
    Verdict.DISABLED: b"550 5.2.1 The mailbox is disabled\r\n",
    Verdict.NOT_PERMITTED: b"550 5.7.2 You may not send to this address\r\n",
    Verdict.MAY_NOT_SEND: b"550 5.7.1 Your account may not send to this address\r\n",
    Verdict.MAY_NOT_RECEIVE: b"550 5.7.1 The recipient takes no mail from this sender\r\n",
    Verdict.NO_RELAY: b"550 5.7.1 Relaying denied\r\n",
    Verdict.NO_LOCAL: b"550 5.7.1 Delivery to local recipients denied\r\n",
    Verdict.OVER_QUOTA: b"452 4.2.2 The mailbox is full\r\n",
    Verdict.TOO_LARGE: b"552 5.2.3 The message is larger than the mailbox\r\n",
    Verdict.NOT_POSSIBLE: b"550 5.3.3 This folder takes no mail\r\n",
    Verdict.TEMPORARY: b"451 4.3.0 Try again later\r\n",
}


def rcpt(session: Session, arguments: bytes, more: bool) -> None:
    """Add a recipient."""
    transaction = session.transaction
    if transaction is None:
        raise BadCommand(503, "5.5.1", "Send MAIL first")
    if transaction.chunking:
        raise BadCommand(503, "5.5.1", "The message has begun")
    options = session.options
    if len(transaction.recipients) >= options.max_recipients:
        _refuse(session, transaction, b"452 4.5.3 Too many recipients\r\n")
        return
    address, rest = parse_path(arguments, b"TO:", "5.1.3")
    notify = orcpt = ""
    if rest:
        if not session.extended and rest.strip():
            raise BadCommand(555, "5.5.4", "Parameters need EHLO")
        notify, orcpt = parse_rcpt(rest, options.extensions, transaction.parameters.utf8)
    if "@" not in address:
        if address.lower() != "postmaster":
            raise BadCommand(553, "5.1.3", "The address needs a domain") if address else BadCommand(501, "5.1.3", "No address")
    elif not address.isascii() and not transaction.parameters.utf8:
        raise BadCommand(553, "5.6.7", "The address needs SMTPUTF8")
    login = session.login
    local = options.local == "all" or (login is not None and options.local == "auth")
    delivery = session.server.services.delivery
    verdict, found = delivery.resolve(
        _own_literal(session, address) if address[-1] == "]" else address,
        sender=transaction.sender,
        login=login,
        size=transaction.parameters.size,
        relay=options.remote == "all"
        or (login is not None and options.remote == "auth")
        or (login is None and options.relays_for(session.link.peer[0])),
        local=local,
    )
    if verdict is Verdict.UNKNOWN and found is not None and local and delivery.may_be_elsewhere(found):
        session.run(_ask(session, transaction, address, found, notify, orcpt))
        return
    _answer(session, transaction, address, verdict, found, notify, orcpt)


async def _ask(session: Session, transaction: Transaction, address: str, found: Resolution, notify: str, orcpt: str) -> None:
    """The user may still be at another server (MIG-01)."""
    verdict, found = await session.server.services.delivery.resolve_elsewhere(found)
    if session.transaction is transaction:
        _answer(session, transaction, address, verdict, found, notify, orcpt)


def _answer(
    session: Session, transaction: Transaction, address: str, verdict: Verdict, found: Resolution | None, notify: str, orcpt: str
) -> None:
    if verdict is not Verdict.ACCEPTED or found is None:
        _refuse(session, transaction, _REPLIES[verdict])
        session.link.log.info(
            "recipient refused", peer=session.link.peer[0], sender=transaction.sender, recipient=address, reason=verdict.value
        )
        return
    transaction.recipients.append(EnvelopeRecipient(address, found, notify, orcpt))
    _ACCEPTED.inc()
    session.reply(b"250 2.1.5 Ok\r\n")


def _refuse(session: Session, transaction: Transaction, reply: bytes) -> None:
    transaction.refused += 1
    _REFUSED.inc()
    session.reply(reply)


def _own_literal(session: Session, address: str) -> str:
    """An address at this host's own literal is one of the primary domain (RFC 5321 section 4.1.3)."""
    local, _, domain = address.rpartition("@")
    if domain.lower() != address_literal(session.link.local[0]).lower():
        return address
    if local.strip('"').lower() == "postmaster":
        return "postmaster"
    primary = session.server.options().server.primaryDomain
    if not primary:
        domains = session.server.services.directory.domains()
        primary = domains[0].name if domains else ""
    return f"{local}@{primary}" if primary else address
