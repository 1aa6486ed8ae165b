"""What every index engine must answer (store/engine.py): the same questions after the same operations.

A second engine is added to ENGINES and passes unchanged; the services never see which one runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from mailstead.store.apply_changes import FLAGS, GONE, Refused
from mailstead.store.operations import (
    QUEUE_SHARDS,
    ChangeFlags,
    CopyMessages,
    CreateFolder,
    DeleteFolder,
    Expunge,
    QueueOutcome,
    RenameFolder,
    Subscribe,
)
from mailstead.store.record import MessageHead, Target, TargetKind
from mailstead.store.service import Store

ACCOUNT = 7
Opener = Callable[[Path], Awaitable[Store]]
ENGINES: dict[str, Opener] = {"sqlite": lambda path: Store.open(path, "w0", 2)}
_ranges = msgspec.msgpack.Decoder(list[int]).decode


@pytest.fixture(params=sorted(ENGINES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await ENGINES[request.param](tmp_path)
    yield opened
    await opened.close()


def text(number: int) -> bytes:
    return b"From: a@b.test\r\nSubject: n%d\r\nMessage-ID: <%d@t>\r\n\r\nbody\r\n" % (number, number)


async def deliver(store: Store, count: int, folder: int = 0, **target: object) -> list[int]:
    uids = []
    for number in range(count):
        head = MessageHead("s@x", 1_700_000_000, [Target(TargetKind.FOLDER, 0, ACCOUNT, folder, **target)])  # type: ignore[arg-type]
        (outcome,) = await store.submit_message(head, text(number), shown=True)
        uids.append(outcome.uid)
    return uids


async def inbox(store: Store) -> int:
    row = store.mail_index(0).folder(ACCOUNT, "INBOX")
    assert row is not None
    return row[0]


async def test_an_account_begins_with_its_folders(store: Store) -> None:
    index = store.mail_index(0)
    assert not index.has_account(ACCOUNT)
    assert index.usage(ACCOUNT) == (0, 0)
    assert index.folders(ACCOUNT) == []
    await deliver(store, 1)
    assert index.has_account(ACCOUNT)
    assert {row[1] for row in index.folders(ACCOUNT)} >= {"INBOX", "Sent", "Drafts", "Trash"}
    assert index.usage(ACCOUNT) == (len(text(0)), 1)
    assert not store.mail_index(1).has_account(ACCOUNT)


async def test_uids_rise_and_rows_come_by_uid(store: Store) -> None:
    assert await deliver(store, 5) == [1, 2, 3, 4, 5]
    index, folder = store.mail_index(0), await inbox(store)
    head = index.head(folder)
    assert head is not None
    assert head[0] == 6
    assert [row[0] for row in index.slice(folder, 0, 6, 100)] == [1, 2, 3, 4, 5]
    assert [row[0] for row in index.slice(folder, 2, 5, 1)] == [3]
    assert [row[0] for row in index.flags(folder, [1, 3, 9])] == [1, 3]
    rows = index.rows(folder, [2, 4, 99], ("size", "message_id", "location"), lambda *place: place)
    assert [(row[0], row[1], row[2]) for row in rows] == [(2, len(text(1)), "1@t"), (4, len(text(3)), "3@t")]
    file, offset, length, *_ = rows[0][3]
    assert store.read_log(file, offset, length) == text(1)
    with pytest.raises(KeyError):
        index.rows(folder, [1], ("no such column",), lambda *place: place)


async def test_counters_are_exact(store: Store) -> None:
    await deliver(store, 3)
    await deliver(store, 1, flags=1)
    folder = await inbox(store)
    await store.change([ChangeFlags(0, folder, [1, 2], "add", 8, [], -1)])
    counters = store.mail_index(0).counters(folder)
    assert counters is not None
    messages, unseen, deleted, size, uidnext, *_ = counters
    assert (messages, unseen, deleted, size, uidnext) == (4, 3, 2, 4 * len(text(0)), 5)
    await store.change([Expunge(0, folder, [1, 4], False, 1)])
    counters = store.mail_index(0).counters(folder)
    assert counters is not None
    assert counters[:5] == (2, 1, 0, 2 * len(text(0)), 5)
    assert store.mail_index(0).usage(ACCOUNT) == (2 * len(text(0)), 2)


async def test_changes_tell_what_happened_after_a_modseq(store: Store) -> None:
    await deliver(store, 4)
    index, folder = store.mail_index(0), await inbox(store)
    head = index.head(folder)
    assert head is not None
    uidnext, modseq = head
    nothing = index.changes(folder, modseq, uidnext)
    assert nothing is not None
    assert (nothing.changes, nothing.new) == ([], [])
    await store.change([ChangeFlags(0, folder, [1, 2], "add", 4, [], -1)])
    await store.change([ChangeFlags(0, folder, [3, 3], "add", 8, [], -1)])
    await store.change([Expunge(0, folder, [1, 4], False, 1)])
    await deliver(store, 1)
    news = index.changes(folder, modseq, uidnext)
    assert news is not None
    assert [(kind, _ranges(packed)) for _, kind, packed in news.changes] == [(FLAGS, [1, 2]), (FLAGS, [3, 3]), (GONE, [3, 3])]
    assert [at for at, _, _ in news.changes] == sorted(at for at, _, _ in news.changes)
    assert [row[0] for row in news.new] == [5]
    assert news.modseq == max(row[2] for row in news.new)
    assert index.changes(123, 0, 1) is None


async def test_flags_modes_and_unchanged_since(store: Store) -> None:
    await deliver(store, 2)
    index, folder = store.mail_index(0), await inbox(store)
    (first,) = await store.change([ChangeFlags(0, folder, [1, 2], "set", 1, ["Red"], -1)])
    (again,) = await store.change([ChangeFlags(0, folder, [1, 2], "add", 1, [], -1)])
    assert first.modseq
    assert not again.modseq, "a change that changes nothing has no modseq"
    await store.change([ChangeFlags(0, folder, [2, 2], "remove", 0, ["red"], -1)])
    (late,) = await store.change([ChangeFlags(0, folder, [1, 2], "add", 4, [], first.modseq)])
    assert late.modified == [2]
    assert [row[1] for row in index.flags(folder, [1, 2])] == [1 | 4 | 32, 1]
    assert index.keywords(ACCOUNT) == ["Red"]


async def test_copy_and_move_keep_order_and_flags(store: Store) -> None:
    await deliver(store, 4, flags=2)
    folder, index = await inbox(store), store.mail_index(0)
    trash = index.folder(ACCOUNT, "Trash")
    assert trash is not None
    (copied,) = await store.change([CopyMessages(0, folder, trash[0], [1, 1, 3, 4], False, 5)])
    assert (copied.uids, copied.new_uids) == ([1, 3, 4], [1, 2, 3])
    (moved,) = await store.change([CopyMessages(0, folder, trash[0], [2, 2], True, 5)])
    assert (moved.uids, moved.new_uids) == ([2], [4])
    assert [row[1] for row in index.slice(trash[0], 0, 100, 100)] == [2, 2, 2, 2]
    assert [row[0] for row in index.slice(folder, 0, 100, 100)] == [1, 3, 4]
    with pytest.raises(Refused):
        await store.change([CopyMessages(0, folder, 999, [1, 1], False, 5)])


async def test_quota_is_refused_whole(store: Store) -> None:
    await deliver(store, 2)
    head = MessageHead("s@x", 1, [Target(TargetKind.FOLDER, 0, ACCOUNT, quota_messages=2)])
    (outcome,) = await store.submit_message(head, text(9))
    assert outcome.outcome == 1
    assert store.mail_index(0).usage(ACCOUNT)[1] == 2


async def test_folders_are_made_renamed_and_removed(store: Store) -> None:
    await deliver(store, 1)
    index = store.mail_index(0)
    await store.change(
        [
            CreateFolder(0, store.new_id(), ACCOUNT, "A", None, "mail", 1),
            CreateFolder(0, store.new_id(), ACCOUNT, "A/B", None, "mail", 1),
        ]
    )
    await store.change([RenameFolder(0, ACCOUNT, "A", "Z", store.new_id(), 1)])
    assert {row[1] for row in index.folders(ACCOUNT)} >= {"Z", "Z/B"}
    made = index.folder(ACCOUNT, "Z/B")
    assert made is not None
    assert index.folder_in_any_case(ACCOUNT, "z/b") == made[0]
    with pytest.raises(Refused):
        await store.change([CreateFolder(0, store.new_id(), ACCOUNT, "Z", None, "mail", 1)])
    await store.change([DeleteFolder(0, ACCOUNT, "Z/B", 1)])
    assert index.folder(ACCOUNT, "Z/B") is None
    await store.change([Subscribe(0, ACCOUNT, "Elsewhere", True)])
    assert "Elsewhere" in index.subscriptions(ACCOUNT)


async def test_the_queue_gives_what_is_due_in_order(store: Store) -> None:
    for number, due in enumerate((30, 10, 20)):
        target = Target(TargetKind.QUEUE, QUEUE_SHARDS, date=due, recipient=f"r{number}@Remote.test", detail=b"d")
        await store.submit_message(MessageHead("s@x", 1, [target]), text(number))
    queue = store.queue_index
    assert [row[4] for row in queue.due(25, (-1, -1, -1), 10)] == [10, 20]
    assert queue.next_due(25) == 30
    assert queue.next_route("") == "remote.test"
    assert queue.counts(25) == (3, 2, 1)
    first = queue.due(25, (-1, -1, -1), 1)[0]
    entry = queue.entry(first[0])
    assert entry is not None
    assert entry[7] == "s@x"
    await store.change([QueueOutcome(QUEUE_SHARDS, first[0], [(0, 0, 99, 1, 0, "4.4.1 later", b"d")])])
    assert queue.mark(first[0], 0) == (0, "4.4.1 later")
    await store.change([QueueOutcome(QUEUE_SHARDS, first[0], [(0, 1, 0, 2, 0, "2.0.0 sent", b"")])])
    assert queue.mark(first[0], 0) is None
    assert queue.entry(first[0]) is None
    assert queue.recipients(first[0], 10) == []


async def test_older_rows_and_what_went_since(store: Store) -> None:
    await deliver(store, 6)
    index, folder = store.mail_index(0), await inbox(store)
    opening = index.opening(folder)
    assert opening is not None
    uidnext, modseq, messages, commit = opening
    assert (uidnext, messages) == (7, 6)
    assert commit == index.commit_seq()
    await store.change([Expunge(0, folder, [2, 2], True, 1)])
    await store.change([ChangeFlags(0, folder, [5, 5], "add", 4, [], -1)])
    older = index.older(folder, uidnext, 3, modseq)
    assert older is not None
    assert [(uid, flags) for uid, flags, _ in older.rows] == [(6, 0), (5, 4), (4, 0)]
    assert [_ranges(packed) for packed in older.gone] == [[2, 2]]
    assert older.modseq == modseq + 2
    again = index.older(folder, 4, 3, older.modseq)
    assert again is not None
    assert [uid for uid, _, _ in again.rows] == [3, 1]
    assert list(again.gone) == []
    assert index.opening(folder + 1) is None
    assert index.older(folder + 1, 7, 3, 0) is None


async def test_a_change_of_flags_names_those_that_changed(store: Store) -> None:
    await deliver(store, 6)
    folder = await inbox(store)
    (first,) = await store.change([ChangeFlags(0, folder, [1, 4], "add", 1, [], -1)])
    assert list(first.uids) == [1, 2, 3, 4]
    (second,) = await store.change([ChangeFlags(0, folder, [2, 6], "add", 1, [], -1)])
    assert (list(second.uids), second.bits) == ([5, 6], 1)
    (none,) = await store.change([ChangeFlags(0, folder, [1, 6], "add", 1, [], -1)])
    assert (list(none.uids), none.modseq) == ([], 0)
    (some,) = await store.change([ChangeFlags(0, folder, [1, 6], "set", 8, [], first.modseq)])
    assert (list(some.uids), some.modified) == ([1, 2, 3, 4], [5, 6])
    counters = store.mail_index(0).counters(folder)
    assert counters is not None
    assert counters[:3] == (6, 4, 4)
