"""What a list or a group to be expanded carries in the queue's index: what it is, and how far it has come.

Invariants: the octets are MessagePack arrays, so fields may be added at the end only; octets that cannot be decoded give
None, and the job stays where it is for somebody to look at.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class JobKind(StrEnum):
    """What is to be done with the message."""

    GROUP = "group"
    """Its members get it."""
    LIST = "list"
    """It came for an address of a list (``role``), which decides."""
    COPIES = "copies"
    """A list's copies go to its members."""
    DIGEST = "digest"
    """A list's digest goes to those who want it, or to the one member whose number is in ``token``."""


class ExpansionJob(msgspec.Struct, array_like=True, omit_defaults=True, frozen=True):
    """``object_id``: the group or list; ``address``: as the sender wrote it; ``role`` and ``token``: which of a list's
    addresses, and what stood behind its plus sign; ``path``: the expansion has given everything up to here; ``login``: the
    account that sent it after logging in; the rest as in QueueDetail, of the recipient that is expanded."""

    kind: str
    object_id: int
    address: str = ""
    role: str = ""
    token: str = ""
    path: tuple[str, ...] = ()
    login: str = ""
    notify: str = ""
    orcpt: str = ""
    envid: str = ""
    ret: str = ""
    utf8: bool = False
    body: str = "7BIT"

    def encode(self) -> bytes:
        """The octets for ``Target.detail``."""
        return _encode(self)

    @classmethod
    def decode(cls, data: bytes) -> ExpansionJob | None:
        """The job, or None where the octets are damaged."""
        try:
            return _decoder.decode(data)
        except msgspec.MsgspecError:
            return None


_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[ExpansionJob] = msgspec.msgpack.Decoder(ExpansionJob)
