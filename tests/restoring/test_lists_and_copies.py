"""Mailing lists' mail comes from a backup like accounts'; a copy of a domain under another name names its own people (BKP-01)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailstead.directory import Actor, PermissionDeniedError
from mailstead.directory.model import AlreadyExistsError, Recipient, RecipientEdit, RecipientKind
from mailstead.restoring.mail import Wanted
from mailstead.restoring.service import How
from mailstead.store.backup.repository import BackupError
from mailstead.store.fsck import CLEAN, fsck
from tests.restoring.conftest import ADMIN, DOMAIN, Place

ALICE, NEWS = f"alice@{DOMAIN}", f"news@{DOMAIN}"
COPY = "copy.test"
RENAMED = f"renamed: 4 addresses of {DOMAIN} to {COPY} (members of groups and lists, administrators of lists)"


async def furnish(place: Place) -> Recipient:
    """Two accounts, a group, and a list with an archive."""
    for name in ("alice", "bob"):
        await place.account(name)
    await place.directory.create_group(DOMAIN, "crew", [ALICE, f"Bob@{DOMAIN}", "x@elsewhere.test"], actor=ADMIN)
    news = await place.directory.create_list(DOMAIN, "news", [ALICE, "y@elsewhere.test"], adminEmail=ALICE, actor=ADMIN)
    await place.mailbox.create_folder(news.id, "Digests/Old")
    await place.add(news.id, "INBOX", [f"n{n}" for n in range(9)], ("\\Seen", "kw"))
    await place.add(news.id, "Digests/Old", ["d"], ("\\Flagged",))
    await place.mailbox.set_acl(news.id, "Digests/Old", f"bob@{DOMAIN}", "set", "lrs")
    await place.mailbox.set_acl(news.id, "Digests/Old", "group=crew", "set", "l")
    return news


async def seen(place: Place, owner: int) -> dict[str, object]:
    """What whoever logs in as the list notices."""
    folders = await place.mailbox.folders(owner)
    return {
        "messages": {one.name: await place.contents(owner, one.name) for one in folders},
        "rights": sorted(who for who in await place.mailbox.acl(owner, "Digests/Old") if who[0] != NEWS),
    }


async def erase(place: Place) -> None:
    """The mail of what was deleted without a copy goes."""
    for one in await place.directory.claim_deleted_mailboxes():
        await place.mailbox.remove_account(one.owner, one.shard, 0)
        await place.directory.mailbox_removed(one.owner)


def list_here(place: Place, name: str = "news", domain: str = DOMAIN) -> Recipient:
    home = place.directory.domain_by_name(domain)
    assert home is not None
    return next(one for one in place.directory.recipients(home.id, RecipientKind.LIST) if one.name == name)


def members(place: Place, recipient: Recipient) -> list[str]:
    return sorted(one.address for one in place.directory.members(recipient.id))


async def test_the_mail_of_lists_comes_back_with_their_domain(place: Place, tmp_path: Path) -> None:
    news = await furnish(place)
    before = await seen(place, news.id)
    place.backup(tmp_path / "b")
    await place.directory.delete_domain(DOMAIN, actor=ADMIN, keep_copy=False)
    await erase(place)
    source, restorer = place.restorer(tmp_path / "b")
    reports = await restorer.domain(DOMAIN)
    back = list_here(place)
    assert sum(report.restored for report in reports) == 10
    assert await seen(place, back.id) == before
    assert any(text.startswith(f"{NEWS}: 10 messages restored, 0 are there") for text in place.said)
    assert sum(report.restored for report in await restorer.domain(DOMAIN)) == 0
    source.close()
    assert fsck(place.path, out=lambda _: None) == CLEAN


async def test_what_a_list_lost_comes_back(place: Place, tmp_path: Path) -> None:
    news = await furnish(place)
    place.backup(tmp_path / "b")
    await place.delete(news.id, "INBOX", {"n1", "n2", "n3"})
    await place.mailbox.delete_folder(news.id, "Digests/Old")
    source, restorer = place.restorer(tmp_path / "b")
    report = await restorer.account(NEWS, wanted=Wanted(message_id="<n2@t>"))
    assert (report.restored, report.there) == (1, 0)
    report = await restorer.account(NEWS, wanted=Wanted("Digests/Old", into="Then"))
    assert report.restored == 1
    assert [row[0] for row in await place.contents(news.id, "Then")] == ["d"]
    report = await restorer.account(NEWS, how=How(settings=True))
    assert (report.restored, report.there, report.moved) == (2, 7, 1)
    assert f"{NEWS}: is here, so its password, settings and members stay" in place.said
    assert ("bob@example.test", "lrs") not in await place.mailbox.acl(news.id, "Then")
    # Into others: an account, and a list.
    alice = place.directory.account_by_address(ALICE)
    assert alice is not None
    assert (await restorer.account(NEWS, to=ALICE, wanted=Wanted("INBOX", into="News"))).restored == 9
    assert len(await place.contents(alice.id, "News")) == 9
    other = await place.directory.create_list(DOMAIN, "other", actor=ADMIN)
    assert (await restorer.account(NEWS, to=f"other@{DOMAIN}", wanted=Wanted("INBOX"))).restored == 9
    assert len(await place.contents(other.id, "INBOX")) == 9
    with pytest.raises(BackupError, match=f"^there is no account or list nobody@{DOMAIN} here$"):
        await restorer.account(NEWS, to=f"nobody@{DOMAIN}")
    with pytest.raises(BackupError, match=f"^the backup has no account or list crew@{DOMAIN}$"):
        await restorer.account(f"crew@{DOMAIN}")
    source.close()


async def test_a_list_that_is_gone_is_made(place: Place, tmp_path: Path) -> None:
    news = await furnish(place)
    before = await seen(place, news.id)
    place.backup(tmp_path / "b")
    await place.directory.delete_recipient(news.id, actor=ADMIN)
    await erase(place)
    source, restorer = place.restorer(tmp_path / "b")
    assert (await restorer.account(NEWS)).restored == 10
    back = list_here(place)
    assert await seen(place, back.id) == before
    assert members(place, back) == [ALICE, "y@elsewhere.test"]
    await place.directory.delete_recipient(back.id, actor=ADMIN)
    await place.account("news")
    with pytest.raises(AlreadyExistsError, match="belongs to another account"):
        await restorer.account(NEWS)
    await restorer.domain(DOMAIN)
    assert f"{NEWS}: not restored: there is no list of that name in {DOMAIN}" in place.said
    source.close()


async def test_only_who_may_restores_a_list(place: Place, tmp_path: Path) -> None:
    await furnish(place)
    place.backup(tmp_path / "b")
    source, restorer = place.restorer(tmp_path / "b", actor=Actor("helper", server=frozenset({"manageAccountsOnAnyDomain"})))
    for to in ("", ALICE):
        with pytest.raises(PermissionDeniedError):
            await restorer.account(NEWS, to=to)
    source.close()


async def test_rights_of_an_early_account_find_one_who_comes_late(place: Place, tmp_path: Path) -> None:
    await furnish(place)
    alice, bob = (place.directory.account_by_address(f"{name}@{DOMAIN}") for name in ("alice", "bob"))
    assert alice is not None
    assert bob is not None
    await place.mailbox.create_folder(alice.id, "Work")
    await place.mailbox.set_acl(alice.id, "Work", f"bob@{DOMAIN}", "set", "lrs")
    place.backup(tmp_path / "b")
    for one in (alice, bob):
        await place.directory.delete_account(one.id, actor=ADMIN, keep_copy=False)
    await erase(place)
    source, restorer = place.restorer(tmp_path / "b")
    await restorer.domain(DOMAIN)
    back = place.directory.account_by_address(ALICE)
    assert back is not None
    assert (f"bob@{DOMAIN}", "lrs") in await place.mailbox.acl(back.id, "Work")
    source.close()


@pytest.mark.parametrize("there", [False, True])
async def test_a_copy_of_a_domain_names_its_own_people(place: Place, tmp_path: Path, there: bool) -> None:
    """Beside the first one, whether the copy is made or was there, empty."""
    await furnish(place)
    text = RecipientEdit(contents={"bodyEnd": f"Write to {ALICE}."})
    await place.directory.edit_recipient(list_here(place).id, text, actor=ADMIN)
    alice = place.directory.account_by_address(ALICE)
    assert alice is not None
    await place.mailbox.put_script(alice.id, "main", f'redirect "bob@{DOMAIN}";\r\n')
    place.backup(tmp_path / "b")
    if there:
        await place.directory.create_domain(COPY, actor=ADMIN)
        await place.directory.set_domain_setting(COPY, "groupwareSupport", "yes", actor=ADMIN)
    source, restorer = place.restorer(tmp_path / "b")
    reports = await restorer.domain(DOMAIN, to=COPY)
    source.close()
    assert sum(report.restored for report in reports) == 10
    news = list_here(place, domain=COPY)
    assert members(place, news) == [f"alice@{COPY}", "y@elsewhere.test"]
    assert news.attributes["adminEmail"] == f"alice@{COPY}"
    (crew,) = place.directory.recipients(news.domain_id, RecipientKind.GROUP)
    assert members(place, crew) == [f"Bob@{COPY}", f"alice@{COPY}", "x@elsewhere.test"]
    rights = await place.mailbox.acl(news.id, "Digests/Old")
    assert {(f"bob@{COPY}", "lrs"), ("group=crew", "l")} <= set(rights)
    sharing = place.store.sharing(news.shard)
    mine = {f"g{crew.id}", *(f"u{one.id}" for one in place.directory.accounts(news.domain_id)), f"u{news.id}"}
    assert {identifier for _, identifier, _ in sharing.acl(news.id)} <= mine
    assert f"{COPY}: {RENAMED}" in place.said
    assert f"{COPY}: WARNING: 1 settings or texts name addresses of {DOMAIN} and stay as they were" in place.said
    assert f"alice@{COPY}: WARNING: 1 scripts name addresses of {DOMAIN} and stay as they were" in place.said
    # The first one is as it was.
    assert members(place, list_here(place)) == [ALICE, "y@elsewhere.test"]


async def test_a_deleted_domain_that_comes_back_as_another_names_its_own_people(place: Place) -> None:
    await furnish(place)
    await place.directory.delete_domain(DOMAIN, actor=ADMIN)
    await place.directory.create_domain(DOMAIN, actor=ADMIN)
    gone = place.directory.deleted_domains()[0]
    back = await place.directory.restore_domain(gone.id, actor=ADMIN, name=COPY)
    assert back.readdressed == (RENAMED,)
    assert members(place, list_here(place, domain=COPY)) == [f"alice@{COPY}", "y@elsewhere.test"]


async def test_a_member_that_a_copy_has_already_does_not_come_twice(place: Place, tmp_path: Path) -> None:
    await place.account("alice")
    await place.directory.create_list(DOMAIN, "news", [ALICE, f"alice@{COPY}", f"a@sub.{DOMAIN}"], actor=ADMIN)
    place.backup(tmp_path / "b")
    source, restorer = place.restorer(tmp_path / "b")
    await restorer.domain(DOMAIN, to=COPY)
    source.close()
    assert members(place, list_here(place, domain=COPY)) == [f"a@sub.{DOMAIN}", f"alice@{COPY}"]


async def test_what_a_list_has_sent_since_is_not_sent_again(place: Place, tmp_path: Path) -> None:
    """What waits in Digest and ConfirmedRequests is sent by itself; where the list is here, it was."""
    news = await furnish(place)
    for name in ("Digest", "ConfirmedRequests"):
        await place.mailbox.create_folder(news.id, name)
        await place.add(news.id, name, ["n1"])
    place.backup(tmp_path / "b")
    for name in ("Digest", "ConfirmedRequests"):
        await place.delete(news.id, name, {"n1"})
    source, restorer = place.restorer(tmp_path / "b")
    for _ in await restorer.domain(DOMAIN), await restorer.account(NEWS):
        assert await place.contents(news.id, "Digest") == []
        assert await place.contents(news.id, "ConfirmedRequests") == []
    assert f"{NEWS}: Digest: 1 messages left out, which the list would act on again; `restore folder` restores them" in place.said
    # Who asks for the folder gets it.
    assert (await restorer.account(NEWS, wanted=Wanted("Digest"))).restored == 1
    # A list that is gone may not have sent it.
    await place.directory.delete_recipient(news.id, actor=ADMIN)
    await erase(place)
    assert (await restorer.account(NEWS)).restored == 12
    source.close()


async def test_addresses_of_an_alias_that_the_domain_lost_are_told_as_those(place: Place, tmp_path: Path) -> None:
    await place.account("alice")
    await place.directory.add_domain_alias(DOMAIN, "alias.test", actor=ADMIN)
    news = await place.directory.create_list(DOMAIN, "news", ["alice@alias.test"], actor=ADMIN)
    place.backup(tmp_path / "b")
    await place.directory.delete_recipient(news.id, actor=ADMIN)
    await place.directory.remove_domain_alias(DOMAIN, "alias.test", actor=ADMIN)
    source, restorer = place.restorer(tmp_path / "b")
    await restorer.domain(DOMAIN)
    source.close()
    assert members(place, list_here(place)) == [ALICE]
    renamed = f"renamed: 1 addresses of alias.test to {DOMAIN} (members of groups and lists, administrators of lists)"
    assert f"{DOMAIN}: {renamed}" in place.said
