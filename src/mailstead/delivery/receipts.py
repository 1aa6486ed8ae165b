"""The receipt as it is written with the message (design section 6); a few microseconds each."""

from __future__ import annotations

from mailstead.delivery.model import AcceptedMessage
from mailstead.directory.model import RecipientKind
from mailstead.observe.receipt import Delivered, Receipt, encode

MAX_RECIPIENTS = 1000
"""Recipients a receipt names; the targets of the record name all."""


def _by(address: str, final: str, detail: str) -> str:
    if address == final:
        return "address"
    return "subaddress" if detail else "alias"


def receipt_of(message: AcceptedMessage) -> bytes:
    """The encoded receipt of a message on its way into the log."""
    deliveries = []
    for recipient in message.recipients[:MAX_RECIPIENTS]:
        found = recipient.resolution
        kind = found.kind
        if kind is RecipientKind.LOCAL:
            account = found.account
            deliveries.append(
                Delivered(
                    recipient.address,
                    account.address if account is not None else found.address,
                    by=_by(recipient.address, found.address, found.detail),
                )
            )
        elif kind is RecipientKind.REMOTE:
            deliveries.append(Delivered(recipient.address, outcome="queued", by="address"))
        else:
            deliveries.append(Delivered(recipient.address, found.address, outcome="expanded", by=kind.value))
    return encode(
        Receipt(
            message.id,
            float(message.arrival),
            message.sender,
            message.size,
            message.connection,
            message.tls,
            message.auth,
            deliveries=deliveries,
        )
    )
