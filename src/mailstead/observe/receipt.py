"""The receipt of a message: everything that happened to it, from connection to the last move (design section 6).

Invariants: a receipt written by an older version decodes in a newer one and the reverse (unknown fields are
skipped, new fields have defaults); it holds no secret and no message content; times are seconds since the epoch.

How: structs are msgpack maps with short stable field names, so that the raw log stays readable without this file.
"""

from __future__ import annotations

import msgspec


class Connected(msgspec.Struct, frozen=True, omit_defaults=True):
    """The connection the message came in on. `session` is the id that log lines carry."""

    session: str = ""
    service: str = ""
    peer: str = ""
    port: int = 0
    local: str = ""
    helo: str = ""
    peer_name: str = ""


class Encrypted(msgspec.Struct, frozen=True, omit_defaults=True):
    """TLS of that connection."""

    version: str = ""
    cipher: str = ""
    bits: int = 0
    sni: str = ""


class Authenticated(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who had logged in, and how."""

    account: str = ""
    mechanism: str = ""


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check (SPF, DKIM, DNSBL, scanner...): its result, score and duration in milliseconds."""

    name: str
    result: str = ""
    score: float = 0.0
    ms: float = 0.0
    detail: str = ""


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule that acted."""

    name: str
    action: str = ""
    detail: str = ""


class Delivered(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recipient's outcome on this node. `by` names what decided: address, alias, catch-all, list, sieve."""

    recipient: str
    account: str = ""
    folder: str = ""
    outcome: str = "delivered"
    by: str = ""
    detail: str = ""
    at: float = 0.0


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try to hand the message to another host, with that host's words."""

    recipient: str
    host: str = ""
    address: str = ""
    outcome: str = ""
    code: int = 0
    status: str = ""
    reply: str = ""
    tls: str = ""
    at: float = 0.0
    ms: float = 0.0


class Moved(msgspec.Struct, frozen=True, omit_defaults=True):
    """A later move, copy or removal, and by whom."""

    action: str
    by: str = ""
    source: str = ""
    target: str = ""
    at: float = 0.0


class Receipt(msgspec.Struct, omit_defaults=True):
    """The whole of it. `id` is the node's id of the message, `received` when it was accepted."""

    id: str = ""
    received: float = 0.0
    sender: str = ""
    size: int = 0
    connection: Connected | None = None
    tls: Encrypted | None = None
    auth: Authenticated | None = None
    checks: list[Check] = []
    rules: list[Rule] = []
    deliveries: list[Delivered] = []
    attempts: list[Attempt] = []
    moves: list[Moved] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Receipt)
encode_json = msgspec.json.Encoder().encode


def encode(receipt: Receipt) -> bytes:
    """The receipt as stored."""
    return _encoder.encode(receipt)


def decode(data: bytes) -> Receipt:
    """The receipt from its stored form. Raises msgspec.DecodeError (or its ValidationError) on damaged octets."""
    return _decoder.decode(data)
