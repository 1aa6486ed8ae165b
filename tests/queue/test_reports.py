"""Notices to the sender (SMO-08, 09, 10; RFC 3461, 3464)."""

from __future__ import annotations

import asyncio
import email
import email.message
import email.policy
from pathlib import Path
from typing import Any

import pytest

from mailstead.queue.detail import QueueDetail
from mailstead.queue.entry import DELAY_NOTIFIED
from mailstead.queue.report import decode_xtext
from tests.queue.fake_mx import EXTENSIONS, FakeMx
from tests.queue.harness import until, world

GONE = {"RCPT": "550 5.1.1 no such user"}
FAST = {"schedInterval": 1, "maxSchedInterval": 5}


def parts(octets: bytes) -> tuple[email.message.EmailMessage, Any, Any, Any]:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, email.message.EmailMessage)
    human, status, returned = message.iter_parts()
    return message, human, status, returned


async def test_bounce_is_a_delivery_report(tmp_path: Path) -> None:
    wishes = QueueDetail(orcpt="rfc822;first+40last.test", envid="A+20B", ret="HDRS")
    async with FakeMx(replies=GONE) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", detail=wishes)
        await here.empty()
    (notice,) = here.outbox.messages
    message, _, status, returned = parts(notice.octets)
    assert message["To"] == "a@here.test" and "MAILER-DAEMON@out.here.test" in message["From"]
    assert message["Auto-Submitted"] == "auto-replied"
    text = status.as_string()
    assert "Reporting-MTA: dns; out.here.test" in text and "Original-Envelope-Id: A B" in text
    assert "Original-Recipient: rfc822; first@last.test" in text and "Final-Recipient: rfc822; b@there.test" in text
    assert "Remote-MTA: dns; mx.there.test" in text and "Diagnostic-Code: smtp; 550 5.1.1 no such user" in text
    assert "Action: failed" in text
    assert returned.get_content_type() == "text/rfc822-headers" and b"line one" not in notice.octets


@pytest.mark.parametrize(("ret", "attach", "whole"), [("FULL", "header", True), ("", "full", True), ("", "header", False)])
async def test_sender_and_setting_say_what_is_returned(tmp_path: Path, ret: str, attach: str, whole: bool) -> None:
    async with FakeMx(replies=GONE) as mx, world(tmp_path, mx.port, outgoing={"ndrAttachSource": attach}) as here:
        await here.send("b@there.test", detail=QueueDetail(ret=ret))
        await here.empty()
    assert (b"line one" in here.outbox.messages[0].octets) is whole


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS", "DELAY"])
async def test_failure_is_not_reported_to_who_does_not_want_it(tmp_path: Path, notify: str) -> None:
    async with FakeMx(replies=GONE) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", detail=QueueDetail(notify=notify))
        await here.empty()
    assert not here.outbox.messages


async def test_nobody_is_told_about_a_message_without_sender(tmp_path: Path) -> None:
    async with FakeMx(replies=GONE) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", sender="")
        await here.empty()
    assert not here.outbox.messages and "MAIL FROM:<> SIZE=" in " ".join(mx.commands)


async def test_notices_can_be_switched_off(tmp_path: Path) -> None:
    async with FakeMx(replies=GONE) as mx, world(tmp_path, mx.port, outgoing={"sendNdr": False}) as here:
        await here.send("b@there.test")
        await here.empty()
    assert not here.outbox.messages


async def test_success_is_reported_as_relayed_where_the_next_host_reports_nothing(tmp_path: Path) -> None:
    extensions = tuple(word for word in EXTENSIONS if word != "DSN")
    details = [QueueDetail(notify="SUCCESS"), QueueDetail()]
    async with FakeMx(extensions=extensions) as mx, world(tmp_path, mx.port) as here:
        await here.send("b@there.test", "c@there.test", detail=details)
        await here.empty()
        (notice,) = here.outbox.messages
        _, _, status, _ = parts(notice.octets)
        assert "Action: relayed" in status.as_string() and "c@there.test" not in status.as_string()
        assert len(mx.messages) == 1 and "NOTIFY" not in mx.messages[0].rcpt[0]


async def test_owed_report_is_repeated_but_the_message_is_not(tmp_path: Path) -> None:
    async with FakeMx(extensions=()) as mx, world(tmp_path, mx.port) as here:
        here.outbox.accepting = False
        mid = await here.send("b@there.test", detail=QueueDetail(notify="SUCCESS"))
        await until(lambda: here.outbox.offered)
        await here.stop()
        here.outbox.accepting = True
        here.start()
        from mailstead.queue.service import QueueService

        await QueueService(here.store, here.dispatcher).retry(mid)
        await here.empty()
        assert len(mx.messages) == 1 and len(here.outbox.messages) == 1


async def test_recipient_stays_until_its_bounce_is_accepted(tmp_path: Path) -> None:
    async with FakeMx(replies=GONE) as mx, world(tmp_path, mx.port) as here:
        here.outbox.accepting = False
        mid = await here.send("b@there.test")
        await until(lambda: here.waiting and here.waiting[0][3])
        assert here.waiting[0][4].startswith("5.1.1")
        here.outbox.accepting = True
        from mailstead.queue.service import QueueService

        async with asyncio.timeout(60):
            while here.waiting:  # a retry says nothing to an attempt that is at its end
                await QueueService(here.store, here.dispatcher).retry(mid)
                await asyncio.sleep(0.1)
        rcpt = [command for command in mx.commands if command.startswith("RCPT")]
        assert len(here.outbox.messages) == 1 and len(rcpt) == 1


async def test_delay_is_told_once_at_its_attempt_and_the_end_after_the_last(tmp_path: Path) -> None:
    processing = {"schedInterval": 1, "maxSchedInterval": 1, "maxRetryCount": 4}
    replies = {"RCPT": "451 4.2.1 not today"}
    async with (
        FakeMx(replies=replies) as mx,
        world(tmp_path, mx.port, processing=processing, outgoing={"ndrRetryCount": 2}) as here,
    ):
        await here.send("b@there.test")
        await until(lambda: here.waiting and here.waiting[0][3] & DELAY_NOTIFIED)
        assert here.waiting[0][2] >= 2
        await here.empty()
        tries = [command for command in mx.commands if command.startswith("RCPT")]
        assert len(tries) == 5
        delayed, failed = here.outbox.messages
        text = parts(delayed.octets)[2].as_string()
        assert "Action: delayed" in text and "Will-Retry-Until" in text and "451 4.2.1 not today" in text
        text = parts(failed.octets)[2].as_string().replace("\n ", " ")
        assert "Action: failed" in text and "Status: 5.4.7" in text and "451 4.2.1 not today" in text


@pytest.mark.parametrize("notify", ["NEVER", "FAILURE"])
async def test_delay_is_not_told_to_who_does_not_want_it(tmp_path: Path, notify: str) -> None:
    replies = {"RCPT": "451 4.2.1 not today"}
    async with FakeMx(replies=replies) as mx, world(tmp_path, mx.port, outgoing={"ndrRetryCount": 1}) as here:
        await here.send("b@there.test", detail=QueueDetail(notify=notify))
        await until(lambda: here.waiting and here.waiting[0][2] >= 1)
        assert not here.outbox.messages


async def test_beyond_ascii(tmp_path: Path) -> None:
    async with FakeMx(replies=GONE) as mx, world(tmp_path, mx.port) as here:
        await here.send("jürgen@there.test", sender="renée@here.test", detail=QueueDetail(smtputf8=True))
        await here.empty()
    (notice,) = here.outbox.messages
    assert notice.smtputf8 and b"message/global-delivery-status" in notice.octets


def test_xtext() -> None:
    assert decode_xtext("a+2Bb+40c") == "a+b@c"
    assert decode_xtext("+ZZ") == "+ZZ"


def test_unreadable_wishes_are_the_defaults() -> None:
    assert QueueDetail.decode(b"\xc1 rubbish") == QueueDetail() == QueueDetail.decode(b"")
    wishes = QueueDetail("SUCCESS", "rfc822;x", "e", "FULL", True, "8BITMIME")
    assert QueueDetail.decode(wishes.encode()) == wishes
