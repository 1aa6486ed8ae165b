"""Logins: mechanisms, where they are allowed, and what they permit."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from mailstead.observe import log
from tests.smtp.harness import ADMIN, PASSWORD, Client, Face, client_context

PLAIN = base64.b64encode(f"\0alice@example.test\0{PASSWORD}".encode()).decode()
WRONG = base64.b64encode(b"\0alice@example.test\0wrong").decode()


async def secure(face: Face, port: str = "submission") -> Client:
    client = await face.ready(port)
    await client.starttls(client_context())
    await client.ok("EHLO client.test")
    return client


def encode(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


async def scram(
    client: Client, name: str, password: str = PASSWORD, user: str = "alice@example.test", binding: bytes | None = None
) -> str:
    header = "n,," if binding is None else "p=tls-server-end-point,,"
    digest = "sha256" if "256" in name else "sha1"
    first = f"n={user},r=nonce"
    reply = await client.command(f"AUTH {name} {encode(header + first)}")
    if not reply.startswith("334"):
        return reply
    server = base64.b64decode(reply[4:]).decode()
    fields = dict(part.split("=", 1) for part in server.split(","))
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    key = hmac.digest(salted, b"Client Key", digest)
    without = f"c={encode(header.encode() + (binding or b''))},r={fields['r']}"
    message = f"{first},{server},{without}".encode()
    signature = hmac.digest(hashlib.new(digest, key).digest(), message, digest)
    proof = encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))
    reply = await client.command(encode(f"{without},p={proof}"))
    return await client.command("") if reply.startswith("334") else reply


async def test_mechanisms_after_tls(face: Face) -> None:
    client = await face.ready("submission")
    await client.starttls(client_context())
    reply = await client.ok("EHLO client.test")
    assert "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN" in reply
    assert "STARTTLS" not in reply
    assert (await client.command("STARTTLS")).startswith("503")


async def test_plain_with_and_without_initial_response(face: Face) -> None:
    for initial in (True, False):
        client = await secure(face)
        reply = await client.command(f"AUTH PLAIN {PLAIN}" if initial else "AUTH PLAIN")
        if not initial:
            assert reply == "334 "
            reply = await client.command(PLAIN)
        assert reply.startswith("235 2.7.0")
        assert (await client.command(f"AUTH PLAIN {PLAIN}")).startswith("503")


async def test_login(face: Face) -> None:
    client = await secure(face)
    assert await client.command("AUTH LOGIN") == "334 " + encode("Username:")
    assert await client.command(encode("alice@example.test")) == "334 " + encode("Password:")
    assert (await client.command(encode(PASSWORD))).startswith("235")


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
async def test_scram_in_the_clear(face: Face, name: str) -> None:
    await face.directory.set_password(face.account("alice@example.test").id, PASSWORD, actor=ADMIN)
    client = await face.ready("smtp")
    assert (await scram(client, name)).startswith("235 2.7.0")
    client = await face.ready("smtp")
    assert (await scram(client, name, "wrong")).startswith("535 5.7.8")
    assert (await scram(client, name, user="nobody@example.test")).startswith("535 5.7.8")


@pytest.mark.parametrize("name", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])
async def test_scram_bound_to_the_channel(face: Face, name: str) -> None:
    await face.directory.set_password(face.account("alice@example.test").id, PASSWORD, actor=ADMIN)
    client = await secure(face)
    certificate = client.writer.get_extra_info("ssl_object").getpeercert(True)
    right = hashlib.sha256(certificate).digest()
    assert (await scram(client, name, binding=b"\0" * 32)).startswith("5")
    assert (await scram(client, name, binding=right)).startswith("235")


async def test_cram_md5_where_secrets_are_kept(face: Face) -> None:
    await face.set("recoverableSecrets", "yes", "server")
    await face.directory.set_password(face.account("alice@example.test").id, PASSWORD, actor=ADMIN)
    client = await face.ready()
    assert "CRAM-MD5" in await client.ok("EHLO client.test")
    for password, code in (("wrong", "535"), (PASSWORD, "235")):
        challenge = base64.b64decode((await client.command("AUTH CRAM-MD5"))[4:])
        digest = hmac.new(password.encode(), challenge, "md5").hexdigest()
        assert (await client.command(encode(f"alice@example.test {digest}"))).startswith(code)


async def test_the_protocol_log_has_no_secrets(face: Face, tmp_path: Path) -> None:
    log.configure(mask=31, path=str(tmp_path / "protocol.log"))
    try:
        client = await secure(face)
        await client.ok(f"AUTH PLAIN {PLAIN}")
        client = await secure(face)
        for line in ("AUTH LOGIN", encode("alice@example.test"), encode(PASSWORD), "NOOP said"):
            await client.ok(line)
    finally:
        log.configure()
    text = (tmp_path / "protocol.log").read_text()
    assert "NOOP said" in text
    assert "235 2.7.0" in text
    for secret in (PLAIN, encode(PASSWORD), PASSWORD):
        assert secret not in text


async def test_refusals(face: Face) -> None:
    client = await secure(face)
    assert (await client.command(f"AUTH PLAIN {WRONG}")).startswith("535 5.7.8")
    assert (await client.command("AUTH PLAIN !!!")).startswith("501 5.5.4")
    assert (await client.command("AUTH PLAIN")).startswith("334")
    assert (await client.command("!!!")).startswith("501 5.5.2")
    assert (await client.command("AUTH PLAIN")).startswith("334")
    assert (await client.command("*")).startswith("501 5.7.0")
    assert (await client.command("AUTH PLAIN =")).startswith("501")
    assert (await client.command("AUTH CRAM-MD5")).startswith("504")
    assert (await client.command("AUTH")).startswith("501")
    await face.directory.disable_account(face.account("alice@example.test").id, actor=ADMIN)
    assert (await client.command(f"AUTH PLAIN {PLAIN}")).startswith("535 5.7.13")


async def test_clear_text_logins_need_tls_unless_allowed(face: Face) -> None:
    client = await face.ready("submission")
    assert (await client.command(f"AUTH PLAIN {PLAIN}")).startswith("538 5.7.11")
    await face.set("plainConnAuthTypes", "plain")
    assert "AUTH PLAIN" in await client.ok("EHLO client.test")
    assert (await client.command(f"AUTH PLAIN {PLAIN}")).startswith("235")


async def test_too_many_failed_logins(face: Face) -> None:
    for endpoint in face.endpoints.values():
        endpoint.max_auth_errors = 2
    client = await secure(face)
    assert (await client.command(f"AUTH PLAIN {WRONG}")).startswith("535")
    assert (await client.command(f"AUTH PLAIN {WRONG}")).startswith("535")
    assert (await client.reply()).startswith("421 4.7.0")


async def test_long_responses(face: Face) -> None:
    client = await secure(face)
    long = encode("\0alice@example.test\0" + "x" * 4000)
    assert (await client.command(f"AUTH PLAIN {long}")).startswith("535")
    assert (await client.command("AUTH PLAIN")).startswith("334")
    assert (await client.command("A" * 13000)).startswith("500 5.5.6")
    assert (await client.command("AUTH PLAIN " + "A" * 13000)).startswith("500 5.5.6")
    assert (await client.command(f"AUTH PLAIN {PLAIN}")).startswith("235")


async def test_submission_needs_a_login(face: Face) -> None:
    client = await secure(face)
    assert (await client.command("MAIL FROM:<alice@example.test>")).startswith("530 5.7.0")
    await client.ok(f"AUTH PLAIN {PLAIN}")
    await client.ok("MAIL FROM:<alice@example.test>")


@pytest.mark.parametrize(
    ("sender", "reply"),
    [
        ("alice@example.test", "250"), ("ALICE@example.test", "250"), ("info@example.test", "250"), ("alice+x@example.test", "250"),
        ("", "250"), ("bob@example.test", "553 5.7.1"), ("bob+alice@example.test", "553"), ("alice@remote.test", "553"),
        ("unknown@example.test", "553"),
    ],
)  # fmt: skip
async def test_a_login_sends_as_itself(face: Face, sender: str, reply: str) -> None:
    await face.directory.set_domain_setting("example.test", "catchAllType", "account", actor=ADMIN)
    await face.directory.set_domain_setting("example.test", "catchAllAccountName", "alice", actor=ADMIN)
    client = await secure(face)
    await client.ok(f"AUTH PLAIN {PLAIN}")
    assert (await client.command(f"MAIL FROM:<{sender}>")).startswith(reply)
    await client.ok("RSET")
    await face.set("checkSenderLogin", "no")
    assert (await client.command("MAIL FROM:<anyone@remote.test>")).startswith("250")


async def test_relaying_needs_a_login_or_a_network(face: Face) -> None:
    client = await face.ready()
    await client.ok("MAIL FROM:<alice@example.test>")  # claiming a local address does not help
    assert (await client.command("RCPT TO:<x@elsewhere.test>")).startswith("550 5.7.1")
    await client.ok("RSET")
    await face.set("relayNetworks", "192.0.2.0/24 127.0.0.0/8")
    assert (await client.send(b"S: x\r\n\r\n", "x@elsewhere.test")).startswith("250")
    await face.set("relayNetworks", "192.0.2.0/24")
    await client.ok("MAIL FROM:<a@b.test>")
    assert (await client.command("RCPT TO:<x@elsewhere.test>")).startswith("550")
    client = await secure(face)
    await client.ok(f"AUTH PLAIN {PLAIN}")
    await face.set("remoteDelivery", "none")
    await client.ok("MAIL FROM:<alice@example.test>")
    assert (await client.command("RCPT TO:<x@elsewhere.test>")).startswith("550")
    await client.ok("RSET")
    await face.set("remoteDelivery", "auth")
    await client.envelope("x@elsewhere.test", sender="alice@example.test")
    assert [row[1] for row in face.queued()] == ["x@elsewhere.test"]


async def test_local_delivery_right(face: Face) -> None:
    await face.set("localDelivery", "auth")
    client = await face.ready()
    await client.ok("MAIL FROM:<a@b.test>")
    assert (await client.command("RCPT TO:<bob@example.test>")).startswith("550 5.7.1")
    assert (await client.command("RCPT TO:<postmaster@example.test>")).startswith("250")
    client = await secure(face)
    await client.ok(f"AUTH PLAIN {PLAIN}")
    await client.envelope("bob@example.test", sender="alice@example.test")


async def test_a_new_password_ends_old_sessions(face: Face) -> None:
    client = await secure(face)
    await client.ok(f"AUTH PLAIN {PLAIN}")
    assert (await client.send(sender="alice@example.test")).startswith("250")
    await face.directory.set_password(face.account("alice@example.test").id, "Another-1", actor=ADMIN)
    assert (await client.command("MAIL FROM:<alice@example.test>")).startswith("421 4.7.0")
    assert await client.closed()


async def test_the_address_of_a_group_or_folder_may_be_lent(face: Face) -> None:
    """SMI-13, GRP-01, PUB-02."""
    await face.set("checkSenderLogin", "yes")
    inner = await face.directory.create_group("example.test", "inner", ["alice@example.test"], actor=ADMIN)
    staff = await face.directory.create_group("example.test", "staff", ["inner@example.test"], actor=ADMIN)
    office = await face.directory.create_folder_recipient("example.test", "office", "Office", actor=ADMIN)
    client = await secure(face)
    await client.ok(f"AUTH PLAIN {PLAIN}")
    for address in ("staff@example.test", "office@example.test", "inner@example.test"):
        assert (await client.command(f"MAIL FROM:<{address}>")).startswith("553 5.7.1")
    await face.directory.set_recipient_attributes(staff.id, actor=ADMIN, membersSendMailAsGroup="yes")
    await face.directory.set_recipient_attributes(office.id, actor=ADMIN, domainSendMailAs="yes")
    for address in ("staff@example.test", "Office@EXAMPLE.test"):
        await client.ok(f"MAIL FROM:<{address}>")
        await client.ok("RSET")
    await face.directory.remove_members(inner.id, ["alice@example.test"], actor=ADMIN)
    assert (await client.command("MAIL FROM:<staff@example.test>")).startswith("553 5.7.1")


async def test_a_password_that_must_be_changed(face: Face) -> None:
    alice = face.account("alice@example.test").id
    await face.directory.set_password(alice, hash="{PLAIN}" + PASSWORD, actor=ADMIN, must_change=True)
    client = await secure(face)
    assert (await client.command(f"AUTH PLAIN {WRONG}")).startswith("535 5.7.8")  # who does not know it learns nothing
    assert (await client.command(f"AUTH PLAIN {PLAIN}")) == "535 5.7.13 The password must be changed first"
    await face.directory.set_password(alice, hash="{PLAIN}" + PASSWORD, actor=ADMIN)
    assert (await client.command(f"AUTH PLAIN {PLAIN}")).startswith("235")
