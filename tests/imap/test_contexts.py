"""Results that are kept up to date, two sessions at work: any sequence of actions, found by hypothesis."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailstead.imap import contexts, search_program
from tests.imap.conftest import Face, message, start_face
from tests.imap.test_sort import Kept, ask, take

SEARCHES = st.sampled_from(["ALL", "UNSEEN", "OR SEEN DELETED", "KEYWORD $Work", "SUBJECT a", "UID 2:*", "NOT (SUBJECT b FLAGGED)"])
ORDERS = st.sampled_from(["", "(SUBJECT)", "(REVERSE SUBJECT)", "(REVERSE SIZE FROM)", "(REVERSE DISPLAYFROM DATE)"])
FLAGS = st.sampled_from(["\\Seen", "\\Deleted", "\\Flagged", "$Work"])
UIDS = st.integers(1, 9)
ACTIONS = st.one_of(
    st.tuples(st.just("store"), UIDS, UIDS, st.sampled_from("+-"), FLAGS),
    st.tuples(st.just("append"), st.sampled_from(["a", "b", "ab", "É", "Re: a"])),
    st.tuples(st.sampled_from(["expunge", "noop", "check", "move"])),
)
PLANS = st.tuples(
    st.lists(st.tuples(SEARCHES, ORDERS, st.booleans()), min_size=1, max_size=4),
    st.lists(st.tuples(st.booleans(), ACTIONS), max_size=14),
)


def words_of(action: tuple[object, ...]) -> str:
    if action[0] == "store":
        return f"UID STORE {action[1]}:{action[2]} {action[3]}FLAGS.SILENT ({action[4]})"
    if action[0] == "append":
        octets = message(str(action[1]), From=f"{action[1]} <x@example.test>").decode()
        return f"APPEND INBOX {{{len(octets.encode())}+}}\r\n{octets}"
    return {"expunge": "EXPUNGE", "noop": "NOOP", "check": "CHECK", "move": "UID MOVE 1,4 Trash"}[str(action[0])]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLANS)
async def test_updates_applied_to_the_first_answer_are_a_fresh_answer(
    plan: tuple[list[tuple[str, str, bool]], list[tuple]],
) -> None:
    results, actions = plan
    with tempfile.TemporaryDirectory() as directory:
        face, stop = await start_face(Path(directory))
        try:
            client, other = await face.client(), await face.client()
            for subject in ("b", "Re: a", "", "c"):
                await client.append("INBOX", message(subject))
            await client.ok("SELECT INBOX")
            await other.ok("SELECT INBOX")
            kept: list[Kept] = []
            for program, order, by_uid in results:
                prefix = "UID " if by_uid else ""
                verb = f"{prefix}SORT RETURN ({{}}ALL COUNT) {order} UTF-8" if order else f"{prefix}SEARCH RETURN ({{}}ALL COUNT)"
                first = await ask(client, f"{verb.format('UPDATE ')} {program}")
                kept.append(Kept(f"{verb.format('')} {program}", b"a%d" % client._tags, bool(order), first, by_uid))
            for mine, action in actions:
                if mine:
                    await take(client, words_of(action), kept)
                else:
                    await other.ok(words_of(action))
            await take(client, "NOOP", kept)
            for one in kept:
                assert await ask(client, one.command) == one.uids, one.command
        finally:
            await stop()


async def test_more_changes_than_a_view_remembers_lead_to_the_same(face: Face) -> None:
    client, other = await face.client(), await face.client()
    for number in range(6):
        await client.append("INBOX", message(f"message {number}"))
    await client.ok("SELECT INBOX")
    await other.ok("SELECT INBOX")
    kept = [
        Kept("UID SEARCH RETURN (ALL COUNT) UNSEEN", b"", False, await ask(client, "UID SEARCH RETURN (UPDATE ALL COUNT) UNSEEN"))
    ]
    kept[0].tag = b"a%d" % client._tags
    for step in range(600):
        await other.ok(f"UID STORE {step % 6 + 1} {'+' if step % 7 else '-'}FLAGS.SILENT (\\Seen)")
    await other.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    await take(client, "NOOP", kept)
    assert await ask(client, kept[0].command) == kept[0].uids


async def test_a_result_that_grows_too_large_is_given_up(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "MAX_MEMBERS", 2)
    client = await face.client()
    await client.append("INBOX", message("one"))
    await client.append("INBOX", message("two"))
    await client.ok("SELECT INBOX")
    assert len(await client.ok("SEARCH RETURN (UPDATE COUNT) ALL")) == 1
    tag = client._tags
    untagged = await client.append("INBOX", message("three"))
    assert untagged[-1] == b'* NO [NOUPDATE "a%d"] Too many results' % tag
    assert all(b"ESEARCH" not in line for line in (await client.append("INBOX", message("four")))[1:])
    untagged = await client.ok("SEARCH RETURN (UPDATE COUNT) ALL")
    assert untagged == [b'* NO [NOUPDATE "a%d"] Too many results' % client._tags, b'* ESEARCH (TAG "a%d") COUNT 4' % client._tags]


@pytest.mark.parametrize("keys", ["OR 1:4 " * 30 + "1:4", "1:4 UID 1:4 1:3", "OR 1:4 1:4"])
async def test_a_program_that_names_too_many_messages_is_answered_but_not_kept(
    face: Face, monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    monkeypatch.setattr(search_program, "MAX_PINNED", 7)
    client = await face.client()
    for number in range(4):
        await client.append("INBOX", message(f"message {number}"))
    await client.ok("SELECT INBOX")
    untagged = await client.ok(f"SEARCH RETURN (UPDATE COUNT) {keys}")
    tag = client._tags
    refused = [] if "UID" in keys else [b'* NO [NOUPDATE "a%d"] This result changes by itself' % tag]
    assert untagged == [*refused, b'* ESEARCH (TAG "a%d") COUNT %d' % (tag, 3 if "UID" in keys else 4)]
    assert len(await client.ok("SEARCH RETURN (UPDATE COUNT) ALL")) == 1
