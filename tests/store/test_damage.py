"""Files cut short, pages zeroed, bits flipped: told precisely, and all the rest is there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.store.export import ExportAccount, export
from mailstead.store.files import Files
from mailstead.store.fsck import fsck
from mailstead.store.operations import RemoveAccount, encode_operation
from mailstead.store.record import ChangeHead, Kind, MessageHead, Stream, Target, TargetKind, encode_head, frame
from mailstead.store.segment import scan
from mailstead.store.service import QUEUE, Store, prepare
from mailstead.store.shard import shard_path
from tests.store.index_dump import difference, dump
from tests.store.workload import SHARDS, Accounts, text

TOKENS = [f"d{number}" for number in range(30)]
LARGE = "large"


async def fill(root: Path) -> None:
    """Thirty messages and a large one in account 100, all in one segment; one message for the queue."""
    store = await Store.open(root, "w0", SHARDS)
    mailbox = Mailbox(store, Accounts())
    inbox = await mailbox.folder(100, "INBOX")
    assert inbox is not None
    for token in TOKENS:
        await mailbox.append(inbox, [NewMessage(text(token, 5000))])
    await mailbox.append(inbox, [NewMessage(text(LARGE, 400_000))])
    target = Target(TargetKind.QUEUE, QUEUE, date=1, recipient="x@remote.test")
    await store.submit_message(MessageHead("s@x", 1, [target]), text("waiting"))
    await store.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    asyncio.run(fill(data))
    return data


def segment(root: Path) -> Path:
    return sorted((root / "log" / "w0").glob("*.mlog"))[0]


def place(root: Path, token: str) -> int:
    """Offset of a message's octets in the segment."""
    return segment(root).read_bytes().index(b"Subject: %b\r\n" % token.encode())


def overwrite(path: Path, offset: int, octets: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(octets)


def flip(path: Path, offset: int) -> None:
    overwrite(path, offset, bytes([path.read_bytes()[offset] ^ 4]))


def told(root: Path, **options: object) -> tuple[int, str]:
    lines: list[str] = []
    status = fsck(root, out=lines.append, **options)  # type: ignore[arg-type]
    return status, "\n".join(lines)


async def served(root: Path) -> set[str]:
    """Messages of account 100 whose octets are whole, through a store that is opened anew."""
    store = await Store.open(root, "w0", SHARDS)
    found = set()
    for message_id, *where in store._readers[0].execute(
        "SELECT w.message_id, w.file, w.offset, w.length, w.external, w.external_size FROM message m JOIN wide w ON w.mid = m.mid"
    ):
        token = message_id.partition("@")[0]
        try:
            octets = store.read_message(*where)
        except Exception:
            continue
        if octets == text(token, 400_000 if token == LARGE else 5000):
            found.add(token)
    await store.close()
    return found


def test_a_flipped_bit_in_a_message(root: Path) -> None:
    flip(segment(root), place(root, "d7") + 2000)
    status, said = told(root)
    assert status == 2
    assert "account 100, INBOX, uid 8; Message-ID d7@t" in said
    assert "does not match its hash" in said
    assert said.count("Message-ID d") == 1
    assert asyncio.run(served(root)) == {*TOKENS, LARGE} - {"d7"}


def test_a_zeroed_page_of_the_log(root: Path) -> None:
    at = place(root, "d3") // 4096 * 4096
    overwrite(segment(root), at, bytes(4096))
    status, said = told(root)
    assert status == 2
    assert "octets from" in said
    alive = asyncio.run(served(root))
    assert {*TOKENS, LARGE} - alive <= {"d2", "d3", "d4"}


def test_a_log_cut_short(root: Path) -> None:
    path = segment(root)
    with path.open("r+b") as file:
        file.truncate(place(root, "d20") + 100)
    status, said = told(root)
    assert status == 2
    assert "uid 21; Message-ID d20@t" in said
    assert "the log ends at" in said
    assert asyncio.run(served(root)) >= set(TOKENS[:20])


def test_a_missing_body_file(root: Path) -> None:
    next((root / "log" / "w0" / "x").iterdir()).unlink()
    status, said = told(root)
    assert status == 2
    assert f"Message-ID {LARGE}@t: body file" in said
    assert asyncio.run(served(root)) == set(TOKENS)


def test_a_flipped_bit_in_a_body_file(root: Path) -> None:
    flip(next((root / "log" / "w0" / "x").iterdir()), 300_000)
    status, said = told(root)
    assert status == 2
    assert "does not match its hash" in said


def test_new_mail_after_damage_gets_new_numbers(root: Path) -> None:
    with segment(root).open("r+b") as file:
        file.truncate(place(root, "d20") + 100)

    async def more() -> list[int]:
        store = await Store.open(root, "w0", SHARDS)
        mailbox = Mailbox(store, Accounts())
        inbox = await mailbox.folder(100, "INBOX")
        assert inbox is not None
        result = await mailbox.append(inbox, [NewMessage(text("later"))])
        await store.close()
        return list(result.uids)

    assert asyncio.run(more()) == [32]


def test_repair_drops_what_is_lost_and_keeps_what_is_left_of_it(root: Path) -> None:
    flip(segment(root), place(root, "d7") + 2000)
    log = segment(root).read_bytes()
    assert told(root, repair=True)[0] == 2
    assert segment(root).read_bytes() == log
    kept = next((root / "lost").glob("*.eml")).read_bytes()
    assert b"Message-ID: <d7@t>" in kept
    assert "uid 8; Message-ID d7@t" in next((root / "lost").glob("*.txt")).read_text()
    status, said = told(root)
    assert "Message-ID" not in said
    assert status == 1  # the log stays as it is
    assert asyncio.run(served(root)) == {*TOKENS, LARGE} - {"d7"}


def change(root: Path, sql: str, number: int = 0) -> None:
    connection = apsw.Connection(str(shard_path(root / "index", number)))
    connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE folder SET unseen = unseen + 3, messages = messages - 1", "counters say"),
        ("UPDATE folder SET uidnext = 5 WHERE name = 'INBOX'", "next uid 5, but uid 31 exists"),
        ("UPDATE folder SET modseq = 5 WHERE name = 'INBOX'", "modseq 5"),
        ("UPDATE account SET size = 1", "use is 1 octets"),
        ("INSERT INTO copies SELECT mid, 2 FROM wide LIMIT 1", "is referred to 1 times, noted are 2"),
        ("DELETE FROM folder WHERE name = 'INBOX'", "has no INBOX"),
        ("DELETE FROM message WHERE uid = 4", "belongs to nothing"),
    ],
)
def test_an_index_that_miscounts_is_put_right(root: Path, sql: str, words: str) -> None:
    change(root, sql)
    status, said = told(root)
    assert status == 1
    assert words in said
    assert told(root)[0] == 1  # looking changes nothing
    assert told(root, repair=True)[0] == 1
    assert told(root)[0] == 0
    assert len(asyncio.run(served(root))) >= 30


@pytest.mark.parametrize("sql", ["DELETE FROM recipient", "DELETE FROM entry"])
def test_a_queue_with_loose_ends_is_put_right(root: Path, sql: str) -> None:
    change(root, sql, QUEUE)
    assert told(root)[0] == 1
    assert told(root, repair=True)[0] == 1
    assert told(root)[0] == 0


def test_a_message_without_its_row_is_told(root: Path) -> None:
    change(root, "DELETE FROM wide WHERE message_id = 'd5@t'")
    status, said = told(root)
    assert status == 2
    assert "account 100, INBOX, uid 6" in said
    before = told(root, rebuild_shard=0)
    assert before[0] == 1
    assert told(root)[0] == 0
    assert asyncio.run(served(root)) == {*TOKENS, LARGE}


def damage_pages(root: Path) -> None:
    path = shard_path(root / "index", 0)
    change(root, "PRAGMA wal_checkpoint(TRUNCATE)")
    for page in range(3, path.stat().st_size // 4096, 2):
        overwrite(path, page * 4096, b"\xff" * 512)


def empty_file(root: Path) -> None:
    for path in (root / "index").glob("shard-0.db*"):
        path.unlink()
    shard_path(root / "index", 0).write_bytes(b"not a database at all" * 400)


@pytest.mark.parametrize("ruin", [damage_pages, empty_file])
def test_a_damaged_index_is_told_and_built_anew(root: Path, ruin: Callable[[Path], None]) -> None:
    before = dump(root, 0)
    ruin(root)
    status, said = told(root)
    assert status in (1, 2)
    assert "--rebuild-shard 0" in said
    assert "shard-1: 0 messages" in said
    status, said = told(root, rebuild_shard=0)
    assert status == 1, said
    assert difference(before, dump(root, 0)) == []
    assert next((root / "index" / "damaged").glob("shard-0-*.db")).exists()
    assert told(root)[0] == 0


def test_a_missing_index_is_told(root: Path) -> None:
    for path in (root / "index").glob("shard-0.db*"):
        path.unlink()
    status, said = told(root)
    assert status == 2
    assert "shard-0: the file is missing" in said
    assert said.endswith("an index file has to be built anew from the log: see above")


def test_building_a_missing_index_at_the_start_is_logged(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare(root, SHARDS)
    assert not caplog.messages
    messages = len(list(apsw.Connection(str(root / "index" / "shard-0.db")).execute("SELECT 1 FROM message")))
    assert messages
    for path in (root / "index").glob("shard-0.db*"):
        path.unlink()
    prepare(root, SHARDS)
    begun, ended = caplog.messages
    assert begun.startswith("index file shard-0.db is missing: building it anew")
    assert re.fullmatch(rf"index file shard-0.db built anew from .*: {messages} messages in \d+\.\d seconds", ended)


def test_looking_beside_a_running_server(root: Path) -> None:
    async def beside() -> int:
        store = await Store.open(root, "w0", SHARDS)
        mailbox = Mailbox(store, Accounts())
        inbox = await mailbox.folder(101, "INBOX")
        assert inbox is not None
        looking = asyncio.create_task(asyncio.to_thread(fsck, root, out=lambda _: None))
        count = 0
        while not looking.done() or count < 20:
            await mailbox.append(inbox, [NewMessage(text(f"b{count}"))])
            count += 1
        await store.close()
        return await looking

    assert asyncio.run(beside()) == 0


def recovered(root: Path, name: str) -> tuple[set[bytes], str]:
    target = root.parent / name
    tool = Path(__file__).parents[2] / "tools" / "read_log.py"
    done = subprocess.run([sys.executable, "-S", "-I", str(tool), str(root / "log"), str(target)], check=True, capture_output=True)
    return {path.read_bytes() for path in target.glob("*/cur/*")}, done.stderr.decode()


def test_the_standalone_reader_recovers_all_and_after_damage_the_rest(root: Path) -> None:
    everything = {*(text(token, 5000) for token in TOKENS), text(LARGE, 400_000), text("waiting")}
    assert recovered(root, "whole")[0] == everything
    flip(segment(root), place(root, "d7") + 2000)
    overwrite(segment(root), segment(root).read_bytes().rindex(b"MSR1", 0, place(root, "d12")), bytes(16))
    found, said = recovered(root, "rest")
    assert found == everything - {text("d7", 5000), text("d12", 5000)}
    assert "damage" in said


@pytest.mark.parametrize("form", ["maildir", "mbox"])
def test_export_passes_over_what_is_damaged_and_says_so(root: Path, form: str) -> None:
    next((root / "log" / "w0" / "x").iterdir()).unlink()
    lines: list[str] = []
    target = root.parent / "out"
    assert export(root, target, form, [ExportAccount(100, 0, "a@example.test")], out=lines.append) == 1
    assert any("damaged: a@example.test INBOX message 31" in line for line in lines)
    octets = b"".join(path.read_bytes() for path in target.rglob("*") if path.is_file())
    assert all(b"Message-ID: <%b@t>\n" % token.encode() in octets for token in TOKENS)


def forged(root: Path) -> bytes:
    """A record as anybody could put it into a message: remove account 100."""
    removal = encode_head(ChangeHead([encode_operation(RemoveAccount(0, 100, 1))], [0]))
    return frame(Kind.CHANGE, Stream.DURABLE, 500, 1 << 61, removal)


@pytest.mark.parametrize("where", ["header", "body"])
def test_a_record_forged_inside_a_damaged_message_is_none(tmp_path: Path, where: str) -> None:
    root = tmp_path / "data"

    async def setting() -> None:
        store = await Store.open(root, "w0", SHARDS)
        mailbox = Mailbox(store, Accounts())
        inbox = await mailbox.folder(100, "INBOX")
        assert inbox is not None
        await mailbox.append(inbox, [NewMessage(text("trojan", 100) + forged(root) + b"\r\n")])
        await mailbox.append(inbox, [NewMessage(text("after"))])
        await store.close()

    asyncio.run(setting())
    path = segment(root)
    if where == "body":
        flip(path, place(root, "trojan"))
    else:
        overwrite(path, path.read_bytes().rindex(b"MSR1", 0, place(root, "trojan")), bytes(60))
    for file in (root / "index").glob("shard-0.db*"):
        file.unlink()
    prepare(root, SHARDS)
    assert [row[0] for row in dump(root, 0)["account"]] == [100]
    files = Files()
    fd = files.open(path)
    assert not any(getattr(item, "seq", 0) == 500 for item in scan(files, fd, path))
    files.close(fd)
