"""Text search by the index against reading every message: the answers are the same, whatever the index holds."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from mailstead.mailbox import search_fuzzy, search_index
from mailstead.mailbox.model import Folder, NewMessage
from mailstead.mailbox.search import Header, Key, Scope, Text, evaluate
from mailstead.mailbox.service import Mailbox
from mailstead.mailbox.view import FolderView
from mailstead.message.index import index_message
from mailstead.store import search_indexer, search_text
from mailstead.store.search_file import search_path
from mailstead.store.search_indexer import Indexer
from mailstead.store.search_text import contains, fold
from tests.mailbox.conftest import ACCOUNT, Accounts, Limits
from tests.mailbox.search_mail import mail, needles, sentence


def oracle(messages: list[bytes], needle: str, headers: bool) -> list[int]:
    """Numbers of the messages that contain the needle, by reading them all."""
    folded = fold(needle)
    octets = folded.encode("ascii") if folded.isascii() else b""
    out = []
    for number, message in enumerate(messages):
        index = index_message(message)
        if contains(message, index.parts, index.header_size, folded, octets, headers):
            out.append(number)
    return out


async def found(mailbox: Mailbox, view: FolderView, key: Key, candidates: list[int] | None = None) -> list[int]:
    """UIDs that the key finds."""
    scope = Scope(mailbox, view, view.uids, view.flags, view.modseqs, len(view.uids))
    return [scope.uids[at] for at in await evaluate(scope, key, candidates)]


async def inbox(mailbox: Mailbox, account: int = ACCOUNT) -> Folder:
    folder = await mailbox.folder(account, "INBOX")
    assert folder is not None
    return folder


async def index_all(data_dir: Path, rounds: int = 1000) -> None:
    """What the background process does."""

    def work() -> None:
        indexer = Indexer(data_dir, 0)
        for _ in range(rounds):
            if not indexer.run_once():
                break
        indexer.close()

    await asyncio.to_thread(work)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages searches have read."""
    count = [0]

    def counted(*args: object) -> bool:
        count[0] += 1
        return contains(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(search_index, "contains", counted)
    return count


@pytest.mark.parametrize("seed", range(5))
async def test_two_hundred_substrings_of_anything_are_found_as_by_reading(
    mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Five times: 1 000 needles, each by BODY and by TEXT, while the index grows, merges, and messages go."""
    monkeypatch.setattr(search_indexer, "CHUNK", 13)
    rng = random.Random(seed)
    folder = await inbox(mailbox)
    messages = [mail(rng, number) for number in range(90)]
    cut = needles(rng, messages, 200)
    view = await mailbox.open(folder)
    uids: list[int] = []
    for stage in range(3):
        part = messages[stage * 30 : stage * 30 + 30]
        result = await mailbox.append(folder, [NewMessage(octets) for octets in part])
        uids += result.uids
        if stage < 2:
            await index_all(tmp_path)
    gone = {5, 17, 40, 66}
    await mailbox.remove(view, [uids[number] for number in sorted(gone)])
    await view.refresh()
    for at, needle in enumerate(cut):
        if at == 70:
            await index_all(tmp_path, rounds=1)
        if at == 140:
            gone |= {0, 89}
            await mailbox.remove(view, [uids[0], uids[89]])
        for headers in (False, True):
            wanted = [uids[number] for number in oracle(messages, needle, headers) if number not in gone]
            assert await found(mailbox, view, Text(needle, headers)) == wanted, (needle, headers, at)
    view.release()


async def test_a_word_is_found_without_reading_a_message(mailbox: Mailbox, tmp_path: Path, reads: list[int]) -> None:
    rng = random.Random(1)
    folder = await inbox(mailbox)
    messages = [mail(rng, number) for number in range(60)]
    await mailbox.append(folder, [NewMessage(octets) for octets in messages])
    await index_all(tmp_path)
    view = await mailbox.open(folder)
    for needle in ("eedl", "HAYSTACK", "本語", "straße", "zzzz", "?!", "example"):
        wanted = [number + 1 for number in oracle(messages, needle, True)]
        assert await found(mailbox, view, Text(needle, True)) == wanted
    assert reads[0] == 0
    view.release()


async def test_new_messages_are_found_before_they_are_indexed(mailbox: Mailbox, tmp_path: Path, reads: list[int]) -> None:
    folder = await inbox(mailbox)
    await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\nold needle\r\n")] * 20)
    await index_all(tmp_path)
    view = await mailbox.open(folder)
    assert len(await found(mailbox, view, Text("needle", False))) == 20
    await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\nnew needle\r\n")])
    await view.refresh()
    assert await found(mailbox, view, Text("EW", False)) == [21]
    assert await found(mailbox, view, Text("needle", False)) == list(range(1, 22))
    assert reads[0] == 2, "of the 21 messages only the new one is read, once a search"
    view.release()


async def test_moved_and_copied_messages_are_found_where_they_are(mailbox: Mailbox, tmp_path: Path, reads: list[int]) -> None:
    folder = await inbox(mailbox)
    target = await mailbox.create_folder(ACCOUNT, "Target")
    await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\nneedle %d\r\n" % number) for number in range(30)])
    await index_all(tmp_path)
    view, other = await mailbox.open(folder), await mailbox.open(target)
    await mailbox.move(view, list(range(1, 16)), target)
    await mailbox.copy(view, [30], target)
    await view.refresh()
    await other.refresh()
    assert await found(mailbox, view, Text("eedle", False)) == list(range(16, 31))
    assert await found(mailbox, other, Text("eedle", False)) == list(range(1, 17))
    assert reads[0] == 0
    view.release()
    other.release()


async def test_a_copy_for_another_account_is_found_there(mailbox: Mailbox, accounts: Accounts, tmp_path: Path) -> None:
    accounts.limits[8] = Limits()
    folder, foreign = await inbox(mailbox), await inbox(mailbox, 8)
    await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\nneedle %d\r\n" % number) for number in range(20)])
    await index_all(tmp_path)
    view, other = await mailbox.open(folder), await mailbox.open(foreign)
    await mailbox.copy(view, list(range(1, 18)), foreign)
    await other.refresh()
    assert len(await found(mailbox, other, Text("eedle", False))) == 17
    await index_all(tmp_path)
    assert len(await found(mailbox, other, Text("eedle", False))) == 17
    view.release()
    other.release()


async def test_strangers_in_the_shard_cost_nothing(mailbox: Mailbox, accounts: Accounts, tmp_path: Path) -> None:
    """A mid-word needle looks at the segments of its own account only."""
    for account in range(100, 140):
        accounts.limits[account] = Limits()
        folder = await inbox(mailbox, account)
        await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\nstranger%d haystackneedle\r\n" % account)] * 3)
    mine = await inbox(mailbox)
    await mailbox.append(mine, [NewMessage(b"Subject: s\r\n\r\nmine haystackneedle %d\r\n" % number) for number in range(30)])
    await index_all(tmp_path)
    view = await mailbox.open(mine)
    segments = mailbox.search_reader.list(0, ACCOUNT)
    assert len(segments.ids) == 1
    loaded: list[int] = []
    original = mailbox.search_reader.field

    async def noted(segment_list: object, segment: int, name: str) -> object:
        loaded.append(segment)
        return await original(segment_list, segment, name)  # type: ignore[arg-type]

    mailbox.search_reader.field = noted  # type: ignore[assignment]
    assert len(await found(mailbox, view, Text("ackneed", False))) == 30
    assert set(loaded) == set(segments.ids)
    view.release()


async def test_a_damaged_or_lost_index_costs_no_answer(mailbox: Mailbox, tmp_path: Path) -> None:
    folder = await inbox(mailbox)
    rng = random.Random(4)
    messages = [mail(rng, number) for number in range(40)]
    await mailbox.append(folder, [NewMessage(octets) for octets in messages])
    await index_all(tmp_path)
    view = await mailbox.open(folder)
    path = search_path(tmp_path / "index", 0)
    wanted = [number + 1 for number in oracle(messages, "needle", True)]

    def scribble(octets: bytes) -> None:
        for suffix in ("", "-wal"):
            file = Path(f"{path}{suffix}")
            if file.exists() and file.stat().st_size:
                file.write_bytes(octets)

    for damage in (
        lambda: path.unlink(),
        lambda: scribble(b""),
        lambda: scribble(b"not a database at all, " * 1000),
        lambda: scribble(rng.randbytes(40_000)),
    ):
        damage()
        assert await found(mailbox, view, Text("needle", True)) == wanted
        await index_all(tmp_path)
        assert await found(mailbox, view, Text("needle", True)) == wanted
        assert mailbox.search_reader.list(0, ACCOUNT).ids or path.exists()
    view.release()


async def test_a_segment_with_a_flipped_bit_is_not_believed(mailbox: Mailbox, tmp_path: Path) -> None:
    import apsw

    folder = await inbox(mailbox)
    await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\nneedle %d\r\n" % number) for number in range(40)])
    await index_all(tmp_path)
    connection = apsw.Connection(str(search_path(tmp_path / "index", 0)))
    for column in ("body", "head"):
        (content,) = connection.execute(f"SELECT {column} FROM segment").fetchone()
        broken = bytearray(content)
        broken[len(broken) // 2] ^= 4
        connection.execute(f"UPDATE segment SET {column} = ?", (bytes(broken),))
        view = await mailbox.open(folder)
        assert len(await found(mailbox, view, Text("eedle", False))) == 40
        view.release()
    connection.close()


async def test_merges_leave_out_what_is_gone_and_keep_the_rest(
    mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = await inbox(mailbox)
    view = await mailbox.open(folder)
    for number in range(12):
        await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\nneedle%d of %d\r\n" % (number, i)) for i in range(10)])
        await index_all(tmp_path)
        await view.refresh()
        if number % 3 == 2:
            await mailbox.remove(view, list(view.uids)[:5])
    segments = mailbox.search_reader.list(0, ACCOUNT)
    assert len(segments.ids) <= 6
    held = [mid for id in segments.ids for mid in (await mailbox.search_reader.head(segments, id)).mids]
    assert len(held) == len(set(held)) < 120
    for number in range(12):
        wanted = [uid for uid in view.uids if (uid - 1) // 10 == number]
        assert await found(mailbox, view, Text(f"eedle{number} of", False)) == wanted
    view.release()


async def test_a_deleted_account_leaves_the_index(mailbox: Mailbox, accounts: Accounts, tmp_path: Path) -> None:
    folder = await inbox(mailbox)
    await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\nneedle\r\n")] * 5)
    await index_all(tmp_path)
    assert mailbox.search_reader.list(0, ACCOUNT).ids
    await mailbox.remove_account(ACCOUNT, 0)
    indexer = Indexer(tmp_path, 0)
    indexer.sweep()
    indexer.close()
    assert not mailbox.search_reader.list(0, ACCOUNT).ids


async def test_a_message_beyond_the_limits_is_read(
    mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int]
) -> None:
    monkeypatch.setattr(search_text, "MAX_TEXT", 5000)
    folder = await inbox(mailbox)
    small = [NewMessage(b"Subject: s\r\n\r\nneedle %d\r\n" % number) for number in range(20)]
    await mailbox.append(folder, [*small, NewMessage(b"Subject: s\r\n\r\n" + b"hay " * 3000 + b"other needle\r\n")])
    await index_all(tmp_path)
    view = await mailbox.open(folder)
    assert await found(mailbox, view, Text("eedle", False)) == list(range(1, 22))
    assert await found(mailbox, view, Text("ther", False)) == [21]
    assert reads[0] == 2
    view.release()


async def test_a_session_that_was_not_told_of_an_expunge_is_answered_in_its_numbers(mailbox: Mailbox, tmp_path: Path) -> None:
    folder = await inbox(mailbox)
    await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\nneedle %d\r\n" % (number % 2)) for number in range(40)])
    await index_all(tmp_path)
    view = await mailbox.open(folder)
    old = view.uids[:]
    await mailbox.remove(view, [2, 4, 6])
    scope = Scope(mailbox, view, old, [0] * 40, [1] * 40, 40)
    assert [old[at] for at in await evaluate(scope, Text("needle 1", False))] == list(range(8, 41, 2))
    there = [at for at in range(40) if view.index(old[at]) >= 0]
    assert [old[at] for at in await evaluate(scope, Text("1", False), there)] == list(range(8, 41, 2))
    view.release()


@pytest.mark.parametrize("fuzzy", [False, True])
async def test_an_expunge_in_the_middle_of_a_search_moves_no_hit(
    mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fuzzy: bool
) -> None:
    folder = await inbox(mailbox)
    words = ["alpha", "omega"]
    await mailbox.append(folder, [NewMessage(b"Subject: s\r\n\r\n%b\r\n" % words[n % 2].encode()) for n in range(40)])
    await index_all(tmp_path)
    view = await mailbox.open(folder)
    module = search_fuzzy if fuzzy else search_index
    original = module._look_up

    async def interrupted(*args: Any) -> Any:
        found = await original(*args)
        await mailbox.remove(view, [3, 5, 8])
        return found

    monkeypatch.setattr(module, "_look_up", interrupted)
    assert await found(mailbox, view, Text("omega", False, fuzzy)) in (
        list(range(2, 41, 2)), [uid for uid in range(2, 41, 2) if uid != 8]
    )  # fmt: skip
    view.release()


async def test_fields_that_rows_lack_are_read_of_a_few_messages_only(
    mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(8)
    folder = await inbox(mailbox)
    listed = [sentence(rng, 3).strip() for _ in range(60)]
    messages = [
        f"Subject: s{n}\r\nX-Listed: {words}\r\nX-Number:\r\n  number {n}\r\n\r\nX-Listed: alpha\r\n".encode()
        for n, words in enumerate(listed)
    ]
    await mailbox.append(folder, [NewMessage(octets) for octets in messages])
    view = await mailbox.open(folder)
    keys = [Header(b"x-listed", needle) for needle in ("alpha", "lph", "", "日本", "a, b", "c++", "s0")]
    keys += [Header(b"x-number", "number 17"), Header(b"x-none", ""), Header(b"x-listed", "number")]
    before = [await found(mailbox, view, key) for key in keys]
    await index_all(tmp_path)
    assert [await found(mailbox, view, key) for key in keys] == before
    assert before[7] == [18] and before[8] == []
    read: list[int] = []
    original = mailbox.read
    monkeypatch.setattr(mailbox, "read", lambda *args: read.append(1) or original(*args))
    assert await found(mailbox, view, Header(b"x-number", "number 17")) == [18]
    odd = sum(not octets[:200].partition(b"\r\n\r\n")[0].isascii() for octets in messages)
    assert len(read) <= odd + 1
    view.release()


@pytest.mark.parametrize("length", [124, 125, 126, 150, 200])
async def test_a_field_with_a_name_of_one_very_long_word_is_found(mailbox: Mailbox, tmp_path: Path, length: int) -> None:
    folder = await inbox(mailbox)
    name = b"x" * length
    await mailbox.append(folder, [NewMessage(b"Subject: s\r\n%b: v%d\r\n\r\nbody\r\n" % (name, n % 3)) for n in range(30)])
    view = await mailbox.open(folder)
    await index_all(tmp_path)
    assert await found(mailbox, view, Header(name, "v1")) == list(range(2, 31, 3))
    assert await found(mailbox, view, Header(name[1:], "")) == []
    view.release()


@pytest.mark.parametrize("seed", range(3))
async def test_any_text_of_any_field_is_found_with_the_index_as_without(mailbox: Mailbox, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    folder = await inbox(mailbox)
    values = []
    messages = []
    for number in range(60):
        value = rng.choice(["", " ", "  "]) + sentence(rng, 6)
        kind = rng.randrange(6)
        if kind == 0:
            value = value.replace(" ", "\r\n ", 2)
        elif kind == 1:
            value = f"=?utf-8?q?{value.encode().hex('=')[:60]}?=\r\n =?utf-8?b?w6k=?= tail"
        elif kind == 2:
            value = value.replace("e", "e\0", 1)
        octets = value.encode(rng.choice(["utf-8", "latin-1", "ascii"]), "replace")
        values.append(octets.decode("latin-1"))
        head = b"Subject: s%d\r\nx-listed:%b\r\nX-Listed : second %d\r\n" % (number, octets, number % 7)
        messages.append(head + b"\r\nbody\r\n")
    await mailbox.append(folder, [NewMessage(octets) for octets in messages])
    view = await mailbox.open(folder)
    keys = []
    for _ in range(80):
        value = rng.choice([*values, " second 3", "x \x01 second", "\x01 second 5"])
        start = rng.randrange(len(value))
        needle = value[start : start + rng.choice([1, 3, 6, 15])]
        keys.append(
            Header(rng.choice([b"x-listed", b"x-listed", b"listed", b"x"]), needle.upper() if rng.random() < 0.3 else needle)
        )
    before = [await found(mailbox, view, key) for key in keys]
    await index_all(tmp_path)
    assert [await found(mailbox, view, key) for key in keys] == before
    assert sum(map(bool, before)) > 20
    view.release()
