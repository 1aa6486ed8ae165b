"""Several sessions on some mailboxes, against a model: no wrong number, no forbidden EXPUNGE, and in the end one truth.

Each session is mirrored by what its client may conclude from the responses alone (mirror.py).  The model (model.py) knows
what every command must do to the mailboxes; after each command the client's picture is checked against what it may know, and
store and STATUS against the model.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.imap.acting import FLAGS, Acting
from tests.imap.conftest import ACCOUNT, Face, message, start_face
from tests.imap.mirror import Mirror, Server
from tests.imap.model import Box, check

KINDS = ["plain", "qresync", "condstore", "rev2", "notify", "uidonly", "idler"]
COMMON = ["append", "append", "store", "store", "store", "expunge", "expunge", "noop", "fetch", "search", "search", "move", "move",
          "copy", "replace", "replace", "catenate", "outside", "close", "select"]  # fmt: skip
FOLDERS = ["rename", "delete"]
ROUNDS = int(os.environ.get("MAILSTEAD_SESSION_ROUNDS", "1"))


async def open_session(server: Server, name: str, kind: str) -> Mirror:
    client = await server.client()
    mirror = Mirror(client, name)
    if kind == "qresync":
        await client.ok("ENABLE QRESYNC")
        mirror.qresync = mirror.condstore = True
    elif kind == "condstore":
        await client.ok("ENABLE CONDSTORE")
        mirror.condstore = True
    elif kind == "rev2":
        await client.ok("ENABLE IMAP4rev2")
    elif kind == "notify":
        await client.ok("NOTIFY SET (selected-delayed (MessageNew (UID FLAGS) MessageExpunge FlagChange))")
        mirror.notified = True
    elif kind == "uidonly":
        await client.ok("ENABLE UIDONLY")
        mirror.uidonly = True
    elif kind == "idler":
        mirror.rests = True
    return mirror


@pytest.mark.parametrize("seed", range(8 * ROUNDS))
async def test_sessions_taking_turns_never_disagree(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    face, stop = await start_face(tmp_path, maxErrors=1000)
    observer = await face.client()
    for name in ("Archive", "Box"):
        await observer.command(f"CREATE {name}")
    index = face.store.mail_index(face.mailbox._accounts.account(ACCOUNT).shard)

    async def remove(box: Box, uids: list[int]) -> None:
        folder = await face.mailbox.folder(ACCOUNT, box.name)
        assert folder is not None
        view = await face.mailbox.open(folder)
        assert await face.mailbox.remove(view, uids) == uids
        view.release()

    acting = Acting(rng, [Box("INBOX"), Box("Archive"), Box("Box")], remove)
    await check(acting.boxes, lambda _: index, ACCOUNT, {"alice": observer})
    for number, kind in enumerate(["plain", "qresync", "idler", *rng.choices(KINDS, k=2)]):
        mirror = await open_session(face, f"{kind}{number}", kind)
        await mirror.select(acting.boxes[0])
        acting.mirrors.append(mirror)
    for _ in range(150):
        mirror = rng.choice(acting.mirrors)
        kinds = [*COMMON, *(FOLDERS if rng.random() < 0.2 else []), *(["idle"] * 20 if mirror.rests else [])]
        await acting.step(mirror, kinds)
        await check(acting.boxes, lambda _: index, ACCOUNT, {"alice": observer})
        if rng.random() < 0.08:
            await acting.settle()
    await acting.settle()
    await stop()


@pytest.mark.parametrize("seed", range(4))
async def test_sessions_at_the_same_time_end_with_one_truth(tmp_path: Path, seed: int) -> None:
    """Without turns the outcome of a race is not known beforehand, but numbers and the end are."""
    face, stop = await start_face(tmp_path, maxErrors=1000)
    kinds = ["plain", "qresync", "condstore", "rev2", "notify"]
    mirrors = [await open_session(face, f"{kind}{n}", kind) for n, kind in enumerate(kinds)]
    box = Box("INBOX")
    for mirror in mirrors:
        await mirror.select(box)

    async def live(mirror: Mirror, number: int) -> None:
        rng = random.Random(seed * 10 + number)
        for count in range(60):
            octets = message(f"{mirror.name} {count}")
            known = [uid for uid in mirror.uids if uid is not None]
            kind = rng.randrange(6)
            if kind <= 1 or not known:
                await mirror.command(b"APPEND INBOX {%d+}\r\n%b" % (len(octets), octets))
            elif kind == 2:
                flags = " ".join(rng.sample(FLAGS, 2))
                await mirror.command(f"STORE {rng.randrange(len(mirror.uids)) + 1} +FLAGS ({flags})", expunge_allowed=False)
            elif kind == 3:
                await mirror.command("EXPUNGE")
            elif kind == 4:
                await mirror.command(f"UID MOVE {rng.choice(known)} Archive")
            else:
                await mirror.command("FETCH 1:* (UID FLAGS)", expunge_allowed=False)

    await asyncio.gather(*(live(mirror, number) for number, mirror in enumerate(mirrors)))
    pictures = []
    for mirror in mirrors:
        await mirror.command("NOOP")
        told = {uid: mirror.flags[uid] for uid in mirror.uids if uid in mirror.flags}
        await mirror.learn()
        for uid, flags in told.items():
            assert flags == mirror.flags[uid], f"{mirror.name}: flags of {uid} were not told"
        pictures.append((mirror.uids, {uid: mirror.flags[uid] for uid in mirror.uids if uid is not None}))
    assert all(picture == pictures[0] for picture in pictures)
    await stop()


async def test_two_stores_in_the_same_commit_are_both_told_to_the_other(face: Face) -> None:
    clients = [await face.client() for _ in range(4)]
    await clients[0].append("INBOX", message("one"))
    for client in clients:
        await client.ok("SELECT INBOX")
    for round_ in range(40):
        keywords = [f"$k{number}" for number in range(len(clients))]
        sign = "+" if round_ % 2 == 0 else "-"
        told = await asyncio.gather(
            *(client.ok(f"STORE 1 {sign}FLAGS ({word})") for client, word in zip(clients, keywords, strict=True))
        )
        for client, untagged in zip(clients, told, strict=True):
            lines = untagged + await client.ok("NOOP")
            last = [line for line in lines if line.startswith(b"* 1 FETCH")][-1]
            wanted = b"* 1 FETCH (FLAGS (" + (" ".join(keywords).encode() if sign == "+" else b"") + b"))"
            assert last == wanted, round_


@pytest.mark.parametrize("known", ["", " 1:3"])
async def test_an_expunge_that_could_not_be_told_is_told_at_the_next_select(face: Face, known: str) -> None:
    """STORE tells a modseq above that of the expunge it must keep to itself; then the connection breaks."""
    writer, other = await face.client(), await face.client()
    for number in range(3):
        await writer.append("INBOX", message(f"{number}"))
    await writer.ok("ENABLE QRESYNC")
    opened = await writer.ok("SELECT INBOX")
    validity = next(line.split()[3].rstrip(b"]") for line in opened if b"UIDVALIDITY" in line).decode()
    await other.ok("SELECT INBOX")
    await other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    told = await writer.ok("STORE 2 +FLAGS (\\Seen)")
    assert not any(b"VANISHED" in line for line in told)
    modseq = max(int(line.partition(b"MODSEQ (")[2].partition(b")")[0]) for line in told if b"MODSEQ" in line)
    await writer.close()
    again = await face.client()
    await again.ok("ENABLE QRESYNC")
    assert b"* VANISHED (EARLIER) 1" in await again.ok(f"SELECT INBOX (QRESYNC ({validity} {modseq}{known}))")


async def test_close_leaves_a_mailbox_that_another_deleted(face: Face) -> None:
    client, other = await face.client(), await face.client()
    await client.ok("CREATE Box")
    await client.ok("SELECT Box")
    await other.ok("DELETE Box")
    await client.ok("CLOSE")
    assert (await client.command("EXPUNGE"))[1] == b"BAD No mailbox selected"
