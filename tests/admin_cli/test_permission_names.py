"""Where an administrator finds how permissions are called (ADM-01): refusals, HELP, and the guide."""

from __future__ import annotations

import re
from pathlib import Path

from mailstead.directory import Actor
from mailstead.settings.permissions import (
    DOMAIN_MEANINGS,
    DOMAIN_PERMISSIONS,
    SERVER_FORM,
    SERVER_MEANINGS,
    SERVER_PERMISSIONS,
)
from tests.admin_cli.conftest import PASSWORD, Client, Face

GUIDE = Path(__file__).parents[2] / "docs" / "administration.md"
SYSTEM = Actor.system("test")
ON_DOMAIN = re.compile(r"GRANT permission \((\w+)\) domain <name>")
ON_SERVER = re.compile(r"GRANT permission \((\w+)\)(?: - .*)?\Z")


async def holder(face: Face) -> Client:
    """In the context of an administrator who has nothing yet."""
    await face.directory.create_admin("helper", PASSWORD, actor=SYSTEM)
    client = await face.client()
    await client.ok("ENTER AACL", "UPDATE admin-user helper")
    return client


async def named(client: Client) -> set[str]:
    """Names in HELP permission."""
    return {found[1] for line in await client.ok("HELP permission") if (found := re.match(r"GRANT permission \((\w+)\)", line))}


async def test_a_refusal_tells_the_name_that_was_meant(face: Face) -> None:
    client = await holder(face)
    refused = await client.err("GRANT permission (createLists) domain example.test")
    assert refused.startswith("no domain permission is named 'createLists'; is createMailLists meant?"), refused
    assert "HELP permission" in refused
    assert "is manageIMAP meant?" in await client.err("GRANT permission (manageIMAPP)")
    # Names of one level on the other.
    assert "is manageAccountsOnAnyDomain meant?" in await client.err("GRANT permission (manageAccounts)")
    assert "is manageAccounts meant?" in await client.err("GRANT permission (manageAccountsOnAnyDomain) domain example.test")
    assert "is one of the server" in await client.err("GRANT permission (manageIMAP) domain example.test")
    await client.ok("DONE", "DONE", "UPDATE Domain example.test", "CONFIG PERMISSIONS")
    assert "createMailLists" in await client.err("GRANT permission (createLists) admin-user helper")


async def test_help_lists_the_names(face: Face) -> None:
    client = await holder(face)
    for line in ("HELP GRANT", "HELP permission"):
        shown = await client.ok(line)
        assert {found[1] for text in shown if (found := ON_DOMAIN.match(text))} == DOMAIN_PERMISSIONS
        assert {found[1] for text in shown if (found := ON_SERVER.match(text))} == SERVER_PERMISSIONS
    assert any("createMailLists" in text for text in await client.ok("HELP maillists"))
    assert any("HELP permission" in text for text in await client.ok("HELP")), "HELP says where they are"
    await client.ok("DONE", "DONE", "UPDATE Domain example.test", "CONFIG PERMISSIONS")
    assert await named(client) == DOMAIN_PERMISSIONS
    await client.ok("BACK", "BACK", "CONFIG SERVER", "CONFIG PERMISSIONS")
    assert await named(client) == SERVER_PERMISSIONS


async def test_help_lists_the_names_of_what_may_be_given(face: Face) -> None:
    await face.directory.create_admin("some", PASSWORD, actor=SYSTEM)
    for permission in ("manageAdminACL", "createAccountsOnAnyDomain"):
        await face.directory.grant("some", permission, actor=SYSTEM)
    await face.directory.grant("some", "manageGroups", "example.test", actor=SYSTEM)
    await face.directory.create_admin("helper", PASSWORD, actor=SYSTEM)
    client = await face.client("some")
    await client.ok("ENTER AACL", "UPDATE admin-user helper")
    shown = await client.ok("HELP permission")
    assert {found[1] for text in shown if (found := ON_DOMAIN.match(text))} == {"createAccounts", "manageGroups"}
    assert {found[1] for text in shown if (found := ON_SERVER.match(text))} == {"manageAdminACL", "createAccountsOnAnyDomain"}


def test_every_permission_says_what_it_is_for_and_the_guide_says_the_same() -> None:
    for meanings in (DOMAIN_MEANINGS, SERVER_MEANINGS):
        assert all(meanings.values())
        assert len(set(meanings.values())) == len(meanings), "two permissions for one thing"
    chapter = GUIDE.read_text().split("\n### Names of permissions\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in chapter.splitlines() if line.startswith("| `")]
    assert [row for row in rows if len(row) == 3] == [
        [f"`{name}`", f"`{SERVER_FORM[name]}`", DOMAIN_MEANINGS[name]] for name in sorted(DOMAIN_MEANINGS, key=str.lower)
    ]
    alone = SERVER_PERMISSIONS - set(SERVER_FORM.values())
    assert [row for row in rows if len(row) == 2] == [
        [f"`{name}`", SERVER_MEANINGS[name]] for name in sorted(alone, key=str.lower)
    ]


async def test_help_and_the_list_of_permissions_say_what_they_are_for(face: Face) -> None:
    client = await holder(face)
    shown = await client.ok("HELP permission")
    assert f"GRANT permission (createAccounts) domain <name> - {DOMAIN_MEANINGS['createAccounts']}" in shown
    assert f"GRANT permission (manageDNR) - {SERVER_MEANINGS['manageDNR']}" in shown
    await client.ok("GRANT permission (CREATEaccounts) domain example.test", "GRANT permission (managednr)")
    await client.ok("DONE", "DONE", "UPDATE Domain example.test", "CONFIG PERMISSIONS")
    (row,) = await client.rows("LIST Permissions")
    assert [cell.strip() for cell in row.split(" | ")] == ["helper", "createAccounts", "grant", DOMAIN_MEANINGS["createAccounts"]]
    await client.ok("BACK", "BACK", "CONFIG SERVER", "CONFIG PERMISSIONS")
    rows = [[cell.strip() for cell in row.split(" | ")] for row in await client.rows("LIST Permissions")]
    assert ["helper", "manageDNR", "grant", SERVER_MEANINGS["manageDNR"]] in rows


async def test_done_says_what_it_does(face: Face) -> None:
    """There is no COMMIT in AACL: DONE of an administrator writes."""
    client = await holder(face)
    (said,) = [line for line in await client.ok("HELP") if line.startswith("DONE")]
    assert "COMMIT" not in said and "writes" in said
    await client.ok("GRANT permission (manageIMAP)", "DONE")
    assert [entry.permission for entry in face.directory.permission_entries(domain_id=0)] == ["manageIMAP"]
