"""Many keywords: up to 64 on a message and 1 000 of an account, each to be found, copied, taken away and told again."""

from __future__ import annotations

import random

import pytest

from mailstead.mailbox.errors import LimitReached
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.mailbox.view import FolderView
from mailstead.store.keywords import SET_SHIFT
from tests.mailbox.conftest import ACCOUNT, Accounts, Limits

OCTETS = b"Subject: x\r\n\r\nhello\r\n"


async def opened(mailbox: Mailbox, count: int, name: str = "INBOX") -> FolderView:
    folder = await mailbox.folder(ACCOUNT, name)
    assert folder is not None
    if count:
        await mailbox.append(folder, [NewMessage(OCTETS) for _ in range(count)])
    return await mailbox.open(folder)


def named(view: FolderView, at: int) -> set[str]:
    return set(view.keywords.names(view.flags[at]))


async def test_a_message_may_have_sixty_four(mailbox: Mailbox) -> None:
    view = await opened(mailbox, 2)
    names = [f"k{number}" for number in range(70)]
    for start in range(0, 64, 7):
        await mailbox.store_flags(view, [1], "add", names[start : min(start + 7, 64)])
    assert named(view, 0) == set(names[:64])
    with pytest.raises(LimitReached):
        await mailbox.store_flags(view, [1], "add", [names[64]])
    with pytest.raises(LimitReached):
        await mailbox.store_flags(view, [2], "set", names[:65])
    with pytest.raises(LimitReached):
        await mailbox.store_flags(view, [1, 2], "add", ["another"])
    assert named(view, 0) == set(names[:64])
    assert named(view, 1) == set()
    await mailbox.store_flags(view, [1], "remove", names[:40])
    await mailbox.store_flags(view, [1], "add", names[64:])
    assert named(view, 0) == set(names[40:])
    view.release()


async def test_an_account_has_a_thousand_and_no_more(mailbox: Mailbox) -> None:
    view = await opened(mailbox, 1)
    for start in range(0, 1000, 50):
        await mailbox.store_flags(view, [1], "set", [f"k{number}" for number in range(start, start + 50)])
    assert named(view, 0) == {f"k{number}" for number in range(950, 1000)}
    with pytest.raises(LimitReached):
        await mailbox.store_flags(view, [1], "set", ["one-more"])
    await mailbox.store_flags(view, [1], "set", ["K3", "\\Seen"])
    assert named(view, 0) == {"k3"}
    assert len(view.keywords) == 1000
    view.release()


@pytest.mark.parametrize("seed", range(4))
async def test_any_changes_are_those_of_sets_of_names(mailbox: Mailbox, accounts: Accounts, seed: int) -> None:
    rng = random.Random(seed)
    accounts.limits[ACCOUNT + 1] = Limits()
    view = await opened(mailbox, 6)
    names = [f"k{number}" for number in range(90)]
    truth: list[set[str]] = [set() for _ in range(6)]
    for _ in range(60):
        uids = sorted(rng.sample(range(1, 7), rng.randrange(1, 5)))
        mode = rng.choice(["add", "add", "remove", "set"])
        some = rng.sample(names, rng.randrange(0, 12))
        try:
            await mailbox.store_flags(view, uids, mode, some, durable=rng.random() < 0.3)
        except LimitReached:
            assert any(len(truth[uid - 1] | set(some)) > 64 for uid in uids)
            continue
        for uid in uids:
            have = truth[uid - 1]
            truth[uid - 1] = have | set(some) if mode == "add" else have - set(some) if mode == "remove" else set(some)
        assert [named(view, at) for at in range(6)] == truth
    assert any(flags >> SET_SHIFT for flags in view.flags)
    archive = await mailbox.folder(ACCOUNT, "Archive")
    assert archive is not None
    await mailbox.copy(view, [1, 2, 3], archive)
    await mailbox.move(view, [4, 5], archive)
    other = await mailbox.folder(ACCOUNT + 1, "Archive")
    assert other is not None
    await mailbox.copy(view, [1, 6], other)
    copies, strangers = await mailbox.open(archive), await mailbox.open(other)
    assert [named(copies, at) for at in range(5)] == truth[:5]
    assert [named(strangers, at) for at in range(2)] == [truth[0], truth[5]]
    for each in (view, copies, strangers):
        each.release()


async def test_delivered_with_many(mailbox: Mailbox) -> None:
    view = await opened(mailbox, 0)
    names = tuple(f"k{number}" for number in range(60))
    await mailbox.append(view.folder, [NewMessage(OCTETS, flags=("\\Seen", *names))])
    await view.refresh()
    assert named(view, 0) == set(names)
    assert view.flags[0] & 1
    view.release()
