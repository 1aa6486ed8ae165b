"""A domain, an account, a folder, a message from a backup: all of it comes, none of it twice, and nothing else changes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from mailstead.directory import Actor, PermissionDeniedError
from mailstead.directory.model import AlreadyExistsError, RecipientKind
from mailstead.mailbox.errors import OverQuota
from mailstead.restoring.later_directory import bring_what_is_missing, later_of
from mailstead.restoring.mail import Wanted
from mailstead.restoring.service import How
from mailstead.settings.history import Filter, entries
from mailstead.store.backup.repository import BackupError, Repository
from mailstead.store.backup.restore import restore_server
from mailstead.store.backup.sealing import Secret
from mailstead.store.backup.view import choose
from mailstead.store.fsck import CLEAN, fsck
from tests.restoring.conftest import ADMIN, DOMAIN, Place, close_place, open_place

ALICE = f"alice@{DOMAIN}"
KEY = Secret(b"0123456789abcdef", passphrase=False)
SCRIPT = 'require "fileinto";\r\nfileinto "Work";\r\n'


async def furnish(place: Place) -> int:
    """An account with everything an account can have."""
    alice = await place.account("alice", full_name="Alice A.")
    bob = await place.account("bob")
    await place.directory.add_account_alias(alice.id, "sales", actor=ADMIN)
    await place.directory.set_account_setting(alice.id, "totalMessageCount", "1000", actor=ADMIN)
    await place.directory.create_group(DOMAIN, "crew", [ALICE], actor=ADMIN)
    await place.mailbox.create_folder(alice.id, "Work/2024", special_use="\\Important")
    await place.mailbox.set_subscribed(alice.id, "Work/2024", True)
    await place.add(alice.id, "INBOX", ["a", "b", "c"], ("\\Seen", "kw"))
    await place.add(alice.id, "INBOX", ["d"], ("\\Flagged",), size=400_000)
    await place.add(alice.id, "Work/2024", [f"w{n}" for n in range(250)])
    await place.mailbox.put_script(alice.id, "main", SCRIPT)
    await place.mailbox.activate_script(alice.id, "main")
    await place.mailbox.set_acl(alice.id, "Work/2024", f"bob@{DOMAIN}", "set", "lrs")
    await place.mailbox.set_acl(alice.id, "Work/2024", "group=crew", "set", "l")
    await place.mailbox.set_metadata(alice.id, await place.folder(alice.id, "INBOX"), {"/private/comment": b"mine"})
    await place.add(bob.id, "INBOX", ["bob1"])
    return alice.id


async def seen(place: Place, account: int) -> dict[str, object]:
    """What a client of an account notices."""
    mailbox = place.mailbox
    folders = await mailbox.folders(account)
    return {
        "folders": sorted((f.name, f.special_use, f.subscribed, f.kind) for f in folders),
        "messages": {f.name: await place.contents(account, f.name) for f in folders},
        "scripts": [(*one, await mailbox.script(account, one[0])) for one in await mailbox.scripts(account)],
        "rights": sorted((await mailbox.acl(account, "Work/2024"))[1:]),
        "notes": await mailbox.metadata(account, await place.folder(account, "INBOX")),
    }


@pytest.mark.parametrize("secret", [None, KEY])
async def test_an_account_that_is_gone_for_good_comes_back_whole(place: Place, tmp_path: Path, secret: Secret | None) -> None:
    alice = await furnish(place)
    before = await seen(place, alice)
    credentials = place.directory.credentials(alice)
    place.backup(tmp_path / "b", secret)
    await place.directory.delete_account(alice, actor=ADMIN, keep_copy=False)
    for one in await place.directory.claim_deleted_mailboxes():
        await place.mailbox.remove_account(one.owner, one.shard, 0)
        await place.directory.mailbox_removed(one.owner)
    source, restorer = place.restorer(tmp_path / "b", secret)
    report = await restorer.account(ALICE)
    assert (report.restored, report.there, report.notes) == (254, 0, [])
    back = place.directory.account_by_address(ALICE)
    assert back is not None
    assert (back.full_name, back.quota_messages) == ("Alice A.", 1000)
    assert place.directory.account_by_address(f"sales@{DOMAIN}").id == back.id  # type: ignore[union-attr]
    assert back.id != alice, "what was erased for good is not offered to who comes back"
    assert await place.mailbox.deleted_messages(back.id, actor=ADMIN) == []
    assert place.directory.credentials(back.id) == credentials
    assert await seen(place, back.id) == before
    again = await restorer.account(ALICE)
    assert (again.restored, again.there) == (0, 254)
    assert await seen(place, back.id) == before
    source.close()
    assert not (place.path / "tmp" / "restore").exists()
    assert fsck(place.path, out=lambda _: None) == CLEAN


async def test_what_is_there_stays_and_does_not_come_twice(place: Place, tmp_path: Path) -> None:
    alice = await furnish(place)
    place.backup(tmp_path / "b")
    await place.delete(alice, "INBOX", {"a", "b"})
    await place.add(alice, "INBOX", ["new"])
    view = await place.mailbox.open(await place.folder(alice, "INBOX"))
    await place.mailbox.move(view, [view.uids[0]], await place.folder(alice, "Archive"))  # c
    await place.mailbox.store_flags(view, [view.uids[1]], "set", ["\\Seen"], durable=True)  # d
    view.release()
    await place.directory.set_password(alice, "changed-2", actor=ADMIN)
    credentials = place.directory.credentials(alice)
    source, restorer = place.restorer(tmp_path / "b")
    report = await restorer.account(ALICE)
    assert (report.restored, report.there, report.moved) == (2, 251, 1)
    inbox = [(row[0], row[2]) for row in await place.contents(alice, "INBOX")]
    assert inbox == [("d", ("\\Seen",)), ("new", ()), ("a", ("\\Seen", "kw")), ("b", ("\\Seen", "kw"))]
    assert [row[0] for row in await place.contents(alice, "Archive")] == ["c"]
    assert place.directory.credentials(alice) == credentials
    assert place.said == [f"{ALICE}: 2 messages restored, 251 are there, 1 are in another folder now"]
    await restorer.account(ALICE, how=How(password=True, settings=True))
    assert place.directory.credentials(alice) != credentials
    source.close()


async def test_a_deleted_account_that_is_kept_comes_back_as_it_is_kept(place: Place, tmp_path: Path) -> None:
    alice = await furnish(place)
    place.backup(tmp_path / "b")
    await place.add(alice, "INBOX", ["after"])
    await place.directory.delete_account(alice, actor=ADMIN)
    source, restorer = place.restorer(tmp_path / "b")
    report = await restorer.account(ALICE)
    source.close()
    assert (report.restored, report.there) == (0, 254)
    assert (await place.contents(alice, "INBOX"))[-1][0] == "after"
    assert "brought back as it was kept" in place.said[0]


async def test_the_mail_of_one_who_is_gone_does_not_go_to_who_has_the_name_as_an_alias(place: Place, tmp_path: Path) -> None:
    alice = await furnish(place)
    dave = await place.account("dave")
    place.backup(tmp_path / "b")
    await place.directory.delete_account(alice, actor=ADMIN, keep_copy=False)
    await place.directory.add_account_alias(dave.id, "alice", actor=ADMIN)
    source, restorer = place.restorer(tmp_path / "b")
    with pytest.raises(AlreadyExistsError, match="belongs to another account now"):
        await restorer.account(ALICE)
    assert await place.contents(dave.id, "INBOX") == []
    await restorer.domain(DOMAIN)
    assert await place.contents(dave.id, "INBOX") == []
    assert any(line.startswith(f"{ALICE}: not restored: ") for line in place.said)
    report = await restorer.account(ALICE, to=f"alicia@{DOMAIN}")
    assert report.restored == 254
    source.close()


async def test_another_account_another_folder_one_message(place: Place, tmp_path: Path) -> None:
    alice = await furnish(place)
    place.backup(tmp_path / "b")
    await place.mailbox.delete_folder(alice, "Work/2024")
    carol = await place.account("carol")
    source, restorer = place.restorer(tmp_path / "b")
    report = await restorer.account(ALICE, wanted=Wanted("Work/2024", into="Back"))
    assert (report.restored, report.folders) == (250, 1)
    assert [row[0] for row in await place.contents(alice, "Back")] == [f"w{n}" for n in range(250)]
    report = await restorer.account(ALICE, to=f"carol@{DOMAIN}", wanted=Wanted("Work", below=True, into="From Alice"))
    assert report.restored == 250
    assert len(await place.contents(carol.id, "From Alice/2024")) == 250
    report = await restorer.account(ALICE, wanted=Wanted(message_id="<b@t>", into="Archive"))
    assert report.restored == 1
    assert (await place.contents(alice, "Archive"))[0][:3] == ("b", 1_000_001, ("\\Seen", "kw"))
    report = await restorer.account(ALICE, to=f"carol@{DOMAIN}", wanted=Wanted("INBOX", uid=4))
    assert [row[0] for row in await place.contents(carol.id, "INBOX")] == ["d"]
    # An account that is made for it is another one, with the same password.
    report = await restorer.account(ALICE, to=f"copy@{DOMAIN}")
    copy = place.directory.account_by_address(f"copy@{DOMAIN}")
    assert copy is not None
    assert copy.id != alice
    assert report.restored == 254
    assert place.directory.credentials(copy.id).password == place.directory.credentials(alice).password  # type: ignore[union-attr]
    assert [row[0] for row in await place.contents(copy.id, "INBOX")] == ["a", "b", "c", "d"]
    assert ("bob@example.test", "lrs") in await place.mailbox.acl(copy.id, "Work/2024")
    assert any("alias sales" in text for text in place.said)
    source.close()
    assert fsck(place.path, out=lambda _: None) == CLEAN


async def test_a_folder_as_it_was_at_a_time(place: Place, tmp_path: Path) -> None:
    alice = (await place.account("alice")).id
    await place.add(alice, "INBOX", ["a"])
    place.backup(tmp_path / "b", label="first")
    await place.add(alice, "INBOX", ["b", "c"])
    await place.delete(alice, "INBOX", {"a"})
    await asyncio.sleep(0.05)
    until = time.time()
    await asyncio.sleep(0.05)
    await place.delete(alice, "INBOX", {"b", "c"})
    await place.add(alice, "INBOX", ["e"])
    place.backup(tmp_path / "b", label="second")
    source, restorer = place.restorer(tmp_path / "b", until=until)
    await restorer.account(ALICE, wanted=Wanted("INBOX", into="Then"))
    source.close()
    assert [row[0] for row in await place.contents(alice, "Then")] == ["b", "c"]


async def test_a_whole_domain_into_another_server(place: Place, other: Place, tmp_path: Path) -> None:
    """As on the first server: groups, lists, public folders, rights of each other, mail."""
    alice = await furnish(place)
    await place.directory.create_list(DOMAIN, "news", ["x@elsewhere.test"], actor=ADMIN)
    gold = await place.directory.create_account_class(DOMAIN, "gold", actor=ADMIN)
    await place.directory.set_account_class(alice, gold.id, actor=ADMIN)
    domain = place.directory.domain_by_name(DOMAIN)
    assert domain is not None
    await place.mailbox.create_folder(domain.id, "Board")
    await place.add(domain.id, "Board", ["notice"])
    await place.mailbox.set_acl(domain.id, "Board", f"bob@{DOMAIN}", "set", "lrs")
    before = await seen(place, alice)
    place.backup(tmp_path / "b")
    await other.account("bob")  # another one of the name
    source, restorer = other.restorer(tmp_path / "b")
    reports = await restorer.domain(DOMAIN)
    assert [report.restored for report in reports] == [254, 1, 1]
    here = other.directory.account_by_address(ALICE)
    assert here is not None
    assert await seen(other, here.id) == before
    assert [one.name for one in other.directory.account_classes(here.domain_id)] == ["gold"]
    assert here.class_id
    for kind, name in ((RecipientKind.GROUP, "crew"), (RecipientKind.LIST, "news")):
        assert [one.name for one in other.directory.recipients(here.domain_id, kind)] == [name]
    assert [row[0] for row in await other.contents(here.domain_id, "Board")] == ["notice"]
    rights = entries(other.directory.database, Filter([("publicFolder", here.domain_id, "")]))
    assert [(one.author, *one.lines()) for one in rights] == [("restore", f"rights of bob@{DOMAIN} in Board: inherited -> lrs")]
    assert [report.restored for report in await restorer.domain(DOMAIN)] == [0, 0, 0]
    # And once more beside it, under another name.
    reports = await restorer.domain(DOMAIN, to="copy.test")
    assert [report.restored for report in reports] == [254, 1, 1]
    copy = other.directory.account_by_address("alice@copy.test")
    assert copy is not None
    assert {row[0] for row in (await other.mailbox.acl(copy.id, "Work/2024"))[1:]} == {"bob@copy.test", "group=crew"}
    source.close()
    assert fsck(other.path, out=lambda _: None) == CLEAN


async def test_a_deleted_domain_comes_back(place: Place, tmp_path: Path) -> None:
    alice = await furnish(place)
    before = await seen(place, alice)
    place.backup(tmp_path / "b")
    await place.directory.delete_domain(DOMAIN, actor=ADMIN, keep_copy=False)
    for one in await place.directory.claim_deleted_mailboxes():
        await place.mailbox.remove_account(one.owner, one.shard, 0)
        await place.directory.mailbox_removed(one.owner)
    source, restorer = place.restorer(tmp_path / "b")
    await restorer.domain(DOMAIN)
    source.close()
    back = place.directory.account_by_address(ALICE)
    assert back is not None
    assert back.id != alice
    assert await seen(place, back.id) == before


async def test_only_who_may(place: Place, tmp_path: Path) -> None:
    await furnish(place)
    place.backup(tmp_path / "b")
    source, restorer = place.restorer(tmp_path / "b", actor=Actor("helper", server=frozenset({"manageAccountsOnAnyDomain"})))
    with pytest.raises(PermissionDeniedError):
        await restorer.account(ALICE)
    with pytest.raises(PermissionDeniedError):
        await restorer.domain(DOMAIN)
    with pytest.raises(BackupError, match="no account"):
        await restorer.account(f"nobody@{DOMAIN}")
    source.close()


async def test_quotas_hold_where_they_are_to(place: Place, tmp_path: Path) -> None:
    alice = await furnish(place)
    place.backup(tmp_path / "b")
    await place.mailbox.delete_folder(alice, "Work/2024")
    await place.directory.set_account_setting(alice, "totalMessageCount", "10", actor=ADMIN)
    source, restorer = place.restorer(tmp_path / "b")
    with pytest.raises(OverQuota):
        await restorer.account(ALICE, how=How(limited=True))
    assert (await restorer.account(ALICE)).restored == 250
    source.close()


async def test_accounts_made_between_two_backups_are_there_at_a_time_between(place: Place, tmp_path: Path) -> None:
    home, new = tmp_path / "b", tmp_path / "new"
    await place.account("alice")
    place.backup(home, label="first")
    bob = await place.account("bob")
    await place.directory.create_group(DOMAIN, "crew", [f"bob@{DOMAIN}"], actor=ADMIN)
    await place.directory.create_domain("second.test", actor=ADMIN)
    carol = await place.directory.create_account("second.test", "carol", actor=ADMIN)
    await place.add(bob.id, "INBOX", ["one"])
    await asyncio.sleep(0.05)
    until = time.time()
    await asyncio.sleep(0.05)
    await place.account("late")
    await place.directory.create_account("second.test", "late", actor=ADMIN)
    await place.directory.create_domain("late.test", actor=ADMIN)
    await place.add(bob.id, "INBOX", ["two"])
    place.backup(home, label="second")
    repository = Repository.open(home)
    point = choose(repository, "", until)
    later = later_of(repository, point.base, point.time)
    assert later is not None
    said: list[str] = []
    await asyncio.to_thread(restore_server, repository, point, new)
    await bring_what_is_missing(repository, later, new, point.time, said.append)
    restored = await open_place(new)
    try:
        domains = {one.name for one in restored.directory.domains()}
        assert domains == {DOMAIN, "second.test"}
        assert {one.address for one in restored.directory.accounts()} == {ALICE, f"bob@{DOMAIN}", "carol@second.test"}
        assert restored.directory.account_by_address("carol@second.test").id == carol.id  # type: ignore[union-attr]
        assert [row[0] for row in await restored.contents(bob.id, "INBOX")] == ["one"]
        assert restored.directory.recipients(bob.domain_id, RecipientKind.GROUP)
    finally:
        await close_place(restored)
    assert len(said) == 3


async def test_a_copy_under_another_name_does_not_bring_permissions(place: Place, tmp_path: Path) -> None:
    await furnish(place)
    await place.directory.create_admin("hoster", "hosthost-1", actor=ADMIN)
    await place.directory.grant("hoster", "manageAccounts", DOMAIN, actor=ADMIN)
    place.backup(tmp_path / "b")
    source, restorer = place.restorer(tmp_path / "b")
    await restorer.domain(DOMAIN, to="copy.test")
    source.close()
    copy = place.directory.domain_by_name("copy.test")
    assert copy is not None
    rows = place.directory.database.query("SELECT domain_id FROM admin_permission")
    assert rows and (copy.id,) not in rows
    assert [text for text in place.said if "permission" in text] == [
        "copy.test: left out: 1 permissions of administrators, which a copy under another name does not get"
    ]


async def test_what_the_backup_does_not_have_is_an_error(place: Place, tmp_path: Path) -> None:
    await furnish(place)
    place.backup(tmp_path / "b")
    source, restorer = place.restorer(tmp_path / "b")
    for wanted, words in (
        (Wanted("Nope"), f"the backup has no folder Nope of {ALICE}"),
        (Wanted(message_id="<no@t>"), f"the backup has no message <no@t> of {ALICE}"),
        (Wanted("INBOX", uid=99), f"the backup has no message with UID 99 of {ALICE} in the folder INBOX"),
    ):
        with pytest.raises(BackupError, match=f"^{words}$"):
            await restorer.account(ALICE, to=f"new@{DOMAIN}", wanted=wanted)
    with pytest.raises(BackupError, match="has no folder Nope"):
        await restorer.public_folders(DOMAIN, wanted=Wanted("Nope"))
    assert place.directory.account_by_address(f"new@{DOMAIN}") is None
    source.close()
