"""Hosts that fail at every stage: what is retried, what is returned, and that nothing is lost or sent twice."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from mailstead.process.certificates import self_signed
from mailstead.queue.detail import QueueDetail
from tests.queue.fake_mx import EXTENSIONS, FakeMx
from tests.queue.harness import MESSAGE, until, world, zone_for


@pytest.fixture(scope="session")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    path = tmp_path_factory.mktemp("tls") / "mx.pem"
    self_signed(path, ["mx.there.test"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.ca_file = str(path)  # type: ignore[attr-defined]
    return context


STAGES = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "data"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("pipelining", [True, False])
async def test_lost_connection_defers_and_the_retry_delivers_once(tmp_path: Path, stage: str, pipelining: bool) -> None:
    extensions = EXTENSIONS if pipelining else EXTENSIONS[1:]
    async with (
        FakeMx(drop=stage, extensions=extensions) as mx,
        world(tmp_path, mx.port, processing={"schedInterval": 1, "maxSchedInterval": 5}) as here,
    ):
        await here.send("b@there.test")
        await until(lambda: here.waiting and here.waiting[0][2] >= 1)
        assert here.waiting[0][4].startswith("4.")
        mx.drop = ""
        await mx.wait()
        await here.empty()
        assert len(mx.messages) == 1 and not here.outbox.messages


@pytest.mark.parametrize("stage", ["EHLO", "MAIL", "RCPT", "DATA", "data"])
async def test_silent_host_costs_the_timeout_only(tmp_path: Path, stage: str) -> None:
    outgoing = {"commandTimeout": 1, "dataTimeout": 1}
    async with FakeMx(stall=stage) as mx, world(tmp_path, mx.port, outgoing=outgoing) as here:
        await here.send("b@there.test")
        await until(lambda: here.waiting and here.waiting[0][2] >= 1)
        assert "no reply in time" in here.waiting[0][4]


@pytest.mark.parametrize(
    ("stage", "reply", "status"),
    [
        ("MAIL", "550 5.7.1 go away", "5.7.1"),
        ("RCPT", "550 no such user", "5.1.1"),
        ("DATA", "554 5.6.0 no", "5.6.0"),
        ("data", "554 5.7.1 it is spam", "5.7.1"),
        ("data", "552 too large", "5.3.4"),
    ],
)
@pytest.mark.parametrize("pipelining", [True, False])
async def test_permanent_refusal_is_returned_with_the_hosts_words(
    tmp_path: Path, stage: str, reply: str, status: str, pipelining: bool
) -> None:
    extensions = EXTENSIONS if pipelining else ()
    async with FakeMx(replies={stage: reply}, extensions=extensions) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", "c@there.test")
        await here.empty()
        (notice,) = here.outbox.messages
        assert f"Status: {status}".encode() in notice.octets and reply.encode() in notice.octets
        assert b"b@there.test" in notice.octets and b"c@there.test" in notice.octets
        assert not mx.messages


@pytest.mark.parametrize(
    ("stage", "reply"),
    [("MAIL", "451 4.3.0 x"), ("RCPT", "450 4.2.1 x"), ("DATA", "451 x"), ("data", "451 4.3.0 x"), ("greeting", "554 no")],
)
async def test_temporary_refusal_is_tried_again(tmp_path: Path, stage: str, reply: str) -> None:
    replies = {stage: [reply, "220 hello" if stage == "greeting" else ""]}
    if stage != "greeting":
        replies[stage] = [reply, {"DATA": "354 go on", "MAIL": "250 ok", "RCPT": "250 ok", "data": "250 ok"}[stage]]
    async with (
        FakeMx(replies=replies) as mx,
        world(tmp_path, mx.port, processing={"schedInterval": 1, "maxSchedInterval": 5}) as here,
    ):
        await here.send("b@there.test")
        await mx.wait()
        await here.empty()
        assert len(mx.messages) == 1


async def test_next_host_takes_over(tmp_path: Path) -> None:
    zone = {
        ("there.test", "MX"): ["10 down.there.test.", "20 rude.there.test.", "30 good.there.test."],
        ("down.there.test", "A"): ["127.0.0.5"],
        ("rude.there.test", "A"): ["127.0.0.6"],
        ("good.there.test", "A"): ["127.0.0.7"],
    }
    async with FakeMx(address="127.0.0.7") as good, FakeMx(address="127.0.0.6", port=good.port) as rude:
        rude.replies["greeting"] = "421 too busy"
        async with world(tmp_path, good.port, zone) as here:
            await here.send("b@there.test")
            await good.wait()
            assert rude.connections == 1


async def test_nonsense_replies_end_the_connection(tmp_path: Path) -> None:
    for number, greeting in enumerate(("hello", "220" + "x" * 10_000, "220-a\r\n250 b", "220-x\r\n" * 1000 + "220 x")):
        async with FakeMx(replies={"greeting": greeting}) as mx, world(tmp_path / str(number), mx.port) as here:
            await here.send("b@there.test")
            await until(lambda w=here: w.waiting and w.waiting[0][2] >= 1)
            assert here.waiting[0][4].startswith("4.4.")


async def test_empty_message_ends_a_data_phase_without_recipients(tmp_path: Path) -> None:
    replies = {"RCPT": "550 5.1.1 no", "DATA": "354 go on anyway"}
    async with FakeMx(replies=replies) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test")
        await here.empty()
        mx.replies.clear()
        await here.send("c@there.test")
        (taken,) = await mx.wait()
        assert taken.octets == MESSAGE and taken.connection == 1


# -- TLS ---------------------------------------------------------------------------------------------------------------


async def test_tls_is_used_where_offered(tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    async with FakeMx(tls=server_tls, extensions=(*EXTENSIONS, "STARTTLS")) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test")
        (taken,) = await mx.wait()
        assert taken.tls and taken.octets == MESSAGE
        assert mx.commands[:3] == ["EHLO out.here.test", "STARTTLS", "EHLO out.here.test"]


async def test_tls_is_not_used_where_it_is_switched_off(tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    async with (
        FakeMx(tls=server_tls, extensions=(*EXTENSIONS, "STARTTLS")) as mx,
        world(tmp_path, mx.port, outgoing={"allowStartTLS": False}) as here,
    ):
        await here.send("b@there.test")
        assert not (await mx.wait())[0].tls


@pytest.mark.parametrize("how", ["handshake", "refused"])
async def test_broken_tls_is_followed_by_the_clear(tmp_path: Path, how: str) -> None:
    replies = {"STARTTLS": "454 4.7.0 not now"} if how == "refused" else {}
    async with (
        FakeMx(extensions=(*EXTENSIONS, "STARTTLS"), break_tls=how == "handshake", replies=replies) as mx,
        world(tmp_path, mx.port) as here,
    ):
        await here.send("b@there.test")
        (taken,) = await mx.wait()
        assert not taken.tls and taken.octets == MESSAGE


async def test_required_tls_is_waited_for(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port, outgoing={"requireTls": True}) as here:
        await here.send("b@there.test")
        await until(lambda: here.waiting and here.waiting[0][2] >= 1)
        assert here.waiting[0][4].startswith("4.7.4") and not mx.messages


async def test_octets_behind_starttls_are_not_taken_for_protected_ones(tmp_path: Path) -> None:
    replies = {"STARTTLS": "220 go ahead\r\n250 injected"}
    async with (
        FakeMx(extensions=(*EXTENSIONS, "STARTTLS"), replies=replies, break_tls=True) as mx,
        world(tmp_path, mx.port) as here,
    ):
        await here.send("b@there.test")
        await until(lambda: here.waiting and here.waiting[0][2] >= 1)
        assert not mx.messages


async def test_certificate_is_checked_where_that_is_asked(tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    zone = {**zone_for("there.test"), ("wrong.test", "MX"): ["10 other.test."], ("other.test", "A"): ["127.0.0.1"]}
    async with (
        FakeMx(tls=server_tls, extensions=(*EXTENSIONS, "STARTTLS")) as mx,
        world(tmp_path, mx.port, zone, outgoing={"verifyCertificates": True}) as here,
    ):
        here.settings.service("server").caBundlePath = server_tls.ca_file  # type: ignore[attr-defined]
        await here.send("b@there.test")
        await here.send("b@wrong.test")
        await mx.wait(1)
        await until(lambda: len(here.waiting) == 1 and here.waiting[0][2] >= 1)
        assert here.waiting[0][0] == "b@wrong.test" and here.waiting[0][4].startswith("4.7.5")
        assert len(mx.messages) == 1


# -- smart host --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_smart_host_with_login_takes_everything(tmp_path: Path, mechanism: str) -> None:
    async with FakeMx(users={"relay": "secret"}, extensions=(*EXTENSIONS, f"AUTH {mechanism}")) as mx:
        outgoing = {
            "smartHost": "[127.0.0.1]",
            "smartHostPort": mx.port,
            "smartHostUser": "relay",
            "smartHostPassword": "secret",
        }
        async with world(tmp_path, 1, {}, outgoing=outgoing) as here:
            await here.send("b@one.test", "c@two.test")
            (taken,) = await mx.wait()
            assert taken.user == "relay" and taken.recipients == ["b@one.test", "c@two.test"]


async def test_smart_host_over_tls_from_the_first_octet(tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    async with FakeMx(tls=server_tls, implicit=True) as mx:
        outgoing = {"smartHost": "relay.test", "smartHostPort": mx.port, "smartHostTls": True}
        async with world(tmp_path, 1, {("relay.test", "A"): ["127.0.0.1"]}, outgoing=outgoing) as here:
            await here.send("b@one.test")
            assert (await mx.wait())[0].tls


async def test_wrong_password_defers(tmp_path: Path) -> None:
    async with FakeMx(users={"relay": "secret"}, extensions=(*EXTENSIONS, "AUTH PLAIN")) as mx:
        outgoing = {"smartHost": "[127.0.0.1]", "smartHostPort": mx.port, "smartHostUser": "relay", "smartHostPassword": "no"}
        async with world(tmp_path, 1, {}, outgoing=outgoing) as here:
            await here.send("b@one.test")
            await until(lambda: here.waiting and here.waiting[0][2] >= 1)
            assert here.waiting[0][4].startswith("4.7.8")


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "status"),
    [
        ({}, "5.1.2"),
        ({("there.test", "MX"): ["0 ."]}, "5.1.10"),
        ({("there.test", "TXT"): ['"x"']}, "5.1.2"),
        ({("there.test", "MX"): ["10 nowhere.test."]}, "5.4.4"),
    ],
)
async def test_unroutable_domain_is_returned(tmp_path: Path, records: dict[tuple[str, str], list[str]], status: str) -> None:
    async with world(tmp_path, 25, dict(records)) as here:
        await here.send("b@there.test")
        await here.empty()
        assert f"Status: {status}".encode() in here.outbox.messages[0].octets


async def test_name_server_trouble_defers(tmp_path: Path) -> None:
    async with world(tmp_path, 25, {("there.test", "MX"): "SERVFAIL"}) as here:
        await here.send("b@there.test")
        await until(lambda: here.waiting and here.waiting[0][2] >= 1)
        assert here.waiting[0][4].startswith("4.4.3")


async def test_loop_to_ourselves_is_returned(tmp_path: Path) -> None:
    async with world(tmp_path, 25, is_own=lambda address, port: (address, port) == ("127.0.0.1", 25)) as here:
        await here.send("b@there.test")
        await here.empty()
        assert b"Status: 5.4.6" in here.outbox.messages[0].octets


async def test_unreadable_message_waits_and_does_not_harm_others(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        whole = here.store.read_log
        bad = await here.send("gone@there.test", due=4_000_000_000)
        place = here.store.reader(1000).row("SELECT file, offset FROM entry WHERE mid = ?", (bad,))

        def read(file: int, offset: int, length: int) -> bytes:
            if (file, offset) == place:
                raise OSError("the disk is bad")
            return whole(file, offset, length)

        here.store.read_log = read  # type: ignore[method-assign]
        from mailstead.queue.service import QueueService

        await QueueService(here.store, here.dispatcher).retry(bad)
        await here.send("b@there.test", detail=QueueDetail())
        await mx.wait()
        await until(lambda: here.waiting and here.waiting[0][2] >= 1)
        assert here.waiting[0][4].startswith("4.3.0") and not here.outbox.messages
