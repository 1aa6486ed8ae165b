"""What became of a recipient in one attempt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mailstead.queue.smtp_engine import RecipientResult
from mailstead.queue.smtp_reply import Reply


class Kind(Enum):
    """AGAIN: not tried for lack of room in the transaction; to be tried at once, without counting an attempt."""

    DELIVERED = "delivered"
    FAILED = "failed"
    DEFERRED = "deferred"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``status`` is an enhanced code; ``text`` the remote's words or ours; ``host`` who spoke; ``dsn``: the next host
    takes over the wishes about reports; ``unreached``: no host of the destination could be used at all."""

    kind: Kind
    status: str
    text: str
    host: str = ""
    address: str = ""
    code: int = 0
    tls: str = ""
    dsn: bool = False
    unreached: bool = False


def status_of(reply: Reply, stage: str) -> str:
    """The reply's enhanced status, or the nearest for its code and stage (RFC 3463)."""
    if reply.enhanced:
        return reply.enhanced
    if reply.ok:
        return "2.0.0"
    digit = "5" if reply.permanent else "4"
    if stage == "RCPT":
        return f"{digit}.1.1" if reply.code in (550, 551, 553) else f"{digit}.2.2" if reply.code in (452, 552) else f"{digit}.0.0"
    if reply.code == 552:
        return "5.3.4"
    return "4.3.2" if reply.code == 421 else f"{digit}.0.0"


def from_result(result: RecipientResult, host: str, address: str, tls: str) -> Outcome:
    """The outcome of a result of a transaction."""
    if result.by_us:
        kind = Kind.FAILED if result.by_us.startswith("5") else Kind.DEFERRED
        return Outcome(kind, result.by_us, result.text, host, address, tls=tls)
    reply = result.reply
    if reply is None:
        return Outcome(Kind.AGAIN, "4.5.3", "not offered yet", host, address, tls=tls)
    if result.delivered:
        kind = Kind.DELIVERED
    elif reply.permanent:
        kind = Kind.FAILED
    else:
        kind = Kind.DEFERRED
    status = status_of(reply, result.stage)
    if kind is Kind.DEFERRED and not status.startswith("4"):
        status = "4.0.0"  # a reply of the wrong class: neither taken nor refused
    return Outcome(kind, status, reply.text, host, address, reply.code, tls, result.dsn)
