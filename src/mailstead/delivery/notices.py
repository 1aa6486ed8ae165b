"""Reports to the sender about what became of a message on this node (RFC 3461, 3464).

Invariants: nobody is told of a message from the null sender; NOTIFY=NEVER silences everything; what is reported as
failed is in no mailbox.
"""

from __future__ import annotations

import time

from mailstead.delivery.model import AcceptedMessage, EnvelopeRecipient, Result
from mailstead.delivery.targets import Plan
from mailstead.delivery.xtext import decode_orcpt, decode_xtext
from mailstead.directory.model import RecipientKind
from mailstead.message.dsn import MAX_HEADER_RETURNED, Action, DsnRecipient, build_dsn
from mailstead.queue.detail import QueueDetail

_WORDS: dict[Result, tuple[str, str]] = {
    Result.OVER_QUOTA: ("5.2.2", "552 5.2.2 the mailbox is over its quota"),
    Result.NO_MEMBERS: ("5.2.4", "550 5.2.4 the group has no members"),
    Result.TOO_MANY: ("5.3.4", "550 5.3.4 the group has too many members"),
    Result.REJECTED: ("5.7.1", "550 5.7.1 the recipient's rules reject the message"),
    Result.RESTRICTED: ("5.7.1", "550 5.7.1 the recipient takes no mail from this sender"),
    Result.TEMPORARY: ("5.3.0", "550 5.3.0 the message could not be stored"),
    Result.FULL: ("5.3.1", "552 5.3.1 no space left"),
}


def wants(recipient: EnvelopeRecipient, event: str) -> bool:
    """Whether the sender wants to hear of ``event`` (SUCCESS, FAILURE, DELAY)."""
    return QueueDetail(recipient.notify).wants(event)


def wants_success(message: AcceptedMessage) -> bool:
    """Whether anybody asked for a report of success and can be told."""
    if not message.sender:
        return False
    return any(recipient.notify and wants(recipient, "SUCCESS") for recipient in message.recipients)


def _recipient(recipient: EnvelopeRecipient, final: str, action: Action, status: str, words: str | None) -> DsnRecipient:
    original = decode_orcpt(recipient.orcpt) if recipient.orcpt else None
    return DsnRecipient(final, action, status, original, words)


def failures(message: AcceptedMessage, plan: Plan, refused: list[tuple[int, Result]]) -> list[DsnRecipient]:
    """What the sender is told about ``refused`` targets, failed groups and addresses that lead nowhere."""
    if not message.sender:
        return []
    rows: list[DsnRecipient] = []
    for index, result in refused:
        recipient = message.recipients[plan.origins[index]]
        if wants(recipient, "FAILURE"):
            status, words = _WORDS[result]
            rows.append(_recipient(recipient, recipient.address, "failed", status, words))
    for number, result in plan.failed.items():
        recipient = message.recipients[number]
        if wants(recipient, "FAILURE"):
            status, words = _WORDS[result]
            rows.append(_recipient(recipient, recipient.address, "failed", status, words))
    for lost in plan.lost:
        recipient = message.recipients[lost.origin]
        if wants(recipient, "FAILURE"):
            status = lost.reason.split(" ", 2)[1]
            rows.append(_recipient(recipient, lost.address, "failed", status, lost.reason))
    return rows


def successes(message: AcceptedMessage, results: list[Result]) -> list[DsnRecipient]:
    """Reports for NOTIFY=SUCCESS: delivered here, or expanded to a group (RFC 3461 section 5.2.7), by what became of each
    recipient. Remote recipients are the queue's to report."""
    if not wants_success(message):
        return []
    rows: list[DsnRecipient] = []
    for recipient, result in zip(message.recipients, results, strict=True):
        kind = recipient.resolution.kind
        if result is not Result.STORED or kind is RecipientKind.REMOTE or not recipient.notify or not wants(recipient, "SUCCESS"):
            continue
        action: Action = "delivered" if kind is RecipientKind.LOCAL else "expanded"
        rows.append(_recipient(recipient, recipient.address, action, "2.1.5", None))
    return rows


def report(message: AcceptedMessage, rows: list[DsnRecipient], host: str) -> bytes:
    """The report, ready to be sent to the message's sender. Reads the first octets of a spooled message."""
    original = message.trace + (message.spool.head(MAX_HEADER_RETURNED) if message.spool is not None else message.body)
    return build_dsn(
        kind=rows[0].action,
        reporting_mta=host,
        to=message.sender,
        recipients=rows,
        original=original,
        arrival=message.arrival,
        date=time.time(),
        original_envid=decode_xtext(message.envid) if message.envid else None,
        return_full=message.ret == "FULL" and message.spool is None,
    )
