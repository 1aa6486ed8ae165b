"""Every command: what it answers in which state (RFC 5321 section 4.1 and 4.3)."""

from __future__ import annotations

import pytest

from tests.smtp.harness import Face


async def test_greeting_and_ehlo_name_the_host_and_what_there_is(face: Face) -> None:
    client = await face.client()
    assert client.greeting == "220 mail.example.test Mailstead ESMTP ready"
    reply = await client.command("EHLO client.test")
    assert reply.split("\n") == [
        "250-mail.example.test", "250-PIPELINING", "250-SIZE 10485760", "250-STARTTLS", "250-AUTH SCRAM-SHA-256 SCRAM-SHA-1",
        "250-ENHANCEDSTATUSCODES", "250-8BITMIME", "250-CHUNKING", "250-BINARYMIME", "250-DSN", "250-SMTPUTF8",
        "250 LIMITS RCPTMAX=1000",
    ]  # fmt: skip
    assert await client.command("HELO client.test") == "250 mail.example.test"


async def test_switches_take_their_keyword_away(face: Face) -> None:
    for name in ("allowPipelining", "allow8bitMime", "allowBinaryData", "allowDSN", "allowSmtpUtf8", "allowStartTLS"):
        await face.set(name, "no")
    await face.set("maxTransactions", "2")
    await face.set("plainConnAuthTypes", "none")
    client = await face.client()
    reply = await client.command("EHLO client.test")
    assert reply.split("\n") == [
        "250-mail.example.test", "250-SIZE 10485760", "250-ENHANCEDSTATUSCODES", "250 LIMITS MAILMAX=2 RCPTMAX=1000",
    ]  # fmt: skip
    assert (await client.command("STARTTLS")).startswith("502")
    assert (await client.command("BDAT 3")).startswith("502")
    assert (await client.command("MAIL FROM:<a@b.test> SMTPUTF8")).startswith("555")
    for _ in range(2):
        assert (await client.send()).startswith("250")
    assert (await client.command("MAIL FROM:<a@b.test>")).startswith("421 4.7.0")
    assert await client.closed()


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("EHLO", "501 5.5.4"), ("EHLO a b", "501"), ("HELO", "501"), ("MAIL FROM:<a@b.test>", "503 5.5.1"), ("NOOP", "250 2.0.0"),
        ("NOOP with words", "250"), ("RSET", "250 2.0.0"), ("RSET x", "501"), ("VRFY alice", "252 2.5.2"), ("VRFY", "501"),
        ("EXPN staff", "550 5.7.2"), ("HELP", "214 2.0.0"), ("XYZZY", "500 5.5.2"), ("", "500 5.5.2"), ("ETRN x", "502 5.5.1"),
        ("DATA", "503"), ("RCPT TO:<alice@example.test>", "503"), ("AUTH PLAIN", "503"), ("noop", "250"), ("QUIT", "221 2.0.0"),
        ("NOOP \0", "500 5.5.2"), ("NOOP \rx", "500 5.5.2"),
    ],
)  # fmt: skip
async def test_before_ehlo(face: Face, line: str, reply: str) -> None:
    client = await face.client()
    assert (await client.command(line)).startswith(reply)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("RCPT TO:<alice@example.test>", "503 5.5.1"), ("DATA", "503 5.5.1"), ("MAIL FROM:a@b.test", "501 5.1.7"),
        ("MAIL FROM:<a>", "553 5.1.7"), ("MAIL FROM:<>", "250 2.1.0"), ("MAIL FROM: <a@b.test>", "250"),
        ("MAIL FROM:<@r.test:a@b.test>", "250"), ("MAIL FROM:<a@[192.0.2.1]>", "250"), ("MAIL FROM:<a@b.test> SIZE=1", "250"),
        ("MAIL FROM:<a@b.test> SIZE=99999999", "552 5.3.4"), ("MAIL FROM:<a@b.test> NONSENSE=1", "555 5.5.4"),
        ("MAIL FROM:<mü@b.test>", "553 5.6.7"), ("MAIL FROM:<mü@b.test> SMTPUTF8", "250"), ("MAIL", "501"),
        ("AUTH PLAIN", "538 5.7.11"), ("AUTH NONSENSE", "504 5.5.4"), ("STARTTLS now", "501"),
    ],
)  # fmt: skip
async def test_after_ehlo(face: Face, line: str, reply: str) -> None:
    client = await face.ready()
    assert (await client.command(line)).startswith(reply)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("RCPT TO:<alice@example.test>", "250 2.1.5"), ("RCPT TO:<alice@EXAMPLE.TEST>", "250"),
        ("RCPT TO:<Alice@example.test>", "250"),
        ("RCPT TO:<nobody@example.test>", "550 5.1.1"), ("RCPT TO:<a@elsewhere.test>", "550 5.7.1"), ("RCPT TO:<alice>",
        "553 5.1.3"),
        ("RCPT TO:<>", "501 5.1.3"), ("RCPT TO:alice@example.test", "501 5.1.3"), ("RCPT TO:<mü@example.test>", "553 5.6.7"),
        ("RCPT TO:<alice@example.test> NOTIFY=NEVER ORCPT=rfc822;x@y.test", "250"),
        ("RCPT TO:<alice@example.test> NOTIFY=NOW", "501"),
        ("RCPT TO:<alice@example.test> X=1", "555"), ("RCPT TO:<@a.test,@b.test:alice@example.test>", "250"),
        ("RCPT TO:<postmaster>", "250"), ("RCPT TO:<PostMaster@example.test>", "250"), ("RCPT TO:<alice@[127.0.0.1]>", "250"),
        ("RCPT TO:<postmaster@[127.0.0.1]>", "250"), ("RCPT TO:<nobody@[127.0.0.1]>", "550 5.1.1"),
        ("RCPT TO:<alice@[192.0.2.7]>", "550 5.7.1"), ('RCPT TO:<"alice"@example.test>', "250"), ("MAIL FROM:<a@b.test>",
        "503 5.5.1"),
        ("DATA", "503 5.5.1"), ("DATA x", "501"), ("AUTH SCRAM-SHA-256", "503"),
        ("RCPT TO:<victim%elsewhere.test@example.test>", "550 5.1.1"), ("RCPT TO:<@example.test:victim@elsewhere.test>",
        "550 5.7.1"),
        ("RCPT TO:<victim@elsewhere.test@example.test>", "501"), ('RCPT TO:<"victim@elsewhere.test"@example.test>', "550 5.1.1"),
        ("RCPT TO:<elsewhere.test!victim@example.test>", "550 5.1.1"),
    ],
)  # fmt: skip
async def test_after_mail(face: Face, line: str, reply: str) -> None:
    client = await face.ready()
    await client.ok("MAIL FROM:<bob@remote.test>")
    assert (await client.command(line)).startswith(reply)


async def test_only_refused_recipients_leave_no_message(face: Face) -> None:
    client = await face.ready()
    await client.ok("MAIL FROM:<bob@remote.test>")
    assert (await client.command("RCPT TO:<nobody@example.test>")).startswith("550")
    assert (await client.command("DATA")).startswith("554 5.5.1")


async def test_helo_knows_no_parameters(face: Face) -> None:
    client = await face.client()
    await client.ok("HELO old.test")
    assert (await client.command("MAIL FROM:<a@b.test> SIZE=3")).startswith("555")
    await client.envelope()
    assert (await client.command("DATA")).startswith("354")
    client.write(b"Subject: x\r\n\r\n.\r\n")
    assert (await client.reply()).startswith("250")
    (octets,) = await face.messages()
    assert b" with SMTP\r\n" in octets


async def test_rset_and_ehlo_forget_the_transaction(face: Face) -> None:
    client = await face.ready()
    for line in ("RSET", "EHLO again.test"):
        await client.envelope()
        await client.ok(line)
        assert (await client.command("DATA")).startswith("503")


async def test_recipient_limit(face: Face) -> None:
    await face.set("maxRcptCount", "2")
    client = await face.ready()
    await client.envelope("alice@example.test", "bob@example.test")
    assert (await client.command("RCPT TO:<carol@example.test>")).startswith("452 4.5.3")
    assert (await client.command("DATA")).startswith("354")
    client.write(b"Subject: x\r\n\r\n.\r\n")
    assert (await client.reply()).startswith("250")
    assert len(await face.messages("bob@example.test")) == 1


async def test_too_many_errors_end_the_session(face: Face) -> None:
    face.endpoints["smtp"].max_errors = 3
    client = await face.ready()
    for _ in range(3):
        assert (await client.command("NONSENSE")).startswith("500")
    assert (await client.command("NONSENSE")).startswith("421 4.7.0")
    assert await client.closed()


async def test_quit_closes(face: Face) -> None:
    client = await face.ready()
    assert (await client.command("QUIT")).startswith("221")
    assert await client.closed()
