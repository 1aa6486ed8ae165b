"""A message from one server's submission port through its queue, its DNS and SMTP to another server's mailbox."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailstead.dns.resolver import Resolver
from mailstead.process.certificates import self_signed
from mailstead.queue.dispatcher import Dispatcher
from mailstead.queue.report import SystemMessage
from tests.dns.server import NameServerForTests
from tests.queue.harness import until
from tests.smtp.harness import ADMIN, HASH, PASSWORD, Face, make_certificate, running

LARGE = b"Subject: large\r\n\r\n" + (b".dots and lines\r\n" * 40_000)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate") / "server.pem")


@asynccontextmanager
async def dispatching(face: Face, dns: NameServerForTests, port: int, **options: str) -> AsyncIterator[None]:
    """The server's dispatcher, on its own settings."""
    settings = face.directory.settings
    for name, value in {"remotePort": str(port), "enableIPv6": "yes", **options}.items():
        await settings.set("smtpOutgoing", name, value, ADMIN)
    await settings.set("dnr", "nameservers", dns.settings_word, ADMIN)
    resolver = Resolver.from_settings(settings.service("dnr"))

    async def submit(message: SystemMessage) -> bool:
        outcome = await face.delivery.send_system_mail(message.recipient, message.octets, sender=message.sender)
        return outcome is not None

    dispatcher = Dispatcher(face.store, settings, resolver, submit, "mail.example.test")
    task = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        await dispatcher.stop()
        await task
        await resolver.close()


@asynccontextmanager
async def second(path: Path, certificate: Path, address: str) -> AsyncIterator[tuple[Face, int]]:
    """Another server, for other.test, listening at ``address``."""
    async with running(path, certificate) as face:
        await face.directory.create_domain("other.test", actor=ADMIN)
        await face.directory.create_account("other.test", "dora", hash=HASH, actor=ADMIN)
        made = face.endpoints["smtp"]
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: face.server.connection(made), address, 0)
        try:
            yield face, listener.sockets[0].getsockname()[1]
        finally:
            listener.close()


def submit(port: int, message: bytes, *recipients: str) -> None:
    """As a mail client does."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.starttls(context=context)
        client.login("alice@example.test", PASSWORD)
        client.sendmail("alice@example.test", recipients, message)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("message", [b"From: alice@example.test\r\nSubject: across\r\n\r\n.hello\r\n", LARGE])
async def test_message_crosses_to_the_other_server(tmp_path: Path, certificate: Path, address: str, message: bytes) -> None:
    zone = {("other.test", "MX"): ["10 mx.other.test."], ("mx.other.test", "AAAA" if ":" in address else "A"): [address]}
    async with (
        NameServerForTests(zone) as dns,
        running(tmp_path / "one", certificate) as one,
        second(tmp_path / "two", certificate, address) as (two, port),
        dispatching(one, dns, port),
    ):
        await asyncio.to_thread(submit, one.ports["submission"], message, "dora@other.test")
        await until(lambda: not one.queued())
        (got,) = await two.messages("dora@other.test")
        assert got.endswith(message[message.index(b"\r\n\r\n") :])
        assert got.count(b"Received: ") == 2 and b"ESMTPS" in got


async def test_trusted_authorities_are_in_the_data_directory(tmp_path: Path) -> None:
    zone = {("other.test", "MX"): ["10 mx.other.test."], ("mx.other.test", "A"): ["127.0.0.1"]}
    certificate = tmp_path / "mx.pem"
    self_signed(certificate, ["mx.other.test"])
    async with (
        NameServerForTests(zone) as dns,
        running(tmp_path / "one", certificate) as one,
        second(tmp_path / "two", certificate, "127.0.0.1") as (two, port),
        dispatching(one, dns, port, verifyCertificates="yes"),
    ):
        trusted = one.directory.database.path.parent.parent / "certs" / "trusted.pem"
        trusted.parent.mkdir(exist_ok=True)
        trusted.write_bytes(certificate.read_bytes())
        await one.directory.settings.set("server", "caBundlePath", "certs/trusted.pem", ADMIN)
        message = b"From: alice@example.test\r\nSubject: across\r\n\r\nhello\r\n"
        await asyncio.to_thread(submit, one.ports["submission"], message, "dora@other.test")
        await until(lambda: not one.queued())
        assert len(await two.messages("dora@other.test")) == 1


async def test_unknown_recipient_comes_back_to_the_senders_mailbox(tmp_path: Path, certificate: Path) -> None:
    zone = {("other.test", "MX"): ["10 mx.other.test."], ("mx.other.test", "A"): ["127.0.0.1"]}
    async with (
        NameServerForTests(zone) as dns,
        running(tmp_path / "one", certificate) as one,
        second(tmp_path / "two", certificate, "127.0.0.1") as (two, port),
        dispatching(one, dns, port),
    ):
        text = b"From: alice@example.test\r\nSubject: x\r\n\r\nx\r\n"
        await asyncio.to_thread(submit, one.ports["submission"], text, "nobody@other.test", "dora@other.test")
        await until(lambda: not one.queued())
        assert len(await two.messages("dora@other.test")) == 1
        (notice,) = await one.messages("alice@example.test")
        assert b"nobody@other.test" in notice and b"Action: failed" in notice and b"dora@other.test" not in notice
