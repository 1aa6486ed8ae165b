"""Groups, mailing lists, folder recipients and public folders over the protocol."""

from __future__ import annotations

from typing import Any

import pytest

from mailstead.directory import Actor, RecipientKind
from tests.admin_cli.conftest import Face

SYSTEM = Actor.system("test")


async def test_a_group_with_addresses(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", 'ADD GROUP NAME "staff"')
    assert client.prompt == "<domain-group#> "
    await client.ok('ADD ADDRESS "alice@example.test"', "ADD ADDRESS bob@elsewhere.test", "SET receiveEmailFrom domain")
    assert await client.items("LIST Addresses") == ["alice@example.test", "bob@elsewhere.test"]
    assert "already exists" in await client.err("ADD ADDRESS Alice@example.test")
    assert face.directory.recipients(face.domain_id, RecipientKind.GROUP) == []
    await client.ok("COMMIT")
    assert await client.rows("LIST Groups") == ["staff"]
    await client.ok("UPDATE Group staff", "REMOVE Address bob@elsewhere.test", "SET enable no")
    assert await client.items("LIST Addresses") == ["alice@example.test"]
    await client.ok("COMMIT")
    (group,) = face.directory.recipients(face.domain_id, RecipientKind.GROUP)
    assert not group.enabled and group.attributes["receiveEmailFrom"] == "domain"
    await client.ok("UPDATE Group staff", "SET enable yes", "COMMIT", "UPDATE Account alice")
    assert [row.split()[0] for row in await client.rows("LIST MEMBERSHIP")] == ["staff@example.test"]
    await client.ok("BACK", "REMOVE Group staff")
    assert await client.rows("LIST Groups") == []


async def test_old_name_of_groups(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "ADD FORWARDER NAME old", "ADD ADDRESS a@b.test", "COMMIT")
    assert await client.rows("LIST FORWARDERS") == ["old"]


async def test_a_list_with_users(face: Face) -> None:
    client = await face.client()
    await client.ok(
        "UPDATE Domain example.test", 'ADD List name "news" password "list-secret-1" adminEmail "alice@example.test"',
        'ADD USER EMAIL "bob@elsewhere.test" NAME "Bob B"',
    )  # fmt: skip
    assert client.prompt == "<domain-list-user#> "
    await client.ok("DONE", "ADD RemoveHeader X-Secret", "SET moderate nonmembers rewriteFrom yes")
    assert [[c.strip() for c in row.split(" | ")] for row in await client.rows("LIST USERS")] == [["bob@elsewhere.test", "Bob B"]]
    await client.text("ESET welcome", "Welcome to the list")
    await client.ok("COMMIT")
    assert await client.rows("LIST Lists") == ["news"]
    (found,) = face.directory.recipients(face.domain_id, RecipientKind.LIST)
    assert found.attributes["moderate"] == "nonmembers" and "X-Secret" in found.attributes["removeHeaders"]
    assert face.directory.recipient_content(found.id, "welcome").startswith("Welcome to the list")
    await client.ok("UPDATE List news", "UPDATE User bob@elsewhere.test", 'SET name "Robert"', "DONE", "COMMIT")
    member = face.directory.member(found.id, "bob@elsewhere.test")
    assert member is not None and member.name == "Robert"
    await client.ok("UPDATE List news", "REMOVE User bob@elsewhere.test")
    assert await client.rows("LIST Users") == []
    await client.ok("BACK", "UPDATE List news")
    assert len(await client.rows("LIST Users")) == 1
    await client.ok("CONFIG LIMITS", "SET imapConnectionCount 3", "DONE", "COMMIT", "REMOVE List news")


async def test_folder_recipient_and_public_folders(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "CONFIG PUBLIC-FOLDER", "ADD Mbox Announce", "ADD Mbox Dates type events")
    assert await client.rows("LIST MBoxes") == ["Announce", "Dates"]
    assert "expected one of" in await client.err("ADD Mbox X type nonsense")
    await client.ok("CONFIG QUOTAS", "SET totalMessageSize 1000", "DONE", "COMMIT", "ADD FolderRcpt news")
    assert "mboxName" in await client.err("COMMIT")
    await client.ok("SET mboxName Announce", "COMMIT")
    assert await client.rows("LIST FolderRcpts") == ["news"]
    await client.ok("CONFIG PUBLIC-FOLDER", "REMOVE Mbox Dates")
    assert await client.rows("LIST MBoxes") == ["Announce"]


async def test_members_that_wait_have_a_bound(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one COMMIT can take are refused when they are given, not all of them at the end."""
    monkeypatch.setattr("mailstead.admin_cli.contexts.recipients.MAX_MEMBERS_PER_CALL", 3)
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "ADD Group many", *(f"ADD Address m{n}@a.test" for n in range(3)))
    assert "COMMIT" in await client.err("ADD Address m3@a.test")
    await client.ok("COMMIT", "UPDATE Group many", "ADD Address m3@a.test", "COMMIT", "UPDATE Group many")
    assert len(await client.items("LIST Addresses")) == 4
    await client.ok(*(f"REMOVE Address m{n}@a.test" for n in range(3)))
    assert "COMMIT" in await client.err("REMOVE Address m3@a.test")


async def test_one_of_many_is_found_without_reading_them_all(face: Face) -> None:
    for name in ("one", "two"):
        await face.directory.create_list("example.test", name, actor=SYSTEM)
    await face.directory.create_group("example.test", "three", actor=SYSTEM)
    client = await face.client()
    read: list[str] = []
    recipients = face.directory.recipients

    def watched(*arguments: Any) -> Any:
        read.append("all")
        return recipients(*arguments)

    face.directory.recipients = watched  # type: ignore[method-assign]
    await client.ok("UPDATE Domain example.test", "UPDATE List TWO", "BACK", "UPDATE List one@example.test", "BACK")
    assert not read
    assert "does not exist" in await client.err("UPDATE List three")
    assert "does not exist" in await client.err("UPDATE List one-owner")


async def test_a_member_given_without_its_domain(face: Face) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "UPDATE Account alice", "ADD Alias ally", "COMMIT", "ADD Group staff")
    assert await client.err("ADD Address pia") == "'pia' is not an address; write pia@example.test"
    await client.ok("ADD Address Alice", "ADD Address ally")
    assert "already exists" in await client.err("ADD Address alice")
    assert await client.err('ADD Address "two words"') == "'two words' is not an address"
    assert await client.items("LIST Addresses") == ["Alice@example.test", "ally@example.test"]
    await client.ok("COMMIT", "UPDATE Group staff")
    assert await client.items("LIST Addresses") == ["Alice@example.test", "ally@example.test"]


@pytest.mark.parametrize(("line", "told"), [
    ("ADD Member alice@example.test", "ADD Address <address>"), ("remove MEMBER alice@example.test", "REMOVE Address <address>"),
    ("LIST Members", "LIST Addresses"),
])  # fmt: skip
async def test_what_a_group_calls_its_members_is_told(face: Face, line: str, told: str) -> None:
    client = await face.client()
    await client.ok("UPDATE Domain example.test", "ADD Group staff")
    assert await client.err(line) == f"unknown command: '{' '.join(line.split()[:2])}'; here it is {told}"
    assert "HELP lists the commands" in await client.err("ADD Person alice@example.test")
