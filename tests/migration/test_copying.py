"""Whole mailboxes from a real Dovecot."""

from __future__ import annotations

import asyncio

import pytest

from mailstead.migration.service import MigrationError
from tests.migration.conftest import ADMIN, Here, There, text

DATE = 837596665


async def test_everything_comes_over(here: Here, there: There) -> None:
    big = text(99, 900_000)
    for number in range(1, 451):
        there.append("INBOX", text(number), r"(\Seen)" if number % 2 else r"(\Flagged $label)")
    there.append("INBOX", big, r"(\Answered \Draft)")
    there.do("create", "Work/2024")
    there.do("create", "Entw&APw-rfe")
    there.do("create", "B&APw-ro")
    there.do("subscribe", "Work/2024")
    there.append("Work/2024", b"Subject: bare\n\nline\nend\0\n")
    here.start_runner()
    await here.service.start(here.account.id, **there.source, actor=ADMIN)
    job = await here.over()
    assert (job.state, job.reason, job.there, job.taken, job.secret) == ("done", "", 452, 452, "")
    inbox = await here.messages()
    assert [octets for octets, _, _ in inbox] == [text(n) for n in range(1, 451)] + [big]
    assert inbox[0][1:] == (("\\Seen",), DATE)
    assert inbox[1][1:] == (("$label", "\\Flagged"), DATE)
    assert inbox[450][1] == ("\\Answered", "\\Draft")
    assert [octets for octets, _, _ in await here.messages("Work/2024")] == [b"Subject: bare\r\n\r\nline\r\nend\x80\r\n"]
    names = {folder.name: folder.subscribed for folder in await here.mailbox.folders(here.account.id)}
    assert names["Büro"] is False
    assert "Entwürfe" not in names  # these are the drafts
    assert names["Work/2024"] is True
    assert "INBOX: 451 there, 451 taken, 451 in the folder here" in here.said(job)


async def test_a_second_start_takes_only_what_is_new(here: Here, there: There) -> None:
    for number in range(3):
        there.append("INBOX", text(number))
    here.start_runner()
    first = await here.service.start(here.account.id, **there.source, actor=ADMIN)
    await here.over()
    there.append("INBOX", text(3))
    second = await here.service.start(here.account.id, **there.source, actor=ADMIN)
    assert second.id == first.id
    await here.over()
    assert [octets for octets, _, _ in await here.messages()] == [text(n) for n in range(4)]


async def test_folders_and_subscriptions_alone(here: Here, there: There) -> None:
    there.do("create", "A/B/C")
    there.append("INBOX", text(1))
    here.start_runner()
    await here.service.start(here.account.id, **there.source, actor=ADMIN, structure_only=True, ignore_folders=["A/B"])
    job = await here.over()
    assert job.state == "done"
    names = {folder.name for folder in await here.mailbox.folders(here.account.id)}
    assert "A" not in names  # at Dovecot only a level above
    assert "A/B/C" not in names
    assert await here.messages() == []
    assert "A/B/C: left out, as asked" in here.said(job)


async def test_it_stops_at_the_quota_and_goes_on_when_told_to(here: Here, there: There) -> None:
    await here.directory.set_account_setting(here.account.id, "totalMessageCount", "5", actor=ADMIN)
    for number in range(8):
        there.append("INBOX", text(number))
    here.start_runner()
    await here.service.start(here.account.id, **there.source, actor=ADMIN)
    job = await here.over()
    assert job.state == "over quota"
    assert len(await here.messages()) == 5
    await here.service.start(here.account.id, **there.source, actor=ADMIN, override_quota=True)
    job = await here.over()
    assert job.state == "done"
    assert [octets for octets, _, _ in await here.messages()] == [text(n) for n in range(8)]


async def test_originals_are_deleted_when_asked_for(here: Here, there: There) -> None:
    for number in range(5):
        there.append("INBOX", text(number))
    there.do("create", "Kept")
    there.append("Kept", text(9))
    here.start_runner()
    await here.service.start(here.account.id, **there.source, actor=ADMIN, delete_original=True, ignore_folders=["kept"])
    assert (await here.over()).state == "done"
    assert there.select() == 0
    assert there.select("Kept") == 1
    assert len(await here.messages()) == 5
    await here.service.start(here.account.id, **there.source, actor=ADMIN, delete_original=True, ignore_folders=["kept"])
    assert (await here.over()).state == "done"
    assert len(await here.messages()) == 5


async def test_what_was_moved_here_stays_when_the_job_is_begun_again_without_deleting(here: Here, there: There) -> None:
    for number in range(5):
        there.append("INBOX", text(number))
    here.start_runner()
    await here.service.start(here.account.id, **there.source, actor=ADMIN, delete_original=True)
    assert (await here.over()).state == "done"
    there.append("INBOX", text(5))
    await here.service.start(here.account.id, **there.source, actor=ADMIN)
    assert (await here.over()).state == "done"
    assert [octets for octets, _, _ in await here.messages()] == [text(number) for number in range(6)]


async def test_a_continuous_job_follows_until_the_switch_over(here: Here, there: There) -> None:
    for number in range(1, 6):
        there.append("INBOX", text(number))
    here.start_runner()
    await here.service.start(here.account.id, **there.source, actor=ADMIN, continuous=True, interval=3600)
    job = await here.over()
    assert (job.state, job.rounds) == ("resting", 1)
    # What the owner does here meanwhile stays.
    view = await here.mailbox.open(await here.folder("INBOX"))
    uids = list(view.uids)
    await here.mailbox.store_flags(view, [uids[0]], "add", ["\\Flagged"])
    await here.mailbox.remove(view, [uids[4]])
    view.release()
    there.select()
    there.do("store", "1", "+FLAGS", r"(\Seen $todo)")
    there.do("store", "2", "+FLAGS", r"(\Deleted)")
    there.do("expunge")
    there.append("INBOX", text(6), r"(\Answered)")
    await here.service.again(here.account.id)
    await here.until(lambda job: job.rounds == 2)
    now = [(octets, flags) for octets, flags, _ in await here.messages()]
    assert now == [
        (text(1), ("$todo", "\\Flagged", "\\Seen")), (text(3), ()), (text(4), ()), (text(6), ("\\Answered",)),
    ]  # fmt: skip
    there.select()
    there.do("store", "1", "-FLAGS", r"(\Seen)")
    await here.service.finish(here.account.id, actor=ADMIN)
    job = await here.until(lambda job: job.state == "done")
    assert job.secret == ""
    assert (await here.messages())[0][1] == ("$todo", "\\Flagged")


async def test_a_wrong_password_ends_it_and_a_dead_server_is_tried_again(here: Here, there: There) -> None:
    here.start_runner()
    await here.service.start(here.account.id, **there.source | {"password": "wrong"}, actor=ADMIN)
    job = await here.over()
    assert (job.state, job.secret) == ("failed", "")
    assert "uthentication" in job.reason
    await here.service.start(here.account.id, **there.source | {"port": 1}, actor=ADMIN)
    job = await here.until(lambda job: bool(job.failures))
    assert job.state == "waiting"
    with pytest.raises(MigrationError, match="under way"):
        await here.service.start(here.account.id, **there.source, actor=ADMIN)
    assert await here.service.abort(here.account.id, actor=ADMIN) == 1
    job = await here.over()
    assert (job.state, job.secret) == ("aborted", "")


async def test_the_password_is_sealed_while_the_job_lives(here: Here, there: There) -> None:
    await here.service.start(here.account.id, **there.source | {"password": "s3cret-of-there"}, actor=ADMIN)
    job = here.service.job(here.account.id, actor=ADMIN)
    assert job.secret
    assert "s3cret" not in repr(job)
    for path in (here.data / "index").glob("system.db*"):
        assert b"s3cret-of-there" not in path.read_bytes()
    assert (here.data / "keys" / "master.key").stat().st_mode & 0o77 == 0
    await here.service.abort(here.account.id, actor=ADMIN)


async def test_whoever_watches_sees_lines_and_progress(here: Here, there: There) -> None:
    for number in range(30):
        there.append("INBOX", text(number))
    here.start_runner()
    await here.service.start(here.account.id, **there.source, actor=ADMIN, verbose=True)
    seen = [line async for line in here.service.attach(here.account.id, actor=ADMIN)]
    assert "INBOX: 30 there, 30 taken, 30 in the folder here" in seen
    assert seen[-1] == "done: 30 of 30 messages"
    assert [line async for line in here.service.peek(here.account.id, actor=ADMIN, seconds=1)][-1] == seen[-1]
    assert [job.taken for job in here.service.list(actor=ADMIN)] == [30]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"host": "2001:db8::1"}, "square brackets"), ({"host": "a b"}, "no host"), ({"port": 0}, "port"), ({"user": ""}, "needed"),
     ({"password": "a\nb"}, "control"), ({"security": "x"}, "security"),
     ({"continuous": True, "delete_original": True}, "exclude")],
)  # fmt: skip
async def test_what_cannot_be_started_is_said(here: Here, change: dict[str, object], words: str) -> None:
    given: dict[str, object] = {"host": "imap.example.net", "port": 143, "user": "u", "password": "p"}
    with pytest.raises(MigrationError, match=words):
        await here.service.start(here.account.id, **given | change, actor=ADMIN)  # type: ignore[arg-type]


async def test_the_account_goes_and_its_job_with_it(here: Here, there: There) -> None:
    here.start_runner()
    await here.service.start(here.account.id, **there.source, actor=ADMIN, continuous=True)
    await here.over()
    await here.directory.delete_account(here.account.id, actor=ADMIN)
    async with asyncio.timeout(300):
        while here.directory.database.query("SELECT 1 FROM migration_job"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert not here.directory.database.query("SELECT 1 FROM migration_folder")


async def test_no_more_than_allowed_run_at_once(here: Here, there: There) -> None:
    await here.directory.settings.set("server", "maxMigrationThreads", "2", ADMIN)
    for number in range(40):
        there.append("INBOX", text(number, 20_000))
    accounts = [await here.directory.create_account("example.test", f"u{n}", "correct horse 1", actor=ADMIN) for n in range(6)]
    for account in accounts:
        await here.service.start(account.id, **there.source, actor=ADMIN)
    runner = here.start_runner()
    most = 0
    async with asyncio.timeout(300):
        while any(job.state != "done" for job in here.service.list(actor=ADMIN)):
            most = max(most, sum(not task.done() for task in runner._running.values()))
            await asyncio.sleep(0.005)
    assert most == 2
    assert [job.taken for job in here.service.list(actor=ADMIN)] == [40] * 6
