"""What an administrator and his programs notice of a mounted tree, over a running server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from mailstead.directory import Directory
from tests.backup_mount.conftest import ADMIN, Server
from tests.cli.conftest import command
from tests.cli.test_backup import client_of, fill
from tests.ftp_backup.test_service import download

ALICE = "example.test/accounts/alice"
INBOX = f"{ALICE}/folders/INBOX"
LARGE = 3_000_000


def run(*words: str | Path) -> str:
    """A program that must succeed, and say nothing on standard error."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and not done.stderr, (words, done)
    return done.stdout


def octets_of(place: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def furnish(server: Server) -> None:
    client = client_of(server.demo)
    fill(client, 5)
    fill(client, 1, LARGE)
    for name in ("Work", "Work/2024", "Entw&APw-rfe &- Co", "Work/removed.json"):
        assert client.create(f'"{name}"')[0] == "OK"
    for number in range(30):
        assert client.append("Work/2024", "(\\Seen)", "", f"Subject: w{number}\r\n\r\nx\r\n".encode())[0] == "OK"
    client.logout()


@pytest.mark.parametrize("tar", [False, True])
def test_copies_are_what_ftp_gives_octet_for_octet(server: Server, tmp_path: Path, tar: bool) -> None:
    furnish(server)
    session = server.session()
    if tar:
        session.ok("SET messagesTarEnabled yes")
        session.ok("COMMIT")
        session.ok("CONFIG FTP-BACKUP")
    point = session.mount(server.data / "run/backup-mount")
    count = download(server.ftp(), f"/{ALICE}", tmp_path / "ftp")
    assert count > (9 if tar else 37)
    run("cp", "-a", point / ALICE, tmp_path / "copied")
    wanted = octets_of(tmp_path / "ftp")
    assert len(wanted) == count
    assert octets_of(tmp_path / "copied") == wanted
    run("tar", "-C", point / ALICE, "-cf", tmp_path / "all.tar", ".")
    with tarfile.open(tmp_path / "all.tar") as file:
        packed = {one.name.removeprefix("./"): file.extractfile(one).read() for one in file if one.isfile()}  # type: ignore[union-attr]
    assert packed == wanted
    listed = run("ls", "-R", point)
    assert "other.test" in listed and "carol" in listed and "Entw&APw-rfe &- Co" in listed
    for path in (point / ALICE).rglob("*"):
        if path.is_file():
            assert path.stat().st_size == len(path.read_bytes()), path
    if tar:
        with tarfile.open(point / INBOX / "messages.tar") as file:
            assert len(file.getnames()) == 6


def test_any_part_of_a_large_message_can_be_read(server: Server) -> None:
    furnish(server)
    point = server.session().mount(server.data / "run/backup-mount")
    large = next(path for path in (point / INBOX).iterdir() if path.stat().st_size > LARGE)
    whole = large.read_bytes()
    with large.open("rb") as file:
        for offset in (LARGE - 10, 0, 1_234_567, LARGE + 50, 77):
            file.seek(offset)
            assert file.read(1000) == whole[offset : offset + 1000]
    assert not large.with_name("0000000099.1.-.-.eml").exists()


def test_a_label_gives_what_came_and_what_was_removed_since(server: Server, tmp_path: Path) -> None:
    furnish(server)
    time.sleep(1.1)  # what came in the second of a label counts as later
    session = server.session()
    first = session.mount(server.data / "run/first", "backup monday domain example.test")
    assert "monday" in session.ok("LIST BACKUPS from domain example.test")
    assert len(list((first / "accounts/alice/folders/INBOX").glob("*.eml"))) == 6
    assert not (first / "accounts/alice/folders/INBOX/removed.json").exists()
    assert "already" in session.err(f"FILESYSTEM mount {server.data}/run/again backup monday domain example.test")
    assert "no backup label" in session.err(f"FILESYSTEM mount {server.data}/run/again since sunday domain example.test")
    time.sleep(1.1)  # a label is a second
    client = client_of(server.demo)
    fill(client, 1)
    client.select("INBOX")
    client.store("2:3", "+FLAGS", "\\Deleted")
    client.expunge()
    client.store("1", "+FLAGS", "\\Answered")
    assert client.delete('"Work/2024"')[0] == "OK"
    changes = session.mount(server.data / "run/changes", "since monday domain example.test") / "accounts/alice/folders"
    came = [path.name[:10] for path in sorted((changes / "INBOX").glob("*.eml"))]
    assert came == ["0000000001", "0000000007"]  # its flags changed, and it is new
    told = json.loads((changes / "INBOX/removed.json").read_bytes())
    assert (told["present"], [one["uid"] for one in told["removed"]], told["complete"]) == ("1,4:7", [2, 3], True)
    above = json.loads((changes / "removed.json").read_bytes())
    assert [(one["name"], one["messages"]) for one in above["removed"]] == [("Work/2024", 30)]
    assert "Work/2024" not in above["present"] and "INBOX" in above["present"]
    assert "removed.json" not in [path.name for path in (changes / "Work").iterdir() if path.is_dir()]
    run("tar", "-C", changes, "-cf", tmp_path / "changes.tar", ".")
    without = session.mount(server.data / "run/without", "since monday noremoved domain example.test")
    assert [path.name[:10] for path in sorted((without / "accounts/alice/folders/INBOX").iterdir())] == came
    with pytest.raises(OSError):
        (changes / "INBOX/x.eml").write_bytes(b"Subject: x\r\n\r\n")
    status = session.ok(f"FILESYSTEM status {server.data}/run/changes")
    assert 'since = "monday"' in status and "removed = shown" in status and 'scope = "domain example.test"' in status
    # The label may go, what is mounted stays.
    session.ok("REMOVE BACKUP monday from domain example.test")
    assert [path.name[:10] for path in sorted((changes / "INBOX").glob("*.eml"))] == came


def test_scopes(server: Server) -> None:
    furnish(server)
    session = server.session()
    run_ = server.data / "run"
    folder = session.mount(run_ / "m/folder", "domain example.test object alice folder Work/2024")
    assert len(list(folder.iterdir())) == 30
    assert sorted(path.name for path in session.mount(run_ / "m/object", "domain example.test object alice").iterdir()) == [
        "account.json", "folders", "mailbox.json",
    ]  # fmt: skip
    public = session.mount(run_ / "m/public", "domain example.test publicFolder")
    assert [path.name for path in public.iterdir()] == ["mailbox.json"]
    assert not (folder / ".." / ".." / "accounts").exists()
    for words, said in (
        ("domain example.test object nobody", "no account"),
        ("domain nowhere.test", "no such domain"),
        ("domain example.test object alice folder Nowhere", "no such folder"),
        ("domain example.test publicFolder Nowhere", "no such folder"),
        ("object alice", "name it"),
        ("domain example.test folder Work", "of an object"),
        ("domain example.test object alice publicFolder", "either"),
    ):
        assert said in session.err(f"FILESYSTEM mount {run_}/m/other {words}")
    assert session.ok("FILESYSTEM status").count("| mounted") == 3


def test_a_delegated_administrator_sees_his_domain_as_long_as_he_may(server: Server, tmp_path: Path) -> None:
    furnish(server)
    session = server.session("delegate")
    point = session.mount(server.data / "run/mine")
    assert [path.name for path in point.iterdir()] == ["example.test"]
    assert not (point / "other.test").exists()
    message = next((point / INBOX).iterdir())
    assert message.read_bytes().startswith(b"Subject: m0")
    assert "no such domain" in session.err(f"FILESYSTEM mount {server.data}/run/other domain other.test")
    (tmp_path / "elsewhere").mkdir()
    assert "every right" in session.err(f"FILESYSTEM mount {tmp_path}/elsewhere")
    assert "lacks" in session.err(f"FILESYSTEM mount {server.data}/run/other backup tuesday")
    with pytest.raises(PermissionError):
        (point / INBOX / "x.eml").open("wb")
    # He neither sees nor ends what others mounted.
    chief = server.session()
    theirs = chief.mount(server.data / "run/theirs")
    assert str(theirs) not in session.ok("FILESYSTEM status")
    assert "nothing is mounted" in session.err(f"FILESYSTEM unmount {theirs}")
    assert str(point) in chief.ok("FILESYSTEM status")
    descriptor = os.open(message, os.O_RDONLY)
    try:
        directory = Directory.open(server.data)
        asyncio.run(directory.revoke("delegate", "backupDomain", "example.test", actor=ADMIN))
        directory.close()
        end = time.monotonic() + 60
        while os.path.exists(point / ALICE):
            assert time.monotonic() < end
            time.sleep(0.1)
        assert list(point.iterdir()) == []
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        with pytest.raises(OSError):
            os.pread(descriptor, 10, 0)
    finally:
        os.close(descriptor)
    assert (theirs / "other.test").exists()


def test_unmounting_and_places_that_are_none(server: Server, tmp_path: Path) -> None:
    session = server.session()
    (tmp_path / "here").mkdir()
    point = session.mount(tmp_path / "here", "domain example.test")
    assert os.path.ismount(point)
    assert "already" in session.err(f"FILESYSTEM mount {point}")
    assert "already" in session.err(f"FILESYSTEM mount {tmp_path}/./here")
    with (point / "domain.json").open("rb"):
        assert "in use" in session.err(f"FILESYSTEM unmount {point}")
        assert (point / "domain.json").exists()
    session.ok(f"FILESYSTEM unmount {point}")
    assert not os.path.ismount(point) and list(point.iterdir()) == []
    assert "nothing is mounted" in session.err(f"FILESYSTEM unmount {point}")
    assert "nothing is mounted" in session.err(f"FILESYSTEM status {point}")
    session.mount(point)
    run("fusermount3", "-u", point)  # from outside
    end = time.monotonic() + 60
    while "unmounted from outside" not in session.ok("FILESYSTEM status"):
        assert time.monotonic() < end
        time.sleep(0.1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    (server.data / "tmp/inside").mkdir(parents=True)
    for path, said in (
        ("relative/path", "absolute"), (f"{tmp_path}/full", "not empty"), (f"{tmp_path}/nothing", "no directory"),
        (f"{tmp_path}/full/file", "no directory"), (f"{tmp_path}/link", "no directory"), (f"{server.data}/tmp/inside", "only run/"),
        (str(server.data), "only run/"), (f"{server.data}/run", "only run/"), ("/", "no mount point"), (str(tmp_path), "below it"),
        (f"{server.data}/run/../tmp/inside", ".."), (f"{server.data}/run/background.sock", "used"),
    ):  # fmt: skip
        assert said in session.err(f"FILESYSTEM mount {path}"), path
    assert not (tmp_path / "nothing").exists()


def test_what_is_written_is_restored(server: Server, tmp_path: Path) -> None:
    furnish(server)
    session = server.session()
    point = session.mount(server.data / "run/backup-mount")
    run("cp", "-a", point / ALICE, tmp_path / "copy")
    client = client_of(server.demo)
    client.select("INBOX")
    client.store("1:6", "+FLAGS", "\\Deleted")
    client.expunge()
    assert client.delete('"Work/2024"')[0] == "OK"
    # In any order, and by programs that ask for a file that is not there yet: its UID may be another's by then.
    end = time.monotonic() + 60
    while (point / ALICE / "folders/Work/2024").exists():  # the kernel keeps names for a moment
        assert time.monotonic() < end
        time.sleep(0.1)
    (point / ALICE / "folders/Work/2024").mkdir()
    for path in sorted((tmp_path / "copy/folders/Work/2024").iterdir(), reverse=True):
        with open(point / ALICE / "folders/Work/2024" / path.name, "xb") as written:
            written.write(path.read_bytes())
    assert octets_of(point / ALICE / "folders/Work/2024") == octets_of(tmp_path / "copy/folders/Work/2024")
    run("cp", "-a", tmp_path / "copy/folders", point / ALICE)
    client = client_of(server.demo)
    assert client.select("Work/2024") == ("OK", [b"30"])
    assert client.select("INBOX") == ("OK", [b"6"])
    assert client.fetch("1", "(FLAGS)")[1] == [b"1 (FLAGS (\\Flagged))"]
    bodies = [part[1] for part in client.fetch("1:6", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]
    assert sorted(bodies) == sorted(path.read_bytes() for path in (tmp_path / "copy/folders/INBOX").iterdir())
    run("cp", "-a", tmp_path / "copy/folders", point / ALICE)  # nothing comes twice
    assert client.select("INBOX") == ("OK", [b"6"])
    with pytest.raises(PermissionError):
        (point / INBOX / "note.txt").write_text("x")
    for refused in (os.unlink, lambda path: os.rename(path, f"{path}x")):
        with pytest.raises(PermissionError):
            refused(next((point / INBOX).iterdir()))
    # The document is damaged: closing it says so, and nothing changed.
    file = open(point / ALICE / "account.json", "wb", buffering=0)  # noqa: SIM115
    file.write(b"{}")
    with pytest.raises(OSError):
        file.close()
    assert (point / ALICE / "account.json").read_bytes() == (tmp_path / "copy/account.json").read_bytes()
    # An account that is gone comes back with its password.
    directory = Directory.open(server.data)
    found = directory.account_by_address("alice@example.test")
    assert found is not None
    asyncio.run(directory.delete_account(found.id, actor=ADMIN))
    directory.close()
    end = time.monotonic() + 60
    while os.path.exists(point / ALICE):
        assert time.monotonic() < end
        time.sleep(0.1)
    os.mkdir(point / ALICE)
    (point / ALICE / "account.json").write_bytes((tmp_path / "copy/account.json").read_bytes())
    assert client_of(server.demo).select("INBOX")[0] == "OK"
    assert server.demo.stop() == 0
    assert "clean" in command("fsck", "-c", str(server.data)).output
