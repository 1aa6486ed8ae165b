"""The indexer: killed at any point it harms no answer, it gives up on what kills it, and it holds nobody up."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from mailstead.mailbox.model import Folder, NewMessage
from mailstead.mailbox.search import Scope, Text, evaluate
from mailstead.mailbox.service import Mailbox
from mailstead.store import search_indexer
from mailstead.store.search_file import search_path
from mailstead.store.search_indexer import (
    MAX_MERGED,
    MERGE_FROM,
    AlreadyRunning,
    Indexer,
    choose,
    groups,
    hold_indexer_lock,
    is_needed,
)
from mailstead.store.search_jobs import ask_for_all, pending
from mailstead.store.search_segment import MAX_DOCUMENTS
from mailstead.store.search_status import progress
from mailstead.store.service import Store
from mailstead.store.shard import Shard
from tests.mailbox.conftest import ACCOUNT, Accounts

BODIES = [b"Subject: s\r\n\r\nneedle %d and hay%d\r\n" % (number, number % 3) for number in range(40)]


@pytest.fixture
async def mailbox(tmp_path: Path) -> AsyncIterator[Mailbox]:
    store = await Store.open(tmp_path)
    yield Mailbox(store, Accounts())
    await store.close()


async def inbox(mailbox: Mailbox) -> Folder:
    folder = await mailbox.folder(ACCOUNT, "INBOX")
    assert folder is not None
    return folder


async def check(mailbox: Mailbox) -> None:
    """Each kind of needle finds what it must."""
    view = await mailbox.open(await inbox(mailbox))
    for needle, wanted in (
        ("eedle", [1] * 40),
        ("hay1", [number % 3 == 1 for number in range(40)]),
        ("needle 17 and", [number == 17 for number in range(40)]),
    ):
        scope = Scope(mailbox, view, view.uids, view.flags, view.modseqs, len(view.uids))
        hits = await evaluate(scope, Text(needle, False))
        assert list(hits) == [number for number in range(40) if wanted[number]]
    view.release()


def held(data_dir: Path) -> list[int]:
    """Message ids that the segments hold, with repetition."""
    from mailstead.store.search_segment import load_head

    connection = apsw.Connection(str(search_path(data_dir / "index", 0)))
    found = [mid for (head,) in connection.execute("SELECT head FROM segment") for mid in load_head(head).mids]
    connection.close()
    return found


def finish(data_dir: Path) -> None:
    indexer = Indexer(data_dir, 0)
    while indexer.run_once():
        pass
    indexer.close()


POINTS = [
    (f"mailstead.store.search_indexer:{name}", when, nth)
    for name in ("Indexer._write", "Indexer._forget_jobs", "Indexer._merge", "open_for_writing", "Indexer._todo")
    for when in ("before", "after")
    for nth in (1, 2)
    if not (name == "open_for_writing" and nth == 2)
]


@pytest.mark.parametrize(("point", "when", "nth"), POINTS)
async def test_killed_at_a_write_it_loses_no_message_and_no_answer(
    mailbox: Mailbox, tmp_path: Path, point: str, when: str, nth: int
) -> None:
    await mailbox.append(await inbox(mailbox), [NewMessage(octets) for octets in BODIES])
    if point.endswith("_todo"):
        shard = Shard(tmp_path / "index", 0, mailbox._store.files)
        ask_for_all(shard, [ACCOUNT], anew=True)
        shard.close()
    command = [sys.executable, "-m", "tests.store.search_child", str(tmp_path), point, when, str(nth)]
    ended = await asyncio.to_thread(subprocess.run, command, timeout=300)
    assert ended.returncode == -signal.SIGKILL
    await check(mailbox)
    await asyncio.to_thread(finish, tmp_path)
    assert sorted(held(tmp_path)) == sorted(set(held(tmp_path))) and len(held(tmp_path)) == 40
    await check(mailbox)


async def test_a_message_that_kills_twice_is_left_alone(mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await mailbox.append(await inbox(mailbox), [NewMessage(octets) for octets in BODIES])
    original = search_indexer.document_terms

    def deadly(octets: bytes, *rest: Any) -> Any:
        if b"needle 17 " in octets:
            raise SystemError("as if killed")
        return original(octets, *rest)

    monkeypatch.setattr(search_indexer, "document_terms", deadly)
    for _ in range(2):
        indexer = Indexer(tmp_path, 0)
        with pytest.raises(SystemError):
            indexer.run_once()
        indexer.close()
    finish(tmp_path)
    assert len(held(tmp_path)) == 40
    await check(mailbox)


async def test_anew_and_missing_come_to_the_same(mailbox: Mailbox, tmp_path: Path) -> None:
    folder = await inbox(mailbox)
    await mailbox.append(folder, [NewMessage(octets) for octets in BODIES])
    finish(tmp_path)
    connection = apsw.Connection(str(search_path(tmp_path / "index", 0)))
    connection.execute("DELETE FROM segment")
    connection.close()
    assert [(one.messages, one.indexed, one.pending) for one in progress(tmp_path, 0, [ACCOUNT])] == [(40, 0, 40)]
    shard = Shard(tmp_path / "index", 0, mailbox._store.files)
    for anew in (False, True):
        ask_for_all(shard, [ACCOUNT], anew)
        assert pending(shard, 10) == 1
        assert [one.jobs for one in progress(tmp_path, 0, [ACCOUNT])] == [1]
        finish(tmp_path)
        assert [(one.messages, one.indexed, one.jobs) for one in progress(tmp_path, 0, [ACCOUNT])] == [(40, 40, 0)]
        await check(mailbox)
    shard.close()


async def test_attachments_are_searched_once_they_are_read(mailbox: Mailbox, tmp_path: Path) -> None:
    message = (
        b"Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nbody\r\n--b\r\n"
        b"Content-Type: application/octet-stream; name=contract.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"JVBERg==\r\n--b--\r\n"
    )
    folder = await inbox(mailbox)
    await mailbox.append(folder, [NewMessage(octets) for octets in [*BODIES, message]])
    asked: list[tuple[str, bytes]] = []

    def extract(kind: str, octets: bytes) -> str:
        asked.append((kind, octets))
        return "The Quarterly contract, signed"

    indexer = Indexer(tmp_path, 0, extract)
    while indexer.run_once():
        pass
    indexer.close()
    assert asked == [("pdf", b"%PDF")]
    view = await mailbox.open(folder)
    for needle, found in (("quarterly CONTRACT, s", [41]), ("uarterl", [41]), ("contract signed", []), ("eedle 3 ", [4])):
        for headers in (False, True):
            scope = Scope(mailbox, view, view.uids, view.flags, view.modseqs, 41)
            assert [view.uids[at] for at in await evaluate(scope, Text(needle, headers))] == found, needle
    view.release()


async def test_what_a_power_cut_took_from_the_index_is_found_and_added_after_the_start(mailbox: Mailbox, tmp_path: Path) -> None:
    """The jobs' end was durable, the segment was not: the start after an unclean end looks through all accounts."""
    await mailbox.append(await inbox(mailbox), [NewMessage(octets) for octets in BODIES])
    finish(tmp_path)
    connection = apsw.Connection(str(search_path(tmp_path / "index", 0)))
    connection.execute("DELETE FROM segment")
    connection.close()
    await check(mailbox)
    assert not is_needed(tmp_path / "index", 0, mailbox._store.files)
    shard = Shard(tmp_path / "index", 0, mailbox._store.files)
    shard.begin()
    shard.execute("INSERT INTO epoch VALUES(5000000, 10, 0)")
    shard.commit()
    shard.close()
    assert is_needed(tmp_path / "index", 0, mailbox._store.files)
    finish(tmp_path)
    assert len(held(tmp_path)) == 40
    assert not is_needed(tmp_path / "index", 0, mailbox._store.files)
    await check(mailbox)


def test_only_one_indexes(tmp_path: Path) -> None:
    import os

    (tmp_path / "run").mkdir()
    held_by_me = hold_indexer_lock(tmp_path)
    with pytest.raises(AlreadyRunning):
        hold_indexer_lock(tmp_path)
    os.close(held_by_me)
    os.close(hold_indexer_lock(tmp_path))


def test_merges_keep_an_account_to_a_handful_of_segments() -> None:
    segments: list[tuple[int, int, int]] = []
    copied = 0
    for number in range(5000):
        segments.append((number, 2 + number % 5, 3000))
        chosen = choose(segments)
        if chosen:
            total = sum(documents for id, documents, _ in segments if id in chosen)
            copied += total
            segments = [row for row in segments if row[0] not in chosen] + [(10_000 + number, total, total * 1000)]
        assert len(segments) < 16
        assert max(documents for _, documents, _ in segments) <= MAX_DOCUMENTS
    assert copied / sum(documents for _, documents, _ in segments) < 12


def test_merges_take_no_more_than_memory_bears_and_heavy_segments_stop_no_others() -> None:
    segments: list[tuple[int, int, int]] = []
    for number in range(1000):
        # Every third holds a message or two that are nothing but different words.
        segments.append((number, 1 + number % 2, 5 << 20) if number % 3 == 0 else (number, 40, 30_000))
        chosen = choose(segments)
        merged = [row for row in segments if row[0] in chosen]
        assert sum(octets for _, _, octets in merged) <= MAX_MERGED
        if chosen:
            one = (10_000 + number, sum(row[1] for row in merged), sum(row[2] for row in merged))
            segments = [row for row in segments if row not in merged] + [one]
    assert len([row for row in segments if row[2] < MAX_MERGED // MERGE_FROM]) < 16
    every = groups(segments)
    assert sorted(id for group in every for id in group) == sorted(row[0] for row in segments)
    sizes = {row[0]: row for row in segments}
    for group in every:
        assert sum(sizes[id][1] for id in group) <= MAX_DOCUMENTS
        assert len(group) == 1 or sum(sizes[id][2] for id in group) <= MAX_MERGED
