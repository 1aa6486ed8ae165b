"""Names of other objects: refused where there is none, followed when they change, harmless when they are gone."""

from __future__ import annotations

from mailstead.directory import Actor, RecipientKind
from tests.admin_cli.conftest import Client, Face

SYSTEM = Actor.system("test")
DOMAIN = "UPDATE Domain example.test"


async def test_a_catch_all_account_exists(face: Face) -> None:
    client = await face.client()
    await client.ok(DOMAIN, "SET catchAllType account catchAllAccountName nobody")
    assert await client.err("COMMIT") == "catchAllAccountName: example.test has no account nobody"
    assert face.directory.resolve("x@example.test").kind is RecipientKind.UNKNOWN_USER
    await client.ok("SET catchAllAccountName alice", "COMMIT")
    assert face.directory.resolve("x@example.test").kind is RecipientKind.LOCAL
    # A group is no account.
    await client.ok(DOMAIN, "ADD Group team", "ADD Address alice@example.test", "COMMIT", "SET catchAllAccountName team")
    assert "has no account team" in await client.err("COMMIT")


async def test_a_catch_all_folder_exists(face: Face) -> None:
    client = await face.client()
    await client.ok(DOMAIN, "SET catchAllType folder catchAllFolderName Strays")
    assert await client.err("COMMIT") == "catchAllFolderName: example.test has no public folder Strays"
    await client.ok("CONFIG PUBLIC-FOLDER", "ADD Mbox Strays", "COMMIT", "COMMIT")
    assert face.directory.resolve("x@example.test").folder == "Strays"
    # What was there before is not asked again.
    await client.ok(DOMAIN, "CONFIG PUBLIC-FOLDER", "REMOVE Mbox Strays", "COMMIT", "SET customerReference x", "COMMIT")


async def test_a_folder_recipient_has_a_folder(face: Face) -> None:
    client = await face.client()
    await client.ok(DOMAIN, "ADD FolderRcpt news", "SET mboxName Nowhere")
    assert await client.err("COMMIT") == "mboxName: example.test has no public folder Nowhere"
    await client.ok("BACK", "CONFIG PUBLIC-FOLDER", "ADD Mbox News", "COMMIT", "ADD FolderRcpt news", "SET mboxName news")
    assert "has no public folder news" in await client.err("COMMIT")
    await client.ok("SET mboxName News", "COMMIT", "UPDATE FolderRcpt news", "SET mboxName Other")
    assert "has no public folder Other" in await client.err("COMMIT")


async def test_a_postmaster_exists(face: Face) -> None:
    client = await face.client()
    await client.ok(DOMAIN)
    assert "example.test has no account nobody" in await client.err("SET postmasterAccount nobody")


async def test_members_of_a_group_lead_somewhere(face: Face) -> None:
    client = await face.client()
    await client.ok(
        DOMAIN, "ADD Alias example.net", "UPDATE Account alice", "ADD Alias al", "COMMIT", "COMMIT", DOMAIN,
        "ADD List news password list-secret-1 adminEmail alice@example.test", "COMMIT",
        "CONFIG PUBLIC-FOLDER", "ADD Mbox Board", "COMMIT", "ADD FolderRcpt board", "SET mboxName Board", "COMMIT",
        "ADD Group inner", "ADD Address alice@example.test", "COMMIT",
    )  # fmt: skip
    good = ("alice@example.test", "al@example.net", "alice+x@example.test", "news@example.test", "board@example.test",
            "inner@example.test", "postmaster@example.test", "anybody@elsewhere.test")  # fmt: skip
    await client.ok("ADD Group team", *(f"ADD Address {address}" for address in good), "ADD Address nobody@example.net")
    assert await client.err("COMMIT") == "the address nobody@example.net leads nowhere: example.test has no such name"
    await client.ok("REMOVE Address nobody@example.net", "COMMIT", "UPDATE Group team", "ADD Address gone@example.test")
    assert "gone@example.test leads nowhere" in await client.err("COMMIT")
    await client.ok("BACK", "ADD Account gone password wonder-land-9", "COMMIT")
    await client.ok("UPDATE Group team", "ADD Address gone@example.test", "COMMIT")
    # Members that there are already are no obstacle to anything else.
    await client.ok("REMOVE Account gone", "UPDATE Group team", "SET publishContactInfo no", "COMMIT")


async def _named(client: Client) -> None:
    await client.ok(
        DOMAIN, "ADD Account bob password wonder-land-2", "COMMIT", "SET catchAllType account catchAllAccountName bob",
        "SET postmasterAccount bob", "ADD Group team", "ADD Address bob@example.test", "COMMIT", "COMMIT", DOMAIN,
    )  # fmt: skip


async def test_a_new_name_is_followed(face: Face) -> None:
    client = await face.client()
    await _named(client)
    bob = face.directory.account_by_address("bob@example.test")
    assert bob is not None
    await client.ok("UPDATE Account bob", "SET name robert", "COMMIT")
    assert face.directory.resolve("anybody@example.test").address == "robert@example.test"
    assert face.directory.resolve("postmaster@example.test").address == "robert@example.test"
    assert face.directory.is_postmaster(bob.id)
    shown = await client.show()
    assert shown["catchAllAccountName"] == shown["postmasterAccount"] == '"robert"'
    await client.ok("UPDATE Group team")
    assert await client.items("LIST Addresses") == ["robert@example.test"]
    await client.ok("BACK", "ADD Group outer", "ADD Address team@example.test", "COMMIT")
    await client.ok("UPDATE Group team", "SET name crew", "COMMIT", "UPDATE Group outer")
    assert await client.items("LIST Addresses") == ["crew@example.test"]
    await client.ok("BACK", "SET name renamed.test", "COMMIT", "UPDATE Domain renamed.test", "UPDATE Group outer")
    assert await client.items("LIST Addresses") == ["crew@renamed.test"]
    group = face.directory.resolve("outer@renamed.test")
    assert list(face.directory.expand(group.object_id)) == ["robert@renamed.test"]


async def test_what_is_named_and_gone_is_as_if_not_named(face: Face) -> None:
    client = await face.client()
    await _named(client)
    await client.ok("ADD Account postmaster password wonder-land-3", "COMMIT", "REMOVE Account bob")
    assert face.directory.resolve("anybody@example.test").kind is RecipientKind.UNKNOWN_USER
    keeper = face.directory.account_by_address("postmaster@example.test")
    assert keeper is not None
    assert face.directory.resolve("postmaster@example.test").account == keeper
    assert face.directory.is_postmaster(keeper.id)
    assert sorted(face.directory.dangling_names()) == [
        "domain example.test: catchAllAccountName names bob, who does not exist",
        "domain example.test: postmasterAccount names bob, who does not exist",
        "group team@example.test: the member bob@example.test leads nowhere",
    ]


async def test_the_postmaster_that_is_shown_may_be_sent_back(face: Face) -> None:
    """Programs send all that they read; a domain need not have the account."""
    client = await face.client()
    await client.ok(DOMAIN)
    shown = (await client.show())["postmasterAccount"]
    assert face.directory.account_by_address("postmaster@example.test") is None
    await client.ok(f"SET postmasterAccount {shown} customerReference x", "COMMIT", DOMAIN)
    assert (await client.show())["postmasterAccount"] == shown
