"""What a queued recipient carries besides its address: the wishes of its sender about reports and transport.

Invariants: the octets are MessagePack arrays, so fields may be added at the end only; undecodable octets give the
defaults (a message is never kept back because its wishes are unreadable).
"""

from __future__ import annotations

import msgspec


class QueueDetail(msgspec.Struct, array_like=True, omit_defaults=True, frozen=True):
    """DSN and transport parameters of one recipient (RFC 3461, 6152, 3030, 6531).

    ``notify``: '' (not given), 'NEVER', or a list of SUCCESS, FAILURE, DELAY with commas; ``orcpt``: as received,
    xtext and all ('rfc822;bob@example.org'); ``envid``: as received (xtext); ``ret``: '', 'FULL' or 'HDRS';
    ``smtputf8``: the message needs SMTPUTF8; ``body``: '7BIT', '8BITMIME' or 'BINARYMIME'; ``sender``: the envelope sender
    where it is this recipient's own (VERP), then no other recipient has the same message id.
    """

    notify: str = ""
    orcpt: str = ""
    envid: str = ""
    ret: str = ""
    smtputf8: bool = False
    body: str = "7BIT"
    sender: str = ""

    def encode(self) -> bytes:
        """The octets for ``Target.detail``."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> QueueDetail:
        """The struct; defaults where the octets are empty or damaged."""
        if not data:
            return DEFAULT
        try:
            return _decoder.decode(data)
        except msgspec.MsgspecError:
            return DEFAULT

    def wants(self, event: str) -> bool:
        """Whether a report about ``event`` (SUCCESS, FAILURE, DELAY) is wanted; by default of failure and delay
        (RFC 3461 4.1)."""
        if not self.notify:
            return event != "SUCCESS"
        return event in self.notify.split(",")


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(QueueDetail)
DEFAULT = QueueDetail()
