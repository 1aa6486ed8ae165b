"""The receipt survives storage, and other versions of itself."""

from __future__ import annotations

import msgspec
import pytest

from mailstead.observe.receipt import Attempt, Check, Connected, Delivered, Receipt, decode, encode


def test_round_trip_and_size() -> None:
    receipt = Receipt(
        id="m1",
        received=1.5,
        sender="a@example.test",
        size=2048,
        connection=Connected("s-1", "smtpIncoming", "192.0.2.1", 4000, "192.0.2.2", "client.example"),
        checks=[Check("spf", "pass", ms=1.0)],
        deliveries=[Delivered("b@example.test", "b@example.test", "INBOX")],
        attempts=[Attempt("c@example.net", "mx.example.net", outcome="deferred", code=450)],
    )
    assert decode(encode(receipt)) == receipt
    assert len(encode(receipt)) < 450


def test_unknown_fields_of_a_newer_version_are_skipped() -> None:
    data = msgspec.msgpack.encode({"id": "m1", "weather": "fine", "checks": [{"name": "x", "novelty": 1}]})
    assert decode(data) == Receipt(id="m1", checks=[Check("x")])


def test_damaged_octets_raise() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(b"\xc1\x00")
