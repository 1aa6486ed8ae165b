"""SASL exchanges end to end: what is offered, what logs in, what is refused."""

from __future__ import annotations

import asyncio
import base64
import hmac
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.directory import Account, Actor, Directory
from mailstead.identity.authenticator import Authenticator, AuthReason
from mailstead.identity.sasl import (
    MAX_RESPONSE,
    SaslExchange,
    SaslFormatError,
    SaslStep,
    SaslStepKind,
    decode_response,
    mechanisms,
)
from mailstead.settings.declarations.service_model import AUTH_TYPES

from .scram_client import ScramClient

PEER = "192.0.2.1"
WORD = "wonder-land-1"
NAME = "alice@example.test"
HASH = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}


async def run(authenticator: Authenticator, mechanism: str, *responses: bytes | None, binding: bytes | None = None) -> SaslStep:
    exchange = SaslExchange(mechanism, authenticator, "imap", PEER, binding)
    step = SaslStep(SaslStepKind.CHALLENGE)
    for response in responses:
        assert step.kind is SaslStepKind.CHALLENGE
        step = await exchange.step(response)
    return step


def test_what_is_offered() -> None:
    everything = frozenset(AUTH_TYPES)
    allowed = SimpleNamespace(secureConnAuthTypes=everything, plainConnAuthTypes=frozenset({"cram-md5", "scram-sha-256"}))
    assert mechanisms(allowed, True, b"x", recoverable=True) == [
        "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN",
    ]  # fmt: skip
    assert mechanisms(allowed, True, None) == ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"]
    assert mechanisms(allowed, False, b"x", recoverable=False) == ["SCRAM-SHA-256"]
    for never in ("DIGEST-MD5", "APOP", "GSSAPI", "NTLM"):
        with pytest.raises(ValueError):
            SaslExchange(never, None, "imap", PEER)  # type: ignore[arg-type]


async def test_plain_and_login(authenticator: Authenticator, alice: Account) -> None:
    message = f"\0{NAME}\0{WORD}".encode()
    for responses in ((message,), (None, message), (f"{NAME}\0{NAME}\0{WORD}".encode(),)):
        step = await run(authenticator, "plain", *responses)
        assert (step.kind, step.account) == (SaslStepKind.SUCCESS, alice)
    exchange = SaslExchange("LOGIN", authenticator, "imap", PEER)
    assert (await exchange.step(None)).data == b"Username:"
    assert (await exchange.step(NAME.encode())).data == b"Password:"
    assert (await exchange.step(WORD.encode())).account == alice
    assert (await exchange.step(WORD.encode())).reason is AuthReason.MALFORMED
    assert (await run(authenticator, "LOGIN", NAME.encode(), b"wrong")).reason is AuthReason.BAD_CREDENTIALS


@pytest.mark.parametrize(
    "message",
    [b"", b"\0\0", b"alice", b"\0alice", b"\0alice@example.test\0", b"\0a\0b\0c", b"\0\xff\0x", b"x" * (MAX_RESPONSE + 1)],
)
async def test_malformed_plain_is_told_apart(authenticator: Authenticator, message: bytes) -> None:
    assert (await run(authenticator, "PLAIN", message)).reason is AuthReason.MALFORMED


async def test_nobody_acts_for_another(authenticator: Authenticator, directory: Directory, admin: Actor) -> None:
    await directory.create_account("example.test", "bob", "bobs-word-1", actor=admin)
    step = await run(authenticator, "PLAIN", f"bob@example.test\0{NAME}\0{WORD}".encode())
    assert (step.kind, step.reason) == (SaslStepKind.FAILURE, AuthReason.BAD_CREDENTIALS)
    client = ScramClient("sha256", NAME, WORD, header="n,a=bob@example.test,")
    exchange = SaslExchange("SCRAM-SHA-256", authenticator, "imap", PEER)
    step = await exchange.step(client.final((await exchange.step(client.first())).data))
    assert step.reason is AuthReason.BAD_CREDENTIALS


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
@pytest.mark.parametrize("initial", [True, False])
async def test_scram_logs_in_and_proves_the_server(
    authenticator: Authenticator, alice: Account, mechanism: str, initial: bool
) -> None:
    plus = mechanism.endswith("-PLUS")
    binding = b"certificate hash" if plus else None
    client = ScramClient(
        HASH[mechanism.removesuffix("-PLUS")], NAME, WORD, "p=tls-server-end-point,," if plus else "n,,", binding or b""
    )
    exchange = SaslExchange(mechanism, authenticator, "imap", PEER, binding)
    if not initial:
        assert (await exchange.step(None)).data == b""
    final = client.final((await exchange.step(client.first())).data)
    step = await exchange.step(final)
    assert (step.kind, step.data) == (SaslStepKind.CHALLENGE, client.signature)
    step = await exchange.step(b"")
    assert (step.kind, step.account) == (SaslStepKind.SUCCESS, alice)


async def scram(authenticator: Authenticator, client: ScramClient, mechanism: str, binding: bytes | None) -> SaslStep:
    exchange = SaslExchange(mechanism, authenticator, "imap", PEER, binding)
    step = await exchange.step(client.first())
    return step if step.kind is SaslStepKind.FAILURE else await exchange.step(client.final(step.data))


async def test_scram_channel_binding_is_enforced(authenticator: Authenticator) -> None:
    plus, plain = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"
    p = "p=tls-server-end-point,,"
    for mechanism, header, said, ours in (
        (plus, p, b"man in the middle", b"ours"),
        (plus, "n,,", b"", b"ours"),
        (plus, "p=tls-unique,,", b"ours", b"ours"),
        (plus, p, b"", None),
        (plain, p, b"ours", b"ours"),
        (plain, "y,,", b"", b"ours"),  # the client could, and was told that we could not
    ):
        step = await scram(authenticator, ScramClient("sha256", NAME, WORD, header, said), mechanism, ours)
        assert (step.kind, step.reason) == (SaslStepKind.FAILURE, AuthReason.MALFORMED), (mechanism, header)
    step = await scram(authenticator, ScramClient("sha256", NAME, WORD, "y,,"), plain, None)
    assert step.kind is SaslStepKind.CHALLENGE


async def test_scram_refuses_wrong_unknown_and_changed(
    authenticator: Authenticator, directory: Directory, alice: Account, admin: Actor
) -> None:
    for client in (ScramClient("sha256", NAME, "wrong"), ScramClient("sha256", "ghost@example.test", WORD)):
        assert (await scram(authenticator, client, "SCRAM-SHA-256", None)).reason is AuthReason.BAD_CREDENTIALS
    salts = set()
    for _ in range(2):
        exchange = SaslExchange("SCRAM-SHA-256", authenticator, "imap", PEER)
        salts.add((await exchange.step(b"n,,n=ghost,r=abc")).data.split(b",")[1])
    assert len(salts) == 1
    client = ScramClient("sha256", NAME, WORD)
    exchange = SaslExchange("SCRAM-SHA-256", authenticator, "imap", PEER)
    final = client.final((await exchange.step(client.first())).data)
    await directory.set_password(alice.id, "changed-meanwhile-1", actor=admin)
    assert (await exchange.step(final)).reason is AuthReason.BAD_CREDENTIALS


async def test_cram_md5_only_with_recoverable_secrets(
    authenticator: Authenticator, directory: Directory, alice: Account, admin: Actor
) -> None:
    async def attempt() -> SaslStep:
        exchange = SaslExchange("CRAM-MD5", authenticator, "imap", PEER)
        challenge = (await exchange.step(None)).data
        digest = hmac.new(WORD.encode(), challenge, "md5").hexdigest()
        return await exchange.step(f"{NAME} {digest}".encode())

    assert (await attempt()).reason is AuthReason.BAD_CREDENTIALS
    await directory.settings.set("server", "recoverableSecrets", "yes", admin)
    await directory.set_password(alice.id, WORD, actor=admin)
    step = await attempt()
    assert step.kind is SaslStepKind.SUCCESS
    await directory.settings.set("server", "recoverableSecrets", "no", admin)
    assert (await attempt()).reason is AuthReason.BAD_CREDENTIALS
    assert (await run(authenticator, "CRAM-MD5", b"initial")).reason is AuthReason.MALFORMED


@given(st.binary(max_size=200), st.sampled_from(["PLAIN", "LOGIN", "SCRAM-SHA-256", "CRAM-MD5"]), st.binary(max_size=60))
def test_any_octets_end_in_a_step(first: bytes, mechanism: str, second: bytes) -> None:
    class Nobody:
        """Answers as for an unknown user, without a directory."""

        def blocked(self, peer: str, login: str) -> bool:
            return True

        async def verify_password(self, *args: object, **more: object) -> SimpleNamespace:
            return SimpleNamespace(ok=False, account=None, reason=AuthReason.LOCKED)

    async def talk() -> None:
        exchange = SaslExchange(mechanism, Nobody(), "imap", PEER)  # type: ignore[arg-type]
        for response in (first, second, second, second):
            step = await exchange.step(response)
            assert step.kind is not SaslStepKind.SUCCESS
        assert step.kind is SaslStepKind.FAILURE

    asyncio.run(talk())


@given(st.binary(max_size=400))
def test_decoding_gives_back_what_was_encoded_or_refuses(octets: bytes) -> None:
    assert decode_response(base64.b64encode(octets)) == octets
    try:
        decoded = decode_response(octets)
    except SaslFormatError:
        return
    assert octets == b"=" or base64.b64encode(decoded)[: len(octets) - 2] == octets[: len(octets) - 2]


def test_decoding_is_strict() -> None:
    assert decode_response(b"=") == b""
    for bad in (b"a", b"ab c", b"*", b"YQ==\n", b"A" * 20_000):
        with pytest.raises(SaslFormatError):
            decode_response(bad)
