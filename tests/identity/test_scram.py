"""SCRAM against the examples of RFC 5802 and RFC 7677, and hostile messages."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.identity.scram import ScramError, ScramServer, parse_client_first
from mailstead.identity.scram_keys import derive, derive_all, load, saslprep


@pytest.mark.parametrize(
    ("mechanism", "client_nonce", "server_nonce", "salt", "proof", "signature"),
    [
        (
            "SCRAM-SHA-1",
            "fyko+d2lbbFgONRv9qkxdawL",
            "3rfcNHYJY1ZVvWVs7j",
            "QSXCR+Q6sek8bf92",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            "SCRAM-SHA-256",
            "rOprNGfwEbeRWgbNEkqO",
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ],
)
def test_examples_of_the_rfcs(mechanism: str, client_nonce: str, server_nonce: str, salt: str, proof: str, signature: str) -> None:
    server = ScramServer(mechanism, channel_binding=None, plus_offered=False, nonce=server_nonce)
    client = server.read_first(f"n,,n=user,r={client_nonce}".encode())
    assert client.username == "user"
    keys = derive(mechanism, "pencil", salt=base64.b64decode(salt), iterations=4096)
    first = server.server_first(keys).decode()
    assert first == f"r={client_nonce}{server_nonce},s={salt},i=4096"
    final = f"c=biws,r={client_nonce}{server_nonce},p={proof}"
    assert server.server_final(final.encode()) == f"v={signature}".encode()


def test_names_are_unescaped_and_authzid_is_read() -> None:
    client = parse_client_first(b"n,a=bo=3Db,n=al=2Cice,r=abc,x=1")
    assert (client.authzid, client.username, client.header) == ("bo=b", "al,ice", "n,a=bo=3Db,")


@pytest.mark.parametrize(
    "message",
    [b"", b"n,,", b"n,,n=user", b"n,,r=abc,n=user", b"n,,m=ext,n=user,r=abc", b"x,,n=user,r=abc", b"n,b,n=user,r=abc",
     b"n,,n=,r=abc", b"n,,n=us=er,r=abc", b"n,,n=user,r=", b"n,,n=user,r=a\x01", b"n,,n=user,r=" + b"a" * 600,
     b"n,,n=\xff,r=abc", b"n,,n=a\x00,r=abc", b"n,,n=user,r=abc,bad"],
)  # fmt: skip
def test_bad_first_messages_are_refused(message: bytes) -> None:
    with pytest.raises(ScramError):
        parse_client_first(message)


@pytest.mark.parametrize(
    "final",
    [b"", b"c=biws", b"c=biws,r=abcxyz", b"r=abcxyz,c=biws,p=AAAA", b"c=biws,r=abc,p=AAAA", b"c=eSws,r=abcxyz,p=AAAA",
     b"c=biws,r=abcxyz,p=AAAA", b"c=biws,r=abcxyz,p=!!!!", b"c=biws,r=abcxyz,p=A", b"\xff,p=AAAA"],
)  # fmt: skip
def test_bad_final_messages_are_refused(final: bytes) -> None:
    server = ScramServer("SCRAM-SHA-256", channel_binding=None, plus_offered=False, nonce="xyz")
    server.read_first(b"n,,n=user,r=abc")
    server.server_first(derive("SCRAM-SHA-256", "pencil"))
    with pytest.raises(ScramError):
        server.server_final(final)


@given(st.binary(max_size=300))
def test_any_octets_are_a_message_or_an_error(octets: bytes) -> None:
    try:
        parse_client_first(octets)
    except ScramError:
        pass
    server = ScramServer("SCRAM-SHA-1", channel_binding=None, plus_offered=False)
    server.read_first(b"n,,n=user,r=abc")
    server.server_first(derive("SCRAM-SHA-1", "pencil", iterations=1))
    try:
        assert server.server_final(octets) is None
    except ScramError:
        pass


def test_stored_keys_hold_no_password_and_come_back() -> None:
    stored = derive_all("pencil-and-paper")
    assert "pencil" not in stored
    assert set(load(stored)) == {"SCRAM-SHA-1", "SCRAM-SHA-256"}
    assert load(derive_all("bad\x07bell")) == {}


@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_saslprep_examples(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "\ue000", "\ud800", "a" + "é" * 2000])
def test_saslprep_prohibits(text: str) -> None:
    with pytest.raises(ValueError):
        saslprep(text)
