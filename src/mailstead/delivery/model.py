"""What a face hands to the delivery, and what it gets back. No protocol words: the face has the codes.

Invariants: values are made once per message and not changed afterwards; sizes are octets, times unix seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailstead.directory.model import Resolution

if TYPE_CHECKING:
    from mailstead.observe.receipt import Authenticated, Connected, Encrypted
    from mailstead.store.spool import Spool


class Verdict(enum.Enum):
    """Whether a recipient is taken, before there is a message."""

    ACCEPTED = "accepted"
    UNKNOWN = "unknown user"
    DISABLED = "account disabled"
    NOT_PERMITTED = "sender not permitted"
    MAY_NOT_SEND = "the account may not send there"
    MAY_NOT_RECEIVE = "the account takes no mail from there"
    NO_RELAY = "relaying denied"
    NO_LOCAL = "local delivery denied"
    OVER_QUOTA = "over quota"
    TOO_LARGE = "larger than the mailbox"
    NOT_POSSIBLE = "this kind of recipient takes no mail"
    TEMPORARY = "try again later"


class Result(enum.Enum):
    """What became of one recipient of a message, or of the whole of it."""

    STORED = "stored"
    OVER_QUOTA = "over quota"
    NO_MEMBERS = "no members"
    TOO_MANY = "too many members"
    REJECTED = "rejected by the recipient"
    RESTRICTED = "the recipient takes no mail from there"
    FULL = "disk full"
    TEMPORARY = "try again later"


@dataclass(slots=True)
class EnvelopeRecipient:
    """One accepted recipient. ``address`` is as the client wrote it; ``notify`` and ``orcpt`` as in RFC 3461 (orcpt
    with its xtext), empty where not given."""

    address: str
    resolution: Resolution
    notify: str = ""
    orcpt: str = ""


@dataclass(slots=True)
class AcceptedMessage:
    """A message at the end of its data.

    ``trace`` is this server's Received field (and what else goes in front of the octets as received, with a blank
    line where they have no header); ``body`` the octets, or ``spool`` holds them. ``id`` is the transaction's name in
    logs, Received and receipt. ``envid``, ``ret``, ``body_type``, ``utf8``: envelope parameters. ``system``: this server
    wrote it.
    """

    id: str
    sender: str
    recipients: list[EnvelopeRecipient]
    trace: bytes
    body: bytes
    size: int
    arrival: int
    spool: Spool | None = None
    body_type: str = "7BIT"
    utf8: bool = False
    envid: str = ""
    ret: str = ""
    connection: Connected | None = None
    tls: Encrypted | None = None
    auth: Authenticated | None = None
    system: bool = False


@dataclass(slots=True)
class Outcome:
    """``result`` covers the message: STORED when it is in the server's hands for every recipient (a report has gone to
    the sender for those that failed). ``results``: one for each of the message's recipients, empty when all are as
    ``result`` says."""

    result: Result
    results: tuple[Result, ...] = ()
    delivered: int = 0
    queued: int = 0
    entry: int = 0
    """Its number in the queue, where it is queued or goes to a list or a large group."""
