"""Where a tree may be mounted, what that needs, and what a view shows; without FUSE."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailstead.backup_mount import mount_point, requirements, view
from mailstead.backup_mount.mount_point import BadMountPoint, mounted, prepare, resolved, source_name
from mailstead.backup_mount.scope import BadScope, Scope
from mailstead.backup_mount.view import Mounted, View
from mailstead.backup_tree.paths import BadPath
from mailstead.backup_tree.tree import Missing
from mailstead.backup_tree.uploads import Refused
from mailstead.settings.actor import PermissionDeniedError
from tests.restoring.conftest import ADMIN, DOMAIN, Place, place

__all__ = ["place"]
BOX = f"/{DOMAIN}/accounts/alice/folders/INBOX"


def test_places(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "run").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "way").symlink_to(data)
    for good in (data / "run/a/b", tmp_path / "empty", tmp_path / "way/run/c"):
        found = resolved(str(good), data)
        prepare(found, data)
        assert found.is_dir() and not any(found.iterdir())
    for bad in ("x", "", "/", "/x\0", "/x\udc80", f"{data}", f"{data}/run", f"{data}/log", f"{tmp_path}/way/log", f"{tmp_path}",
                f"{data}/run/../log", "/" + "x" * 2000):  # fmt: skip
        with pytest.raises(BadMountPoint):
            resolved(bad, data)
    for bad in (tmp_path, tmp_path / "nothing", tmp_path / "way"):
        with pytest.raises(BadMountPoint):
            prepare(bad, data)


def test_mounts_of_this_server_are_found_in_the_kernels_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    mine = source_name(tmp_path)
    table.write_text(
        "24 30 0:22 / /proc rw,nosuid shared:12 - proc proc rw\n"
        f"90 30 0:50 / /a\\040b\\134c rw,nosuid,nodev shared:9 - fuse.mailstead {mine} rw,user_id=0\n"
        f"91 30 0:51 / /other rw - fuse.mailstead {source_name(tmp_path / 'x')} rw\n"
        f"92 30 0:52 / /third rw - fuse.sshfs {mine} rw\n"
        "93 30 broken\n"
    )
    monkeypatch.setattr(mount_point, "_TABLE", table)
    assert mounted(tmp_path) == ["/a b\\c"]


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda _name: None)
    assert "pip install 'mailstead[mount]'" in requirements.what_is_missing()
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(requirements.ctypes.util, "find_library", lambda _name: None)
    assert "apt-get install fuse3" in requirements.what_is_missing()
    monkeypatch.setattr(requirements.ctypes.util, "find_library", lambda _name: "libfuse3.so.3")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "fusermount3 is not installed" in requirements.what_is_missing()
    (tmp_path / "fusermount3").touch(mode=0o755)
    monkeypatch.setattr(requirements, "DEVICE", tmp_path / "fuse")
    assert "modprobe fuse" in requirements.what_is_missing()
    (tmp_path / "fuse").touch()
    monkeypatch.setattr(requirements.os, "geteuid", lambda: 1000)
    status = tmp_path / "status"
    monkeypatch.setattr(requirements, "_STATUS", status)
    status.write_text("Name:\tpython\nNoNewPrivs:\t1\n")
    assert "NoNewPrivileges" in requirements.what_is_missing()
    status.write_text("NoNewPrivs:\t0\n")
    assert requirements.what_is_missing() == ""
    conf = tmp_path / "fuse.conf"
    monkeypatch.setattr(requirements, "_FUSE_CONF", conf)
    for text, wanted in (("#user_allow_other\n", False), ("mount_max = 5\nuser_allow_other\n", True)):
        conf.write_text(text)
        assert requirements.others_may_read() is wanted


async def test_scopes_are_paths(place: Place) -> None:
    await place.account("alice")
    await place.directory.create_list(DOMAIN, "news", ["x@elsewhere.test"], actor=ADMIN)
    await place.directory.create_group(DOMAIN, "team", [], actor=ADMIN)
    for scope, path in (
        (Scope(), ()), (Scope(DOMAIN), (DOMAIN,)), (Scope(DOMAIN, True, folder="/A/B&C/"), (DOMAIN, "publicFolders", "A", "B&-C")),
        (Scope(DOMAIN, object="alice"), (DOMAIN, "accounts", "alice")), (Scope(DOMAIN, object="team"), (DOMAIN, "groups", "team")),
        (Scope(DOMAIN, object="news", folder="X/.y"), (DOMAIN, "lists", "news", "folders", "X", "%2Ey")),
    ):  # fmt: skip
        assert scope.path(place.directory, utf8=False) == path
    for wrong in (
        Scope(object="alice"), Scope(DOMAIN, folder="A"), Scope(DOMAIN, object="team", folder="A"), Scope(DOMAIN, object="x"),
        Scope(DOMAIN, True, "alice"), Scope("nowhere.test", object="alice"),
    ):  # fmt: skip
        with pytest.raises(BadScope):
            wrong.path(place.directory, utf8=False)


async def furnish(place: Place, monkeypatch: pytest.MonkeyPatch) -> int:
    alice = (await place.account("alice")).id
    await place.mailbox.folders(alice)
    await place.add(alice, "INBOX", ["a", "b"])
    await place.directory.create_admin("helper", "administrator-1", actor=ADMIN)
    await place.directory.grant("helper", "backupDomain", DOMAIN, actor=ADMIN)
    monkeypatch.setattr(view, "RIGHTS_SECONDS", 0.0)
    return alice


async def test_a_view_follows_the_rights(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await furnish(place, monkeypatch)
    seen = View(place, Mounted((), "helper"))
    (name, _), *_ = await seen.names(BOX)
    number = await seen.open(f"{BOX}/{name}")
    assert (await seen.read(number, 100, 0)).startswith(b"From: a@b.test")
    assert (await seen.attributes(f"{BOX}/{name}")).mode & 0o777 == 0o440
    with pytest.raises(PermissionDeniedError):
        await seen.create(f"{BOX}/x.eml")
    for wrong in ("/nowhere.test", "/@since-x", f"{BOX}/0000000099.1.-.-.eml", "/\x07"):
        with pytest.raises((Missing, BadPath)):
            await seen.attributes(wrong)
    await place.directory.revoke("helper", "backupDomain", DOMAIN, actor=ADMIN)
    await place.directory.grant("helper", "restoreDomain", DOMAIN, actor=ADMIN)
    with pytest.raises(PermissionDeniedError):
        await seen.read(number, 100, 0)
    assert (await seen.attributes(f"{BOX}/{name}")).mode & 0o777 == 0o640
    with pytest.raises(PermissionDeniedError):
        await seen.open(f"{BOX}/{name}")
    await place.directory.delete_admin("helper", actor=ADMIN)
    with pytest.raises(Missing):
        await seen.read(number, 100, 0)
    assert await seen.names("/") == []
    assert (await seen.attributes("/")).directory


async def test_nothing_outside_of_the_scope(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await furnish(place, monkeypatch)
    seen = View(place, Mounted((DOMAIN, "accounts", "alice", "folders"), "helper"))
    names = [name for name, _ in await seen.names("/")]
    assert "INBOX" in names
    assert await seen.names("/..") == await seen.names("/../../..") == await seen.names("/")
    with pytest.raises(Missing):
        await seen.attributes("/account.json")


async def test_what_is_open_stays_as_it_was(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await furnish(place, monkeypatch)
    monkeypatch.setattr(view, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(view, "HELD_SECONDS", 0.0)
    seen = View(place, Mounted((), "helper"))
    path = f"/{DOMAIN}/domain.json"
    number = await seen.open(path)
    before = await seen.attributes(path)
    await place.directory.set_domain_setting(DOMAIN, "catchAllType", "account", actor=ADMIN)
    assert (await seen.attributes(path)).size == before.size == len(await seen.read(number, 1 << 20, 0))
    seen.release(number)
    assert (await seen.attributes(path)).size != before.size


async def test_a_file_is_taken_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await furnish(place, monkeypatch)
    await place.directory.grant("helper", "restoreDomain", DOMAIN, actor=ADMIN)
    seen = View(place, Mounted((), "helper"))
    path = f"{BOX}/new.eml"
    number = await seen.create(path)
    file = seen.being_written(number)
    await file.write(b"Subject: new\r\n", 0)
    assert (await seen.attributes(path)).size == 14
    await file.write(b"\r\nbody\r\n", 14)
    assert await seen.take(number) == "restored"
    assert await seen.take(number) == ""
    with pytest.raises(OSError):
        await file.write(b"more", 22)
    seen.release(number)
    assert [row[0] for row in await place.contents(alice, "INBOX")] == ["a", "b", "new"]
    assert not os.listdir(place.path / "tmp")
    with pytest.raises(Refused):
        await View(place, Mounted((), "helper", since=1)).create(path)
    monkeypatch.setattr("mailstead.backup_mount.writing.MAX_FILE", 10)
    number = await seen.create(path)
    with pytest.raises(OSError):
        await seen.being_written(number).write(b"x" * 11, 0)
    seen.release(number)


async def test_a_message_that_is_there_under_another_name_is_found_for_a_while(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnish(place, monkeypatch)
    await place.directory.grant("helper", "restoreDomain", DOMAIN, actor=ADMIN)
    seen = View(place, Mounted((), "helper"))
    listed = sorted(name for name, _ in await seen.names(BOX))
    number = await seen.open(f"{BOX}/{listed[0]}")
    octets = await seen.read(number, 10_000, 0)
    seen.release(number)
    written = "0000000077" + listed[0][10:]
    number = await seen.create(f"{BOX}/{written}")
    await seen.being_written(number).write(octets, 0)
    assert await seen.take(number) == "is there already"
    seen.release(number)
    assert (await seen.attributes(f"{BOX}/{written}")).size == len(octets)
    assert sorted(name for name, _ in await seen.names(BOX)) == listed
    monkeypatch.setattr(view, "TAKEN_SECONDS", 0.0)
    with pytest.raises(Missing):
        await seen.attributes(f"{BOX}/{written}")
    parts = listed[1].split(".")
    with pytest.raises(Missing):  # a message of that UID, but another one
        await seen.attributes(f"{BOX}/{parts[0]}.{int(parts[1]) - 1}.-.-.eml")
