"""Whether a message may go to a list: loops, machines, size, content, who wrote it (LST-01).

Invariants: a decision has a reason in words; what came from the list itself or from a machine that answers is dropped without
a word, for an answer could go on for ever.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mailstead.delivery.lists.outgoing import has_passed
from mailstead.delivery.lists.sender import Writer, auto_submitted
from mailstead.directory.model import Recipient
from mailstead.message.decode import walk
from mailstead.message.headers import count_received
from mailstead.message.mime import Part

MAX_HOPS = 100
_ANSWERS = ("auto-replied", "auto-notified")


class Decision(enum.Enum):
    """What becomes of a posting."""

    SEND = "sent"
    HOLD = "held for the moderator"
    REJECT = "rejected"
    DROP = "dropped"


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision and why."""

    decision: Decision
    reason: str = ""


def judge(
    head: bytes, root: Part, size: int, sender: str, writer: Writer, recipient: Recipient, *, member: bool, may_send: bool,
    trusted: bool = False, approved: bool = False,
) -> Judged:  # fmt: skip
    """``member``: the writer is one; ``may_send``: senderAllow lets him; ``trusted``: he is the list's administrator, logged
    in; ``approved``: a moderator has let it through, so that only loops and size still count."""
    attributes = recipient.attributes
    if has_passed(head, recipient):
        return Judged(Decision.DROP, "it has been through this list")
    if count_received(head) > MAX_HOPS:
        return Judged(Decision.DROP, "it has too many hops")
    if not approved:
        if not sender:
            return Judged(Decision.DROP, "it is a notice of a mail system")
        if auto_submitted(head) in _ANSWERS:
            return Judged(Decision.DROP, "it is an automatic answer")
        if not may_send:
            return Judged(Decision.REJECT, "you may not send to this list")
    largest = int(attributes.get("maxMessageSize", "0")) * 1024
    if largest and size > largest:
        return Judged(Decision.REJECT, f"it is larger than {largest // 1024} KB")
    if approved or trusted:
        return Judged(Decision.SEND)
    refused = _content(root, attributes.get("ctypeAllow", "any"))
    if refused:
        return Judged(Decision.REJECT, refused)
    moderate = attributes.get("moderate", "nobody")
    if moderate == "everybody" or (moderate == "nonmembers" and not member):
        return Judged(Decision.HOLD, "the list is moderated" if moderate == "everybody" else "its writer is not a member")
    return Judged(Decision.SEND)


def _content(root: Part, allowed: str) -> str:
    if allowed == "any":
        return ""
    kinds = ("plain",) if allowed == "text" else ("plain", "html")
    for part in walk(root):
        if part.type == "multipart" and part.children:
            continue
        if part.type != "text" or part.subtype not in kinds:
            what = "plain text" if allowed == "text" else "plain text and HTML"
            return f"only {what} is let through, not {part.type}/{part.subtype}"[:200]
    return ""
