"""Large folders that are filled while others change them, and changes of flags taken in without reading rows again."""

from __future__ import annotations

import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.mailbox import view_filling
from mailstead.mailbox.errors import FolderMissing
from mailstead.mailbox.model import EventKind, Folder, NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.mailbox.view import FolderView, changed_flags
from tests.mailbox.conftest import ACCOUNT, text

FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "work")
Rows = list[tuple[int, int, int]]


async def _folder(mailbox: Mailbox, count: int) -> Folder:
    folder = await mailbox.folder(ACCOUNT, "INBOX")
    assert folder is not None
    await mailbox.append(folder, [NewMessage(text(number)) for number in range(count)])
    return folder


def _truth(mailbox: Mailbox, folder: Folder) -> Rows:
    return mailbox._store.mail_index(folder.shard).slice(folder.id, 0, 1 << 32, -1)


def _held(view: FolderView) -> Rows:
    return list(zip(view.uids, view.flags, view.modseqs, strict=True))


def _replayed(known: list[int], view: FolderView, number: int) -> list[int]:
    """What a session that knew these messages at event ``number`` has after all events."""
    events = view.events_since(number)
    assert events is not None
    for event in events:
        if event.kind == EventKind.EXPUNGE:
            assert set(event.uids) <= set(known)
            known = [uid for uid in known if uid not in set(event.uids)]
        elif event.kind == EventKind.EXISTS:
            known = [*known, *event.uids]
    return known


async def _something(mailbox: Mailbox, other: FolderView, chance: random.Random) -> None:
    uids = sorted(chance.sample(list(other.uids), min(len(other.uids), chance.randint(1, 5))))
    match chance.randint(0, 3):
        case 0:
            await mailbox.remove(other, uids)
        case 1 | 2:
            await mailbox.store_flags(other, uids, chance.choice(("set", "add", "remove")), chance.sample(FLAGS, 2))
        case 3:
            await mailbox.append(other.folder, [NewMessage(text(0))])
            await other.refresh()


@pytest.mark.parametrize("seed", range(25))
async def test_what_others_do_during_the_filling_is_told_after_it(
    mailbox: Mailbox, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_filling, "LOAD_SLICE", 3)
    chance = random.Random(seed)
    folder = await _folder(mailbox, 30)
    other = await mailbox.open(folder)
    await mailbox.remove(other, sorted(chance.sample(list(other.uids), 6)))
    view = FolderView(mailbox._store, folder, lambda _: None)
    await view.begin()
    known, number, modseq = list(other.uids), view.event_no, view.highest_modseq
    assert len(view.uids) == len(known)
    while (filling := view._filling) is not None and not filling.done:
        for _ in range(chance.randint(0, 2)):
            await _something(mailbox, other, chance)
        filling.step(3)
        await view.refresh()
        assert list(view.uids[view.low :]) == known[view.low :]
        assert (len(view.uids), view.event_no, view.highest_modseq) == (len(known), number, modseq)
    await view.filled()
    assert _held(view) == _truth(mailbox, folder)
    assert _replayed(known, view, number) == list(view.uids)
    changed = {uid for event in view.events_since(number) or () if event.kind == EventKind.FLAGS for uid in event.uids}
    assert {uid for uid, _, at in _held(view) if at > modseq and uid in known} <= changed
    view.close()


async def test_the_newest_are_there_at_once(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_filling, "LOAD_SLICE", 4)
    folder = await _folder(mailbox, 11)
    view = await mailbox.open(folder, whole=False)
    assert len(view.uids) == 11
    assert not view.is_filled
    assert list(view.uids[view.low :]) == [8, 9, 10, 11]
    again = await mailbox.open(folder)
    assert again is view
    assert view.is_filled
    assert list(view.uids) == list(range(1, 12))


async def test_a_folder_deleted_during_the_filling(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_filling, "LOAD_SLICE", 2)
    inbox = await _folder(mailbox, 9)
    folder = await mailbox.create_folder(ACCOUNT, "Projects")
    source = await mailbox.open(inbox)
    await mailbox.copy(source, list(source.uids), folder)
    view = FolderView(mailbox._store, folder, lambda _: None)
    await view.begin()
    await mailbox.delete_folder(ACCOUNT, "Projects")
    with pytest.raises(FolderMissing):
        await view.filled()
    assert view.gone
    view.close()


@pytest.mark.parametrize("wrong", [-3, 3])
async def test_a_wrong_counter_costs_no_message_but_the_oldest(
    mailbox: Mailbox, wrong: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_filling, "LOAD_SLICE", 4)
    folder = await _folder(mailbox, 10)
    shard = mailbox._store._writers[folder.shard]
    shard.execute("UPDATE folder SET messages = messages + ? WHERE id = ?", (wrong, folder.id))
    view = await mailbox.open(folder)
    assert list(view.uids) == list(range(1, 11))[-min(10 + wrong, 10) :]
    assert len(view.uids) == len(view.flags) == len(view.modseqs)


@pytest.mark.parametrize("seed", range(15))
async def test_own_changes_among_those_of_others(mailbox: Mailbox, seed: int) -> None:
    chance = random.Random(seed)
    folder = await _folder(mailbox, 40)
    view = await mailbox.open(folder)
    other = FolderView(mailbox._store, folder, lambda _: None)
    await other.load()
    for _ in range(12):
        through = chance.choice((view, view, other))
        if chance.random() < 0.2:
            await _something(mailbox, other, chance)
        start = chance.randrange(len(view.uids))
        uids = view.uids[start : start + chance.randint(1, 40)]
        if chance.random() < 0.3:
            uids = uids[::2]
        since = chance.choice((None, None, view.highest_modseq - 1))
        mode, names = chance.choice(("set", "add", "remove")), chance.sample(FLAGS, chance.randint(0, 3))
        before = {uid: (bits, at) for uid, bits, at in _truth(mailbox, folder)}
        result = await mailbox.store_flags(through, uids, mode, names, unchanged_since=since)
        after = {uid: (bits, at) for uid, bits, at in _truth(mailbox, folder)}
        assert {uid for uid in after if after[uid] != before[uid]} <= set(result.changed)
        if since is not None:
            assert set(result.modified) == {uid for uid in uids if uid in before and before[uid][1] > since}
        if through is view:
            assert _held(view) == _truth(mailbox, folder)
        status = await mailbox.status(folder)
        assert status.unseen == sum(1 for bits, _ in after.values() if not bits & 1)
        assert status.deleted == sum(1 for bits, _ in after.values() if bits & 8)
    await view.refresh()
    await other.refresh()
    assert _held(view) == _held(other) == _truth(mailbox, folder)
    other.close()


@given(
    st.lists(st.integers(0, (1 << 63) - 1), max_size=40), st.sampled_from(("set", "add", "remove")), st.integers(0, (1 << 63) - 1)
)
def test_flags_changed_together_are_those_changed_one_by_one(flags: list[int], mode: str, bits: int) -> None:
    one = {"set": lambda flag: bits, "add": lambda flag: flag | bits, "remove": lambda flag: flag & ~bits}[mode]
    assert list(changed_flags(array("Q", flags), mode, bits)) == [one(flag) for flag in flags]
