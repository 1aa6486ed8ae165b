"""Backup, wipe, restore, compare: what comes back is what was there."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import apsw
import pytest

from mailstead.directory.service import Directory
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.settings.actor import Actor
from mailstead.store.backup.create import Made, create_backup
from mailstead.store.backup.hold import hold, is_kept, keep_younger
from mailstead.store.backup.repository import BackupError, Damaged, Repository
from mailstead.store.backup.restore import Restored, restore_server
from mailstead.store.backup.sealing import Secret
from mailstead.store.backup.verify import verify
from mailstead.store.backup.view import choose
from mailstead.store.compaction import Compactor
from mailstead.store.files import Files
from mailstead.store.fsck import CLEAN, fsck
from mailstead.store.segment import segment_numbers
from mailstead.store.service import QUEUE, Store
from mailstead.store.shard import shard_path
from mailstead.store.snapshot import take_snapshot
from tests.store.index_dump import difference, dump
from tests.store.test_rebuild import two_runs
from tests.store.workload import SHARDS, Accounts, check, record, text

SECRET = Secret(b"correct horse battery staple", passphrase=True)
KEY = Secret(b"0123456789abcdef0123456789abcdef", passphrase=False)


def system_database(root: Path) -> None:
    Directory.open(root, shards=SHARDS, create=True).close()
    (root / "mailstead.toml").write_text('data_dir = "/elsewhere"\nshards = 2\n')
    (root / "certs").mkdir(exist_ok=True)
    (root / "certs" / "default.pem").write_text("certificate")


def make(root: Path, home: Path, secret: Secret | None = None, **how: object) -> Made:
    repository = Repository.open(home, secret) if (home / "repository.json").exists() else Repository.create(home, secret)
    repository.lock()
    try:
        return create_backup(root, repository, shards=SHARDS, bootstrap=root / "mailstead.toml", **how)  # type: ignore[arg-type]
    finally:
        repository.close()


def back(
    home: Path, target: Path, secret: Secret | None = None, label: str = "", until: float | None = None, **how: bool
) -> Restored:
    repository = Repository.open(home, secret)
    return restore_server(repository, choose(repository, label, until), target, **how)


def findings(home: Path, secret: Secret | None = None) -> list[str]:
    told: list[str] = []
    repository = Repository.open(home, secret)
    verify(repository, repository.labels(), told.append)
    return told


def dumps(root: Path) -> dict[int, dict[str, list[tuple[object, ...]]]]:
    return {number: dump(root, number) for number in (*range(SHARDS), QUEUE)}


def tokens(root: Path, account: int) -> list[str]:
    """Message-IDs in an account's INBOX, by uid."""
    connection = apsw.Connection(str(shard_path(root / "index", account % SHARDS)))
    try:
        return [
            str(row[0]).partition("@")[0]
            for row in connection.execute(
                "SELECT w.message_id FROM message m JOIN wide w ON w.mid = m.mid JOIN folder f ON f.id = m.folder "
                "WHERE f.account = ? AND f.name = 'INBOX' ORDER BY m.uid",
                (account,),
            )
        ]
    finally:
        connection.close()


async def append(root: Path, names: list[str], account: int = 100, size: int = 200, segment_size: int = 1 << 20) -> None:
    store = await Store.open(root, "w0", SHARDS, segment_size=segment_size)
    mailbox = Mailbox(store, Accounts())
    inbox = await mailbox.folder(account, "INBOX")
    assert inbox is not None
    for name in names:
        await mailbox.append(inbox, [NewMessage(text(name, size))])
    await store.close()


@pytest.mark.parametrize("secret", [None, SECRET, KEY])
def test_every_kind_of_object_comes_back_identical(tmp_path: Path, secret: Secret | None) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    asyncio.run(two_runs(root, True))
    asyncio.run(append(root, ["large"], size=400_000))
    system_database(root)
    before = dumps(root)
    made = make(root, home, secret)
    assert made.manifest.full
    assert findings(home, secret) == []
    system = (root / "index" / "system.db").read_bytes()
    shutil.rmtree(root)
    result = back(home, root, secret, log_ends_here=True)
    assert (result.raised, result.lost, result.renewed) == (None, [], 0)
    for number, rows in before.items():
        assert difference(rows, dump(root, number)) == [], number
    assert fsck(root, out=lambda _: None) == CLEAN
    assert len((root / "index" / "system.db").read_bytes()) == len(system)
    assert (root / "mailstead.toml").read_text() == 'data_dir = "."\nshards = 2\n'
    assert (root / "certs" / "default.pem").read_text() == "certificate"
    assert tokens(root, 100)[-1] == "large"


@pytest.mark.parametrize("seed", range(3))
def test_taken_under_load_what_was_acknowledged_is_there_and_nothing_is_half_there(tmp_path: Path, seed: int) -> None:
    """Beside two writers, checkpoints, expiry and compaction of segments of 16 KB."""
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)

    async def both() -> list[int]:
        cuts: list[int] = []
        # The run's disk is known once the first promise is made.
        running = asyncio.create_task(record(root, 70 + seed, rounds=60))
        while not (root / "index" / "shard-1.db").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for number in range(3):
            await asyncio.sleep(0.3)
            started = time.time()
            await asyncio.to_thread(make, root, home, label=f"b{number}")
            cuts.append(int(started * 1e6))
        run = await running
        runs.append(run)
        return cuts

    from tests.store import workload

    runs: list[workload.Run] = []
    stamps: list[tuple[int, int]] = []
    noted = workload.Run.promise

    def promise(self: workload.Run, *what: object) -> None:
        noted(self, *what)
        stamps.append((self.promises[-1][0], int(time.time() * 1e6)))

    workload.Run.promise = promise  # type: ignore[method-assign]
    try:
        cuts = asyncio.run(both())
    finally:
        workload.Run.promise = noted  # type: ignore[method-assign]
    assert findings(home) == []
    for number, started in enumerate(cuts):
        image = tmp_path / f"image{number}"
        result = back(home, image, label=f"b{number}")
        assert result.lost == []
        assert fsck(image, out=lambda _: None) == CLEAN
        cut = next((event for event, at in stamps if at >= started), 1 << 60)
        assert check(runs[0], cut, image) == []


def test_numbers_that_clients_may_have_seen_are_left_out(tmp_path: Path) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)
    asyncio.run(append(root, ["a", "b"]))
    make(root, home)
    before = dump(root, 0)
    asyncio.run(append(root, ["lost1", "lost2"]))
    back(home, tmp_path / "new")
    after = dump(tmp_path / "new", 0)
    for old, new in zip(before["folder"], after["folder"], strict=True):
        assert new[7] - old[7] >= 65_536
        assert new[8] - old[8] >= 1_000
        assert new[6] == old[6]
    modseqs = {row[0]: row[8] for row in after["folder"]}
    assert all(row[2] == modseqs[row[0]] for row in after["message"]), "clients ask for every message's flags again"
    assert any(row[2] == 3 and row[1] == modseqs[row[0]] for row in after["change"]), "and are told that the others are gone"
    asyncio.run(append(tmp_path / "new", ["c"]))
    assert tokens(tmp_path / "new", 100) == ["a", "b", "c"]
    result = back(home, tmp_path / "fresh", new_uidvalidity=True)
    assert result.renewed == len(before["folder"])
    fresh = dump(tmp_path / "fresh", 0)
    assert all(new[6] > old[6] for old, new in zip(before["folder"], fresh["folder"], strict=True))


def test_whoever_says_that_the_log_ends_there_is_held_to_it(tmp_path: Path) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)

    async def running() -> None:
        store = await Store.open(root, "w0", SHARDS)
        await asyncio.to_thread(make, root, home)
        await store.close()

    asyncio.run(running())
    with pytest.raises(BackupError, match="does not end here"):
        back(home, tmp_path / "new", log_ends_here=True)
    with pytest.raises(BackupError, match="not empty"):
        back(home, root)


def test_any_time_between_two_backups(tmp_path: Path) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)
    asyncio.run(append(root, ["a"]))
    make(root, home, label="first")
    times: list[float] = []
    for names in (["b", "c"], ["d"], ["e"]):
        time.sleep(0.02)
        times.append(time.time())
        time.sleep(0.02)
        asyncio.run(append(root, names))
    make(root, home, label="second")
    for number, (until, expected) in enumerate(zip(times, ["a", "abc", "abcd"], strict=True)):
        image = tmp_path / f"image{number}"
        assert back(home, image, until=until).raised is not None
        assert tokens(image, 100) == list(expected)
        assert fsck(image, out=lambda _: None) == CLEAN
    with pytest.raises(BackupError, match="begin"):
        back(home, tmp_path / "x", until=times[0] - 3600)
    with pytest.raises(BackupError, match="ends at"):
        back(home, tmp_path / "x", until=time.time() + 3600)
    back(home, tmp_path / "first", label="first")
    assert tokens(tmp_path / "first", 100) == ["a"]


def test_a_time_for_which_the_log_is_not_whole_is_refused(tmp_path: Path) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)
    asyncio.run(append(root, ["a"]))
    make(root, home, label="first")
    asyncio.run(append(root, ["b"]))
    until = time.time()
    asyncio.run(append(root, ["c"]))
    numbers = segment_numbers(Files(), root / "log" / "w0")
    (root / "log" / "w0" / f"{numbers[-2]:010d}.mlog").unlink()  # as if compacted away since
    make(root, home, label="second")
    with pytest.raises(BackupError, match="not whole"):
        back(home, tmp_path / "x", until=until)


def test_the_second_backup_copies_what_is_new(tmp_path: Path) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)
    asyncio.run(append(root, [f"m{n}" for n in range(40)], size=100_000, segment_size=1 << 20))
    asyncio.run(append(root, ["large"], size=1_000_000))
    first = make(root, home, label="one")
    asyncio.run(append(root, ["n"], size=1000))
    second = make(root, home, label="two")
    assert not second.manifest.full
    assert second.shared > 4_900_000
    log = [entry for entry in second.manifest.files if entry.path.startswith("log/")]
    assert {entry.path for entry in first.manifest.files} < {entry.path for entry in second.manifest.files}
    assert second.copied - sum(entry.size for entry in second.manifest.files if entry not in log) < 10_000
    third = make(root, home, label="three", full=True)
    assert third.shared == 0
    assert findings(home) == []
    back(home, tmp_path / "new", label="two")
    assert tokens(tmp_path / "new", 100)[-1] == "n"


def test_removing_backups_leaves_the_others_whole(tmp_path: Path) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)
    for label in ("one", "two", "three"):
        asyncio.run(append(root, [label]))
        make(root, home, label=label, secret=KEY)
    repository = Repository.open(home, keyless=True)
    repository.lock()
    repository.remove("one")
    repository.remove("three")
    count, octets = repository.collect()
    assert count > 0 < octets
    repository.close()
    assert repository.labels() == ["two"]
    assert findings(home, KEY) == []
    back(home, tmp_path / "new", KEY)
    assert tokens(tmp_path / "new", 100) == ["one", "two"]
    with pytest.raises(BackupError, match="no backup one"):
        repository.remove("one")


def test_damage_is_found_and_not_restored(tmp_path: Path) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)
    asyncio.run(append(root, ["a"], size=5000))
    for secret in (None, KEY):
        make(root, home, secret, label="one")
        pieces = sorted((path for path in (home / "pieces").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        for path in (pieces[0], pieces[-1]):
            good = path.read_bytes()
            for bad in (good[:-1], good + b"x", bytes([good[0] ^ 1]) + good[1:], good[:-1] + bytes([good[-1] ^ 1]), b""):
                path.write_bytes(bad)
                assert findings(home, secret), (path, len(bad))
            path.unlink()
            assert "missing" in findings(home, secret)[0]
            with pytest.raises(Damaged):
                back(home, tmp_path / "new", secret)
            assert not (tmp_path / "new" / "mailstead.toml").exists()
            shutil.rmtree(tmp_path / "new")
            path.write_bytes(good)
        assert findings(home, secret) == []
        if secret is not None:  # one whole piece in the place of another
            pieces[0].write_bytes(pieces[1].read_bytes())
            assert findings(home, secret)
        manifest = home / "backups" / "one.manifest"
        manifest.write_bytes(manifest.read_bytes().replace(b"e", b"f", 1))
        assert "one" in findings(home, secret)[0]
        shutil.rmtree(home)


def test_an_encrypted_repository_tells_nothing_and_opens_to_its_key_only(tmp_path: Path) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)
    asyncio.run(append(root, ["veryparticularword"], size=300_000))
    make(root, home, SECRET, label="one")
    for path in home.rglob("*"):
        if path.is_file():
            assert b"veryparticular" not in path.read_bytes()
            assert path.stat().st_mode & 0o077 == 0
    for wrong in (Secret(b"correct horse", passphrase=True), Secret(SECRET.octets, passphrase=False)):
        with pytest.raises(BackupError, match=r"not the right one|passphrase"):
            Repository.open(home, wrong)
    with pytest.raises(BackupError, match="is encrypted"):
        Repository.open(home)
    assert Repository.open(home, keyless=True).labels() == ["one"]


def test_compaction_takes_nothing_away_from_a_backup(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()

    async def run() -> None:
        store = await Store.open(root, "w0", SHARDS, segment_size=16 * 1024)
        mailbox = Mailbox(store, Accounts())
        inbox = await mailbox.folder(100, "INBOX")
        assert inbox is not None
        for number in range(100):
            await mailbox.append(inbox, [NewMessage(text(f"m{number}", 1000))])
        for number in store.indexes:
            take_snapshot(root / "index", number, Files())
        there = segment_numbers(Files(), root / "log" / "w0")
        compactor = Compactor(store, fill=2.0, grace=0.0)
        try:
            with hold(root / "index"):
                for _ in range(4):
                    await compactor.run_once()
                assert segment_numbers(Files(), root / "log" / "w0")[: len(there)] == there
            keep_younger(root / "index", {"w0": there[2]}, 60, root)
            await compactor.run_once()
            left = segment_numbers(Files(), root / "log" / "w0")
            assert there[0] not in left
            assert set(there[3:]) <= set(left)
            assert is_kept(root / "index", "w0", there[3])
            keep_younger(root / "index", {}, -1, root)
            await compactor.run_once()
            assert there[4] not in segment_numbers(Files(), root / "log" / "w0")
            await mailbox.append(inbox, [NewMessage(text("last"))])
        finally:
            compactor.close()
            await store.close()

    asyncio.run(run())
    said: list[str] = []
    assert fsck(root, out=said.append) == CLEAN, said


def test_what_a_manifest_names_is_durable_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut at any moment leaves a backup whole or absent."""
    import os

    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)
    asyncio.run(append(root, ["a"], size=400_000))
    synced: set[int] = set()
    named: list[str] = []
    unsynced_names: set[str] = set()
    fdatasync, fsync, rename = os.fdatasync, os.fsync, Path.rename

    def note_file(fd: int, sync: object) -> None:
        synced.add(os.fstat(fd).st_ino)
        path = os.readlink(f"/proc/self/fd/{fd}")
        unsynced_names.difference_update({name for name in unsynced_names if os.path.dirname(name) == path})
        sync(fd)  # type: ignore[operator]

    def note_rename(self: Path, target: Path) -> Path:
        if str(target).startswith(str(home)):
            assert self.stat().st_ino in synced, f"{target} gets its name before its octets are durable"
            if target.name.endswith(".manifest"):
                assert not unsynced_names, f"{unsynced_names} may be lost"
            unsynced_names.add(str(target))
            named.append(str(target))
        return rename(self, target)

    monkeypatch.setattr(os, "fdatasync", lambda fd: note_file(fd, fdatasync))
    monkeypatch.setattr(os, "fsync", lambda fd: note_file(fd, fsync))
    monkeypatch.setattr(Path, "rename", note_rename)
    make(root, home, label="one")
    assert named[-1].endswith("one.manifest")
    assert len(named) > 5
    assert not unsynced_names


def test_an_index_that_is_missing_is_not_backed_up_as_if_it_were_empty(tmp_path: Path) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)
    asyncio.run(append(root, ["a"]))
    shard_path(root / "index", 1).unlink()
    with pytest.raises(BackupError, match=r"shard-1.db"):
        make(root, home)
    assert Repository.open(home).labels() == []


def test_the_directory_comes_back_with_its_passwords(tmp_path: Path) -> None:
    root, home = tmp_path / "data", tmp_path / "backups"
    root.mkdir()
    system_database(root)
    actor = Actor.system("test")
    directory = Directory.open(root)
    asyncio.run(directory.create_domain("example.test", actor=actor))
    account = asyncio.run(directory.create_account("example.test", "alice", "secret-1", actor=actor))
    stored = directory.credentials(account.id)
    make(root, home)  # while it is open, the write-ahead log unmerged
    directory.close()
    back(home, tmp_path / "new")
    restored = Directory.open(tmp_path / "new")
    assert restored.account_by_address("alice@example.test") == account
    assert restored.credentials(account.id) == stored
    assert (tmp_path / "new" / "index" / "system.db").stat().st_mode & 0o077 == 0
    restored.close()
