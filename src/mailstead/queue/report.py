"""Notices to the sender: failed, delayed, relayed (RFC 3461, 3464; SMO-08, 09, 10).

Invariants: no notice answers a message without a sender (RFC 5321 6.1); what a recipient's NOTIFY does not ask for
is not written; RET and ENVID and ORCPT of the submission are honoured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mailstead.message.dsn import Action, DsnRecipient, build_dsn
from mailstead.queue.body import MessageBody
from mailstead.queue.entry import Entry, Recipient

MAX_RETURNED = 1_000_000
_XCHAR = re.compile(r"\+([0-9A-F]{2})")


@dataclass(frozen=True, slots=True)
class SystemMessage:
    """A message of the server itself, to be delivered: from the null sender to ``recipient``."""

    recipient: str
    octets: bytes
    smtputf8: bool = False
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Fate:
    """What a notice tells of one recipient: ``text`` are the remote's words (or ours), ``remote`` the host that spoke."""

    recipient: Recipient
    status: str
    text: str
    remote: str = ""
    retry_until: int | None = None


def decode_xtext(text: str) -> str:
    """RFC 3461 4."""
    return _XCHAR.sub(lambda match: chr(int(match[1], 16)), text)


def wanted(entry: Entry, recipient: Recipient, event: str) -> bool:
    """Whether a notice about ``event`` (SUCCESS, FAILURE, DELAY) is to be written."""
    return bool(entry.sender) and recipient.wishes.wants(event)


def compose(
    kind: Action, entry: Entry, fates: Sequence[Fate], body: MessageBody, now: int, hostname: str, settings: Any
) -> SystemMessage:
    """One notice about ``fates`` to the sender of ``entry``. Raises OSError, DamagedRecord where the log cannot be read.

    ``settings`` is the context smtpOutgoing.
    """
    wishes = fates[0].recipient.wishes
    attach = {"FULL": "full", "HDRS": "header"}.get(wishes.ret, str(settings.ndrAttachSource))
    full = attach == "full" and kind == "failed" and body.size <= MAX_RETURNED
    original = b"" if attach == "none" else body.read(MAX_RETURNED) if full else body.head()
    octets = build_dsn(
        kind=kind,
        reporting_mta=hostname,
        to=entry.sender,
        recipients=[_recipient(kind, fate, now) for fate in fates],
        original=original,
        arrival=entry.received,
        date=now,
        from_address=_from(str(settings.ndrSender), hostname),
        original_envid=decode_xtext(wishes.envid) or None,
        return_full=full,
        max_full=MAX_RETURNED,
    )
    return SystemMessage(entry.sender, octets, smtputf8=not entry.sender.isascii())


def _recipient(kind: Action, fate: Fate, now: int) -> DsnRecipient:
    orcpt = fate.recipient.wishes.orcpt
    address_type, semicolon, address = orcpt.partition(";")
    return DsnRecipient(
        final=fate.recipient.address,
        action=kind,
        status=fate.status,
        original=f"{address_type};{decode_xtext(address)}" if semicolon else None,
        diagnostic=fate.text or None,
        remote_mta=fate.remote or None,
        last_attempt=now,
        will_retry_until=fate.retry_until if kind == "delayed" else None,
    )


def _from(sender: str, hostname: str) -> str:
    return sender if "@" in sender else f"{sender or 'MAILER-DAEMON'}@{hostname}"
