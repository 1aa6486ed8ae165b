"""Sessions of several users on shared mailboxes, against the model: whose flags are whose, and all else is everybody's."""

from __future__ import annotations

import random

import pytest

from mailstead.store.engine import MailIndex
from tests.imap.acting import Acting
from tests.imap.conftest import Client
from tests.imap.mirror import Server
from tests.imap.model import Box, check
from tests.imap.test_multi_session import COMMON, KINDS, ROUNDS, open_session
from tests.imap.test_sharing import Domain, domain  # noqa: F401

USERS = ("alice", "bob", "carol")


class As:
    """The server as one user reaches it."""

    def __init__(self, running: Domain, user: str) -> None:
        self.running, self.user = running, user

    async def client(self) -> Client:
        """A session of the user."""
        return await self.running.client(self.user)


@pytest.mark.parametrize("seed", range(3 * ROUNDS))
async def test_sessions_of_several_users_never_disagree(domain: Domain, seed: int) -> None:  # noqa: F811
    rng = random.Random(seed)
    servers: dict[str, Server] = {user: As(domain, user) for user in USERS}
    observers = {user: await servers[user].client() for user in USERS}
    boxes = [Box("Work"), Box("Shelf")]
    for box in boxes:
        await observers["alice"].ok(f"CREATE {box.name}")
        await observers["alice"].ok(f"SETACL {box.name} anyone lrswipkxte")
    ids = {}
    for user in USERS:
        account = domain.directory.account_by_address(f"{user}@example.test")
        assert account is not None
        ids[user] = account.id
    owner = ids["alice"]
    first = await domain.mailbox.folder(owner, "Work")
    assert first is not None
    shard = first.shard

    def index(user: str) -> MailIndex:
        return domain.store.mail_index(shard) if user == "alice" else domain.store.reader_index(shard, ids[user])

    async def remove(box: Box, uids: list[int]) -> None:
        folder = await domain.mailbox.folder(owner, box.name)
        assert folder is not None
        view = await domain.mailbox.open(folder)
        assert await domain.mailbox.remove(view, uids) == uids
        view.release()

    acting = Acting(rng, boxes, remove)
    await check(boxes, index, owner, observers)
    for number, user in enumerate(("alice", "alice", "bob", "bob", "carol")):
        kind = rng.choice(KINDS)
        mirror = await open_session(servers[user], f"{user}-{kind}{number}", kind)
        mirror.user = user
        await mirror.select(boxes[0])
        acting.mirrors.append(mirror)
    for _ in range(100):
        mirror = rng.choice(acting.mirrors)
        await acting.step(mirror, [*COMMON, *(["idle"] * 20 if mirror.rests else [])])
        await check(boxes, index, owner, observers)
        if rng.random() < 0.08:
            await acting.settle()
    await acting.settle()


async def test_copy_by_number_is_refused_where_another_reader_expunged_one(domain: Domain) -> None:  # noqa: F811
    """Each reader has a view of his own, as each process has: what was expunged by way of another counts all the same."""
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    await alice.ok("SETACL Work anyone lrswipkxte")
    for number in range(2):
        await alice.append("Work", b"Subject: %d\r\n\r\n" % number)
    await bob.ok('SELECT "Other Users/alice/Work"')
    await alice.ok("SELECT Work")
    await alice.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await alice.ok("EXPUNGE")
    assert (await bob.command("COPY 1:2 INBOX"))[1].startswith(b"NO [EXPUNGEISSUED]")
    assert b"* STATUS INBOX (MESSAGES 0)" in await bob.ok("STATUS INBOX (MESSAGES)")
