"""The worked examples of docs/administration.md, line by line as they are written there."""

from __future__ import annotations

import re
from pathlib import Path

from mailstead.directory import Actor, RecipientKind
from tests.admin_cli.conftest import Client, Face

GUIDE = Path(__file__).parents[2] / "docs" / "administration.md"
SYSTEM = Actor.system("test")


def examples(title: str) -> list[str]:
    """Commands of a chapter, without what is said beside them."""
    chapter = GUIDE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [re.split(r" {2,}", line[4:])[0] for line in chapter.splitlines() if line.startswith("    ")]


async def begun(face: Face) -> Client:
    """example.org with anna, as the first example of the guide leaves it."""
    await face.directory.create_domain("example.org", actor=SYSTEM)
    await face.directory.create_account("example.org", "anna", "wonder-land-1", actor=SYSTEM)
    return await face.client()


async def test_a_subdomain(face: Face) -> None:
    client = await begun(face)
    said = {line: await client.ok(line) for line in examples("A subdomain")}
    assert 'parentDomain = "example.org"' in said["SHOW Domain dev.example.org ATTR parentDomain"]
    assert "state = inactive" in said["SHOW Domain dev.example.org ATTR state"]
    assert 'parentDomain = ""' in said["SHOW Domain shop.example.org ATTR parentDomain"]
    listed = {row.split()[0]: row.split()[-1] for row in await client.rows("LIST AllDomains *example.org")}
    assert listed == dict.fromkeys(("dev.example.org", "example.org", "shop.example.org"), "enabled")


async def test_a_class_a_group_and_a_list(face: Face) -> None:
    client = await begun(face)
    said = {line: await client.ok(line) for line in examples("A class, a group, a mailing list")}
    assert client.prompt == "<#> "
    assert any("totalMessageSize = 2097152 [inherited from account class" in line for line in said["SHOW ATTR totalMessageSize"])
    await client.ok("UPDATE Domain example.org", "UPDATE Account anna")
    assert (await client.show())["accountClassName"] == '"staff"'
    assert any("partner@elsewhere.example" in line for line in said["LIST Addresses"])
    assert any("Bob Builder" in line for line in said["LIST Users"])
    assert face.directory.resolve("team@example.org").kind is RecipientKind.GROUP
    assert face.directory.resolve("news@example.org").kind is RecipientKind.LIST
