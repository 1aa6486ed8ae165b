"""Taking back changes of many members of a list or group at once."""

from __future__ import annotations

import pytest

from mailstead.directory import Directory
from mailstead.directory.members import MAX_MEMBERS_PER_CALL
from mailstead.directory.model import RecipientEdit
from mailstead.directory.reverting import RevertError, revert
from mailstead.settings.history import DAY_US, Filter, HistoryEntry, entries, purge_history
from tests.directory.conftest import ADMIN


def newest(directory: Directory) -> HistoryEntry:
    return entries(directory.database, Filter(), limit=1)[0]


async def back(directory: Directory, entry: HistoryEntry | None = None, *, force: bool = False) -> None:
    await revert(directory, (entry or newest(directory)).seq, actor=ADMIN, force=force)


def told(directory: Directory, object_id: int) -> list[tuple[str, str, bool, bool]]:
    return [(one.address, one.name, one.digest, one.nomail) for one in directory.members(object_id)]


def crowd(count: int, first: int = 0) -> dict[str, str]:
    return {f"m{number:05}@x.example": f"Member {number}" for number in range(first, first + count)}


async def test_as_many_members_as_a_call_takes_go_and_come_back(directory: Directory) -> None:
    news = await directory.create_list("example.test", "news", ["stays@x.example"], actor=ADMIN)
    await directory.add_members(news.id, crowd(MAX_MEMBERS_PER_CALL), actor=ADMIN)
    everybody = told(directory, news.id)
    await back(directory)
    assert told(directory, news.id) == [("stays@x.example", "", False, False)]
    await back(directory)
    assert told(directory, news.id) == everybody


async def test_names_wishes_and_removals_of_hundreds_come_back(directory: Directory) -> None:
    group = await directory.create_group("example.test", "all", actor=ADMIN)
    news = await directory.create_list("example.test", "news", actor=ADMIN)
    await directory.add_members(news.id, crowd(300), actor=ADMIN)
    wishes = {address: {"digest": True} for address in list(crowd(300))[::2]}
    await directory.edit_recipient(news.id, RecipientEdit(members_options=wishes), actor=ADMIN)
    await directory.add_members(group.id, crowd(300), actor=ADMIN)
    before = told(directory, news.id)
    few = list(crowd(150))
    renamed = {address: (f"new-{address}", "Other") for address in crowd(150)}
    for edit in (
        RecipientEdit(members_removed=few),
        RecipientEdit(clear_members=True, members_added={"eve@x.example": "Eve", **crowd(200)}),
        RecipientEdit(members_renamed=renamed, members_options={f"new-{few[0]}": {"digest": False, "nomail": True}}),
        RecipientEdit(members_added=crowd(150, 1000), members_removed=few[:3], name="letters"),
    ):
        await directory.edit_recipient(news.id, edit, actor=ADMIN)
        after = told(directory, news.id)
        assert after != before
        await back(directory)
        assert told(directory, news.id) == before
        await back(directory)
        assert told(directory, news.id) == after
        await back(directory)
    assert len(told(directory, group.id)) == 300  # of the same addresses


async def test_an_entry_stays_short_and_tells_how_many_there_were(directory: Directory) -> None:
    news = await directory.create_list("example.test", "news", actor=ADMIN)
    await directory.add_members(news.id, crowd(5000), actor=ADMIN)
    entry = newest(directory)
    assert len((entry.new or {})["members"]) == 100
    assert "members in all = 5000" in "; ".join(entry.lines())


async def test_a_member_of_many_who_was_changed_later_is_not_undone_by_accident(directory: Directory) -> None:
    news = await directory.create_list("example.test", "news", actor=ADMIN)
    await directory.add_members(news.id, crowd(300), actor=ADMIN)
    added = newest(directory)
    await directory.add_members(news.id, crowd(200, 300), actor=ADMIN)
    await directory.set_recipient_attributes(news.id, actor=ADMIN, moderate="everybody")
    await back(directory, added)  # others came later, and are no hindrance
    await back(directory)
    await directory.remove_members(news.id, list(crowd(150, 100)), actor=ADMIN)
    await directory.update_member(news.id, "m00499@x.example", name="Somebody", actor=ADMIN)
    removed = newest(directory)
    with pytest.raises(RevertError, match="changed it later"):
        await back(directory, added)
    await back(directory, removed)
    await back(directory, added, force=True)
    assert [one[0] for one in told(directory, news.id)] == list(crowd(200, 300))


async def test_more_than_a_call_takes_is_refused_with_their_number(directory: Directory) -> None:
    news = await directory.create_list("example.test", "news", actor=ADMIN)
    await directory.add_members(news.id, crowd(MAX_MEMBERS_PER_CALL), actor=ADMIN)
    await directory.add_members(news.id, crowd(5, MAX_MEMBERS_PER_CALL), actor=ADMIN)
    await directory.edit_recipient(news.id, RecipientEdit(clear_members=True, members_added={"eve@x.example": ""}), actor=ADMIN)
    with pytest.raises(RevertError, match=f"10005 members.*at most {MAX_MEMBERS_PER_CALL}"):
        await back(directory)
    assert [one[0] for one in told(directory, news.id)] == ["eve@x.example"]
    assert directory.database.query("SELECT count(*) FROM history_member WHERE seq = ?", (newest(directory).seq,)) == [(0,)]


async def test_what_is_too_old_is_forgotten_whole(directory: Directory) -> None:
    news = await directory.create_list("example.test", "news", actor=ADMIN)
    for first in (0, 300):
        await directory.add_members(news.id, crowd(300, first), actor=ADMIN)
    await directory.update_member(news.id, "m00000@x.example", name="Somebody", actor=ADMIN)
    await purge_history(directory.database, newest(directory).time + 1000 * DAY_US)
    assert directory.database.query("SELECT count(*) FROM history_member") == [(0,)]
    assert len(entries(directory.database, Filter())) == 1


async def test_members_of_many_great_changes_do_not_fill_the_disk(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailstead.settings.history.MEMBER_ROWS", 700)
    news = await directory.create_list("example.test", "news", actor=ADMIN)
    changes = []
    for first in (0, 300, 600):
        await directory.add_members(news.id, crowd(300, first), actor=ADMIN)
        changes.append(newest(directory))
    await purge_history(directory.database, newest(directory).time)
    assert directory.database.query("SELECT count(*) FROM history_member") == [(600,)]
    with pytest.raises(RevertError, match="kept of the newest ones alone"):
        await back(directory, changes[0])
    assert len((changes[0].new or {})["members"]) == 100
    await back(directory, changes[1])
    assert [one[0] for one in told(directory, news.id)] == [*crowd(300), *crowd(300, 600)]
