"""NOTIFY (RFC 5465): across processes, with long answers in progress, with many mailboxes; and its grammar."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.imap import notify, notify_request
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.mailbox.errors import StoreUnavailable
from tests.imap.conftest import Face, message, start_face


@pytest.fixture
async def faces(tmp_path: Path) -> AsyncIterator[tuple[Face, Face]]:
    first, stop_first = await start_face(tmp_path, "w0")
    second, stop_second = await start_face(tmp_path, "w1")
    yield first, second
    await stop_second()
    await stop_first()


async def test_news_come_from_another_process(faces: tuple[Face, Face]) -> None:
    """Counters, names and subscriptions, each by way of the other process's store."""
    listening, acting = await faces[0].client(), await faces[1].client()
    await listening.ok("NOTIFY SET (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))")
    await acting.append("Sent", message())
    assert (await listening.line()).startswith(b"* STATUS Sent (MESSAGES 1 ")
    await acting.ok("CREATE made")
    assert await listening.line() == b'* LIST (\\HasNoChildren) "/" made'
    await acting.ok("SUBSCRIBE made")
    assert await listening.line() == b'* LIST (\\HasNoChildren \\Subscribed) "/" made'
    await acting.append("made", message())
    assert (await listening.line()).startswith(b"* STATUS made (MESSAGES 1 ")
    await acting.ok("RENAME made other")
    assert await listening.line() == b'* LIST (\\HasNoChildren) "/" other ("OLDNAME" (made))'
    await acting.ok("DELETE other")
    assert await listening.line() == b'* LIST (\\NonExistent) "/" other'


async def test_news_come_from_a_process_of_its_own(tmp_path: Path) -> None:
    face, stop = await start_face(tmp_path, "w0")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.imap.acting_process", str(tmp_path), "w1", cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip

    async def order(text: str) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(text.encode() + b"\n")
        assert await asyncio.wait_for(child.stdout.readline(), 60) == b"done\n"

    await order("ready")
    client = await face.client()
    await client.ok("SELECT INBOX")
    await client.ok(
        "NOTIFY SET (selected (MessageNew (UID) MessageExpunge)) "
        "(personal (MessageNew MessageExpunge MailboxName SubscriptionChange))"
    )
    await order("append INBOX")
    assert [await client.line(), await client.line()] == [b"* 1 EXISTS", b"* 1 FETCH (UID 1)"]
    await order("append Sent")
    assert (await client.line()).startswith(b"* STATUS Sent (MESSAGES 1 ")
    await order("create made")
    assert await client.line() == b'* LIST (\\HasNoChildren) "/" made'
    await order("subscribe made")
    assert await client.line() == b'* LIST (\\HasNoChildren \\Subscribed) "/" made'
    await order("append made")
    assert (await client.line()).startswith(b"* STATUS made (MESSAGES 1 ")
    await order("delete made")
    assert await client.line() == b'* LIST (\\NonExistent \\Subscribed) "/" made'
    assert child.stdin is not None
    child.stdin.close()
    assert await asyncio.wait_for(child.wait(), 60) == 0
    await stop()


async def test_what_cannot_be_read_ends_the_notices(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that may have missed something is told so."""
    client, other = await face.client(), await face.client()
    await client.ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))")

    async def broken(_: object, account: int) -> None:
        raise StoreUnavailable("the message store cannot do this now")

    monkeypatch.setattr(type(face.mailbox), "names", broken)
    await other.ok("CREATE made")
    assert (await client.line()).startswith(b"* OK [NOTIFICATIONOVERFLOW]")
    await other.append("Sent", message())
    assert await client.ok("NOOP") == []


async def test_the_selected_mailbox_from_another_process(faces: tuple[Face, Face]) -> None:
    listening, acting = await faces[0].client(), await faces[1].client()
    await listening.ok("SELECT INBOX")
    await listening.ok("NOTIFY SET (selected (MessageNew (BODY.PEEK[TEXT]) MessageExpunge FlagChange))")
    await acting.append("INBOX", message(body="hello\r\n"))
    assert await listening.line() == b"* 1 EXISTS"
    assert await listening.line() == b"* 1 FETCH (UID 1 BODY[TEXT] {7}\r\nhello\r\n)"
    await acting.ok("SELECT INBOX")
    await acting.ok("STORE 1 +FLAGS (\\Deleted)")
    assert await listening.line() == b"* 1 FETCH (FLAGS (\\Deleted))"
    await acting.ok("EXPUNGE")
    assert await listening.line() == b"* 1 EXPUNGE"
    assert await listening.ok("NOOP") == []


async def test_news_never_lie_inside_an_answer(face: Face) -> None:
    """A large message is fetched slowly while other mailboxes change all the time."""
    client, other = await face.client(), await face.client()
    large = message(body="x" * 78 + "\r\n") + b"y" * 3_000_000 + b"\r\n"
    await client.append("INBOX", large)
    await client.ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName)) (selected (MessageNew MessageExpunge))")
    await client.ok("SELECT INBOX")

    async def stir() -> None:
        for number in range(20):
            await other.append("Sent", message())
            await other.ok(f"CREATE box{number}")

    stirring = asyncio.create_task(stir())
    seen: list[bytes] = []
    for _ in range(5):
        untagged, reply = await client.command("FETCH 1 BODY.PEEK[]")
        assert reply.startswith(b"OK")
        (fetched,) = [line for line in untagged if line.startswith(b"* 1 FETCH")]
        assert fetched == b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(large), large)
        seen += [line for line in untagged if line is not fetched]
    await stirring
    while not any(b"MESSAGES 20 " in line for line in seen) or not any(line.endswith(b" box19") for line in seen):
        seen.append(await client.line())
    assert all(line.startswith((b"* STATUS Sent (", b"* LIST (")) for line in seen)
    assert len([line for line in seen if line.startswith(b"* LIST")]) == 20


async def test_changes_during_a_command_are_told_after_it(face: Face) -> None:
    client, other = await face.client(), await face.client()
    await client.ok("NOTIFY SET (personal (MessageNew MessageExpunge))")
    await asyncio.gather(*(other.append("Sent", message(str(n))) for n in range(1)), client.ok("NOOP"))
    assert (await client.line()).startswith(b"* STATUS Sent (MESSAGES 1 ")


async def test_too_many_mailboxes(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "MAX_WATCHED", 7)
    client, other = await face.client(), await face.client()
    await client.ok("NOTIFY SET (personal (MessageNew MessageExpunge))")
    await other.ok("CREATE seventh")
    await other.ok("CREATE eighth")
    assert (await client.line()).startswith(b"* OK [NOTIFICATIONOVERFLOW]")
    await other.append("Sent", message())
    assert await client.ok("NOOP") == []
    _, reply = await client.command("NOTIFY SET (personal (MessageNew MessageExpunge))")
    assert reply.startswith(b"NO [NOTIFICATIONOVERFLOW]")
    await client.ok("NOTIFY SET (mailboxes Sent (MessageNew MessageExpunge))")


async def test_nothing_is_watched_after_the_session(face: Face) -> None:
    client = await face.client()
    await client.ok("SELECT INBOX")
    await client.ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName)) (selected (MessageNew MessageExpunge))")
    assert len(face.store._listeners) > 5
    await client.ok("UNAUTHENTICATE")
    await client.ok("LOGIN user1 secret")
    await client.ok("NOTIFY SET (personal (MessageNew MessageExpunge))")
    await client.ok("LOGOUT")
    assert await client.line() == b""
    inbox = await face.mailbox.folder(7, "INBOX")
    assert inbox is not None
    assert set(face.store._listeners) <= {inbox.id}, "only the view that is kept for a while listens"


async def test_switching_mailboxes(face: Face) -> None:
    """What was selected falls under the other groups again, and the other way round."""
    client, other = await face.client(), await face.client()
    await client.ok("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))")
    await client.ok("SELECT INBOX")
    await other.append("INBOX", message())
    assert await client.line() == b"* 1 EXISTS"
    await client.ok("SELECT Sent")
    await other.append("INBOX", message())
    assert (await client.line()).startswith(b"* STATUS INBOX (MESSAGES 2 ")
    await other.append("Sent", message())
    assert await client.line() == b"* 1 EXISTS"
    await client.ok("UNSELECT")
    await other.append("Sent", message())
    assert (await client.line()).startswith(b"* STATUS Sent (MESSAGES 2 ")


# ---- grammar ----------------------------------------------------------------------------------------------------

MAILBOXES = st.sampled_from(["INBOX", "Sent", '"a b"', "x/y"])
FILTERS = st.one_of(
    st.sampled_from(["inboxes", "PERSONAL", "subscribed", "selected", "selected-delayed"]),
    st.tuples(st.sampled_from(["subtree", "SUBTREE-ONE", "mailboxes"]), st.lists(MAILBOXES, min_size=1, max_size=3)).map(
        lambda pair: f"{pair[0]} {pair[1][0]}" if len(pair[1]) == 1 else f"{pair[0]} ({' '.join(pair[1])})"
    ),
)
EVENTS = st.one_of(
    st.just("NONE"),
    st.lists(
        st.sampled_from([
            "MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange", "MessageNew (UID FLAGS)",
            "AnnotationChange", "ServerMetadataChange",
        ]),
        min_size=1, max_size=5,
    ).map(lambda events: f"({' '.join(events)})"),
)  # fmt: skip
GROUPS = st.lists(st.tuples(FILTERS, EVENTS).map(lambda pair: f"({pair[0]} {pair[1]})"), min_size=1, max_size=4)


def read(text: str) -> notify_request.NotifyRequest | None:
    return notify_request.parse(Arguments(text.encode()), lambda octets: octets.decode("utf-8", "replace"))


@given(st.booleans(), GROUPS)
def test_requests_are_read_or_refused_with_a_reason(status: bool, groups: list[str]) -> None:
    text = " SET " + ("STATUS " if status else "") + " ".join(groups)
    try:
        found: Any = read(text)
    except (BadSyntax, Refusal):
        return
    assert found.status is status
    assert len(found.groups) + (found.selected is not None) == len(groups)
    for group in found.groups:
        assert group.items is None
        assert ("MessageNew" in group.events) == ("MessageExpunge" in group.events)


@given(st.text(st.sampled_from('() "abSETNONEselectedMessageNewInbox{}\\*%-'), max_size=60))
def test_anything_else_is_refused(text: str) -> None:
    try:
        read(text)
    except (BadSyntax, Refusal):
        pass


@given(
    st.sampled_from([b"SUBTREE", b"SUBTREE-ONE", b"MAILBOXES"]), st.lists(st.sampled_from("ab"), min_size=1, max_size=3),
    st.lists(st.sampled_from("ab"), min_size=1, max_size=4),
)  # fmt: skip
def test_which_names_fall_under_a_filter(kind: bytes, top: list[str], name: list[str]) -> None:
    group = notify_request.EventGroup(kind, ("/".join(top),), frozenset())
    below = name[: len(top)] == top
    depth = len(name) - len(top)
    expected = below and (depth == 0 or (kind == b"SUBTREE" or (kind == b"SUBTREE-ONE" and depth == 1)))
    assert group.names("/".join(name), True, False) is expected


async def test_mail_that_comes_before_a_new_mailbox_is_watched_is_told(face: Face) -> None:
    watcher, writer = await face.client(), await face.client()
    await watcher.ok("NOTIFY SET (subtree other (MessageNew MessageExpunge))")
    for number in range(10):
        writer.write(b"c%d CREATE other/n%d\r\na%d APPEND other/n%d {1+}\r\nx\r\n" % ((number,) * 4))
        await writer.until(b"a%d" % number)
    told = 0
    while told < 10:
        told += (await watcher.line()).startswith(b"* STATUS other/n")
