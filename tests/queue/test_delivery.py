"""Messages from the queue to a mail exchanger: what arrives there, and what is left here."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailstead.queue.detail import QueueDetail
from tests.queue.fake_mx import EXTENSIONS, FakeMx
from tests.queue.harness import MESSAGE, until, world, zone_for


async def test_message_arrives_as_it_was_and_leaves_the_queue(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", "c@there.test")
        (taken,) = await mx.wait()
        assert taken.octets == MESSAGE
        assert (taken.sender, taken.recipients) == ("a@here.test", ["b@there.test", "c@there.test"])
        await here.empty()
        assert mx.commands[0] == "EHLO out.here.test"
        assert not here.outbox.messages


async def test_one_bad_recipient_of_three_is_returned_and_another_waits(tmp_path: Path) -> None:
    replies = {"RCPT bad@there.test": "550 5.1.1 no such user here", "RCPT grey@there.test": "451 4.7.1 come back later"}
    async with FakeMx(replies=replies) as mx, world(tmp_path, mx.port) as here:
        await here.send("bad@there.test", "good@there.test", "grey@there.test")
        (taken,) = await mx.wait()
        assert taken.recipients == ["good@there.test"]
        await until(lambda: len(here.waiting) == 1 and here.outbox.messages)
        ((address, _, attempts, _, status),) = here.waiting
        assert (address, attempts) == ("grey@there.test", 1)
        assert status == "4.7.1 mx.there.test[127.0.0.1]: 451 4.7.1 come back later"
        (notice,) = here.outbox.messages
        assert notice.recipient == "a@here.test" and notice.sender == ""
        assert b"bad@there.test" in notice.octets and b"good@there.test" not in notice.octets
        assert b"550 5.1.1 no such user here" in notice.octets and b"Status: 5.1.1" in notice.octets


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",), EXTENSIONS, (*EXTENSIONS, "CHUNKING")])
async def test_any_set_of_extensions_will_do(tmp_path: Path, extensions: tuple[str, ...]) -> None:
    async with FakeMx(extensions=extensions) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", "c@there.test")
        (taken,) = await mx.wait()
        assert taken.octets == MESSAGE and len(taken.recipients) == 2
        await here.empty()


async def test_host_without_ehlo_is_spoken_to_with_helo(tmp_path: Path) -> None:
    async with FakeMx(replies={"EHLO": "502 5.5.1 what?"}) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test")
        (taken,) = await mx.wait()
        assert taken.mail == "MAIL FROM:<a@here.test>"
        assert "HELO out.here.test" in mx.commands


async def test_long_lines_and_binary_go_by_bdat(tmp_path: Path) -> None:
    body = b"Subject: x\r\n\r\n" + b"y" * 5000 + b"\r\n.\r\n"
    binary = b"Subject: x\r\n\r\n\0\n\r.\r\n"
    async with FakeMx(extensions=(*EXTENSIONS, "CHUNKING", "BINARYMIME")) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", body=body)
        await mx.wait(1)
        await here.send("b@there.test", body=binary, detail=QueueDetail(body="BINARYMIME"))
        first, second = await mx.wait(2)
        assert first.by_bdat and first.octets == body
        assert second.by_bdat and second.octets == binary and "BODY=BINARYMIME" in second.mail


async def test_binary_is_returned_where_the_host_cannot_take_it(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", detail=QueueDetail(body="BINARYMIME"))
        await here.empty()
        assert b"Status: 5.6.1" in here.outbox.messages[0].octets
        assert not mx.messages


async def test_bare_line_feeds_cannot_end_the_message_early(tmp_path: Path) -> None:
    body = b"Subject: x\r\n\r\nfirst\n.\nMAIL FROM:<evil@there.test>\r.\rend"
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", body=body)
        (taken,) = await mx.wait()
        assert taken.octets == b"Subject: x\r\n\r\nfirst\r\n.\r\nMAIL FROM:<evil@there.test>\r\n.\r\nend\r\n"


async def test_large_message_is_streamed_from_its_file(tmp_path: Path) -> None:
    line = b".0123456789" * 6 + b"\r\n"
    body = b"Subject: big\r\n\r\n" + line * 50_000
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", body=body, spooled=True)
        (taken,) = await mx.wait()
        assert taken.octets == b"Received: here\r\n" + body
        assert f" SIZE={len(body) + 16}" in taken.mail


async def test_overlay_goes_in_front(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", overlay=b"X-Overlay: yes\r\n")
        (taken,) = await mx.wait()
        assert taken.octets == b"X-Overlay: yes\r\n" + MESSAGE


async def test_utf8_addresses_need_smtputf8(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        await here.send("jürgen@there.test", detail=QueueDetail(smtputf8=True))
        (taken,) = await mx.wait()
        assert taken.recipients == ["jürgen@there.test"] and " SMTPUTF8" in taken.mail


async def test_utf8_address_is_returned_by_a_host_without_smtputf8_but_a_domain_is_written_in_ascii(tmp_path: Path) -> None:
    zone = {**zone_for("there.test"), **zone_for("xn--bcher-kva.test")}
    async with FakeMx(extensions=("8BITMIME",)) as mx, world(tmp_path, mx.port, zone) as here:
        await here.send("jürgen@there.test", "plain@there.test", detail=QueueDetail(smtputf8=True))
        await here.send("b@bücher.test", detail=QueueDetail(smtputf8=True))
        taken = await mx.wait(2)
        assert sorted(address for each in taken for address in each.recipients) == ["b@xn--bcher-kva.test", "plain@there.test"]
        await here.empty()
        assert b"5.6.7" in here.outbox.messages[0].octets


async def test_message_over_the_size_limit_is_returned_without_being_sent(tmp_path: Path) -> None:
    async with FakeMx(extensions=("SIZE 50",)) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test")
        await here.empty()
        assert b"Status: 5.3.4" in here.outbox.messages[0].octets
        assert not any(command.startswith("MAIL") for command in mx.commands)


async def test_dsn_wishes_are_passed_on(tmp_path: Path) -> None:
    wishes = QueueDetail(notify="SUCCESS,FAILURE", orcpt="rfc822;orig+40x.test", envid="QQ314", ret="HDRS")
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", detail=wishes)
        (taken,) = await mx.wait()
        assert " RET=HDRS ENVID=QQ314" in taken.mail
        assert taken.rcpt == ["RCPT TO:<b@there.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;orig+40x.test"]
        await here.empty()
        assert not here.outbox.messages


async def test_address_that_would_break_the_command_is_returned(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port) as here:
        await here.send("b> x@there.test")
        await here.empty()
        assert b"Status: 5.1.3" in here.outbox.messages[0].octets
        assert not any("b> x" in command for command in mx.commands)


async def test_connection_is_used_again_and_renewed_when_the_host_closed_it(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port, outgoing={"keepAliveTimeout": 60}) as here:
        for count in (1, 2, 3):
            await here.send("b@there.test")
            await mx.wait(count)
            await here.empty()
        assert [taken.connection for taken in mx.messages] == [1, 1, 1]
        mx.drop = "MAIL"
        await here.send("b@there.test")
        await until(lambda: here.waiting and here.waiting[0][2] >= 1)
        mx.drop = ""
        here.zone[("other.test", "MX")] = ["10 mx.there.test."]
        await here.send("b@other.test")
        await mx.wait(4)


async def test_connection_carries_no_more_messages_than_allowed(tmp_path: Path) -> None:
    outgoing = {"keepAliveTimeout": 60, "maxMessagesPerConnection": 2, "maxConnectionsPerDomain": 1}
    async with FakeMx() as mx, world(tmp_path, mx.port, outgoing=outgoing) as here:
        for _ in range(5):
            await here.send("b@there.test")
        await mx.wait(5)
        await here.empty()
        assert mx.connections == 3 and mx.most_open <= 2


async def test_recipients_are_split_over_transactions(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port, outgoing={"maxRecipientsPerTransaction": 100}) as here:
        await here.send(*(f"u{i}@there.test" for i in range(250)))
        await mx.wait(3)
        await here.empty()
        assert sorted(len(taken.recipients) for taken in mx.messages) == [50, 100, 100]


async def test_host_that_takes_few_recipients_at_once_gets_all_of_them(tmp_path: Path) -> None:
    seen: list[str] = []

    def limited(line: str) -> str | None:
        seen.append(line)
        return "452 4.5.3 too many recipients" if len(seen) % 4 == 0 else None

    async with FakeMx(replies={"RCPT": limited}) as mx, world(tmp_path, mx.port) as here:
        await here.send(*(f"u{i}@there.test" for i in range(9)))
        await here.empty()
        addresses = [address for taken in mx.messages for address in taken.recipients]
        assert sorted(addresses) == [f"u{i}@there.test" for i in range(9)]


async def test_announced_limit_of_recipients_is_kept(tmp_path: Path) -> None:
    async with FakeMx(extensions=(*EXTENSIONS, "LIMITS RCPTMAX=2")) as mx, world(tmp_path, mx.port) as here:
        await here.send(*(f"u{i}@there.test" for i in range(5)))
        await here.empty()
        assert [len(taken.recipients) for taken in mx.messages] == [2, 2, 1]


async def test_connections_per_destination_are_limited(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port, outgoing={"maxConnectionsPerDomain": 3}) as here:
        for _ in range(30):
            await here.send("b@there.test")
        await mx.wait(30)
        await here.empty()
        assert mx.most_open <= 4


async def test_one_connection_in_all_is_enough_for_many_destinations(tmp_path: Path) -> None:
    domains = [f"d{i}.test" for i in range(10)]
    async with FakeMx() as mx, world(tmp_path, mx.port, zone_for(*domains), outgoing={"maxConnections": 1}) as here:
        for domain in domains:
            await here.send(f"b@{domain}")
        await mx.wait(10)
        await here.empty()


async def test_local_address_is_bound(tmp_path: Path) -> None:
    async with FakeMx() as mx, world(tmp_path, mx.port, outgoing={"localAddress": "127.0.0.77"}) as here:
        await here.send("b@there.test")
        await mx.wait()
