"""What was removed since a moment, and reading files of the tree anywhere."""

from __future__ import annotations

import io
import json
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.backup_tree.content import content
from mailstead.backup_tree.removed import uid_set
from mailstead.backup_tree.tree import Missing, Tree
from tests.restoring.conftest import ADMIN, DOMAIN, Place, place

__all__ = ["place"]
WORK = (DOMAIN, "accounts", "alice", "folders", "Work")


@given(st.sets(st.integers(1, 4_294_967_295)))
def test_a_set_of_uids_is_what_went_in(uids: set[int]) -> None:
    found: set[int] = set()
    parts = [part for part in uid_set(sorted(uids)).split(",") if part]
    if sum(int(part.rpartition(":")[2]) - int(part.partition(":")[0]) + 1 for part in parts) == len(uids):
        for part in parts:
            found.update(range(int(part.partition(":")[0]), int(part.rpartition(":")[2]) + 1))
    assert found == uids


def tree_of(place: Place, since: int = 0, *, tar: bool = False, removals: bool = True) -> Tree:
    return Tree(place, ADMIN, utf8=True, tar=tar, since=since, removals=removals)


async def furnish(place: Place) -> int:
    alice = (await place.account("alice")).id
    await place.mailbox.create_folder(alice, "Work")
    await place.add(alice, "Work", ["a", "b", "c", "d"])
    return alice


async def test_a_folder_tells_what_is_gone(place: Place) -> None:
    alice = await furnish(place)
    await place.delete(alice, "Work", {"b", "c"})
    tree = tree_of(place, int(time.time()) - 60)
    node = await tree.node((*WORK, "removed.json"))
    told = json.loads(await tree.document(node))
    assert [one["uid"] for one in told["removed"]] == [2, 3]
    assert told["present"] == "1,4" and told["complete"] is True
    assert "removed.json" in [entry.name async for entry in tree.entries(await tree.node(WORK))]
    assert (await tree.entry(node)).size == len(await tree.document(node))
    # Longer ago than what was deleted is remembered.
    old = tree_of(place, 1_000_000)
    assert json.loads(await old.document(await old.node((*WORK, "removed.json"))))["complete"] is False
    # Deleted before the label.
    later = tree_of(place, int(time.time()) + 60)
    told = json.loads(await later.document(await later.node((*WORK, "removed.json"))))
    assert (told["removed"], told["present"]) == ([], "1,4")


async def test_nothing_is_told_of_removals_where_nobody_asked(place: Place) -> None:
    await furnish(place)
    for tree in (tree_of(place), tree_of(place, 1, removals=False)):
        with pytest.raises(Missing):
            await tree.node((*WORK, "removed.json"))
        assert "removed.json" not in [entry.name async for entry in tree.entries(await tree.node(WORK))]


async def test_a_folder_of_that_name_is_still_a_folder(place: Place) -> None:
    alice = await furnish(place)
    await place.mailbox.create_folder(alice, "Work/removed.json")
    tree = tree_of(place, 1)
    names = [entry.name async for entry in tree.entries(await tree.node(WORK)) if entry.directory]
    assert names == ["%72emoved.json"]
    assert (await tree.node((*WORK, names[0]))).what == "folder"


@pytest.mark.parametrize("piece", [1000, 4096, 77_777])
async def test_a_tar_file_is_the_same_in_any_pieces_and_stays_as_it_was(place: Place, piece: int) -> None:
    alice = await furnish(place)
    await place.add(alice, "Work", ["long" * 60, "large"], ("$Label1", "x" * 120), size=300_000)
    tree = tree_of(place, tar=True)
    node = await tree.node((*WORK, "messages.tar"))
    found = await content(tree, node)
    assert found.size == (await tree.entry(node)).size
    await place.delete(alice, "Work", {"b", "large"})
    octets = b"".join([await found.read(offset, piece) for offset in range(0, found.size, piece)])
    assert len(octets) == found.size
    with tarfile.open(fileobj=io.BytesIO(octets)) as file:
        subjects = [file.extractfile(one).read().split(b"\r\n")[1] for one in file]  # type: ignore[union-attr]
    assert subjects == [b"Subject: " + word for word in (b"a", b"b", b"c", b"d", b"long" * 60, b"large")]
    assert await found.read(found.size, 10) == b""
    assert (await content(tree, node)).size < found.size
