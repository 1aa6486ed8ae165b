"""Clients that other people wrote."""

from __future__ import annotations

import asyncio
import shutil
import smtplib
from collections.abc import Callable
from email.message import EmailMessage

import aiosmtplib
import pytest

from tests.smtp.harness import PASSWORD, Face, client_context


def letter(subject: str = "hello", to: str = "bob@example.test") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "alice@example.test", to, subject
    message.set_content("Grüße\n.\n..dots\n" * 20)
    return message


async def in_thread(work: Callable[[], object]) -> object:
    return await asyncio.to_thread(work)


async def test_smtplib_submits(face: Face) -> None:
    def work() -> None:
        with smtplib.SMTP("127.0.0.1", face.ports["submission"], timeout=60) as client:
            client.starttls(context=client_context())
            client.login("alice@example.test", PASSWORD)
            assert client.send_message(letter()) == {}
            refused = client.sendmail("alice@example.test", ["bob@example.test", "nobody@example.test"], "Subject: two\r\n\r\nx")
            assert refused["nobody@example.test"][0] == 550
            with pytest.raises(smtplib.SMTPSenderRefused):
                client.sendmail("bob@example.test", ["bob@example.test"], "Subject: x\r\n\r\nx")

    await in_thread(work)
    first, second = await face.messages("bob@example.test")
    assert b"Subject: hello" in first
    assert b"Subject: two" in second


async def test_smtplib_over_implicit_tls_with_login(face: Face) -> None:
    def work() -> None:
        with smtplib.SMTP_SSL("127.0.0.1", face.ports["smtps"], timeout=60, context=client_context()) as client:
            client.ehlo()
            client.user, client.password = "info@example.test", PASSWORD  # type: ignore[attr-defined]
            assert client.auth("LOGIN", client.auth_login)[0] == 235
            client.send_message(letter())

    await in_thread(work)
    assert len(await face.messages("bob@example.test")) == 1


async def test_smtplib_utf8(face: Face) -> None:
    def work() -> None:
        with smtplib.SMTP("127.0.0.1", face.ports["smtp"], timeout=60) as client:
            message = letter()
            message.replace_header("From", "müller@remote.test")
            client.send_message(message, from_addr="müller@remote.test")

    await in_thread(work)
    (octets,) = await face.messages("bob@example.test")
    assert octets.startswith("Return-Path: <müller@remote.test>".encode())


async def test_aiosmtplib(face: Face) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=face.ports["submission"], start_tls=True, tls_context=client_context())
    await client.connect()
    await client.login("alice@example.test", PASSWORD)
    for number in range(3):
        errors, reply = await client.send_message(letter(f"number {number}"))
        assert errors == {}
        assert reply.startswith("2.0.0 Ok")
    await client.quit()
    assert len(await face.messages("bob@example.test")) == 3


@pytest.mark.parametrize(
    ("port", "options"),
    [
        ("smtp", []),
        ("smtp", ["--pipeline"]),
        ("smtp", ["-tls"]),
        ("submission", ["-tls", "--auth", "PLAIN"]),
        ("submission", ["-tls", "--auth", "LOGIN"]),
        ("smtps", ["--tls-on-connect", "--auth", "PLAIN"]),
        ("smtp", ["--protocol", "SMTP"]),
    ],
)
async def test_swaks(face: Face, port: str, options: list[str]) -> None:
    program = shutil.which("swaks")
    assert program is not None, "swaks is part of the test equipment"
    login = ["--auth-user", "alice@example.test", "--auth-password", PASSWORD] if "--auth" in options else []
    process = await asyncio.create_subprocess_exec(
        program, "--server", "127.0.0.1", "--port", str(face.ports[port]),
        "--from", "alice@example.test", "--to", "bob@example.test",
        "--header", "Subject: from swaks", "--timeout", "20", *options, *login,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode(errors="replace")
    (octets,) = await face.messages("bob@example.test")
    assert b"Subject: from swaks\r\n" in octets
