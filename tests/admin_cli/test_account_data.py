"""What an account and a domain carry: contact data, temporary addresses, locations."""

from __future__ import annotations

from mailstead.directory import RecipientKind
from mailstead.settings.declarations import CONTACT_INFO
from tests.admin_cli.conftest import Face

ALICE = ("UPDATE Domain example.test", "UPDATE Account alice")


async def test_all_contact_data_is_kept_and_shown(face: Face) -> None:
    client = await face.client()
    names = [setting.name for setting in CONTACT_INFO.settings]
    assert len(names) == 33
    await client.ok(*ALICE, "CONFIG ContactInfo")
    for name in names:
        await client.ok(f'SET {name} "of {name}"')
    assert (await client.text("ESET contactNotes", "first\nsecond"))[-1].startswith("+OK")
    await client.ok("DONE", "COMMIT", "UPDATE Account alice", "CONFIG ContactInfo")
    assert await client.show() == {name: f'"of {name}"' for name in names}
    assert (await client.ok("SHOW contactNotes"))[:2] == ["first", "second"]
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None and account.full_name == "of firstName of lastName"


async def test_last_logins_by_service(face: Face) -> None:
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None
    await face.directory.record_login(account.id, "imap", "192.0.2.7")
    client = await face.client()
    await client.ok(*ALICE)
    shown = await client.show("SHOW RegistryInformation")
    assert [shown[f"{word} Last Login IP"] for word in ("IMAP", "POP3")] == ["192.0.2.7", "0.0.0.0"]


async def test_a_temporary_address_takes_mail_and_is_no_login(face: Face) -> None:
    client = await face.client()
    await client.ok(*ALICE, "CONFIG Limits", "SET temporaryAliasesCount 1", "DONE", "COMMIT", "UPDATE Account alice")
    assert "1 to 3650" in await client.err("ADD temporaryAlias shop7 days 0")
    await client.ok("SET customerReference x", "ADD temporaryAlias shop7 days 5")
    assert await client.items("LIST Aliases") == ["shop7"]
    assert face.directory.resolve("shop7@example.test").kind is RecipientKind.LOCAL
    assert face.directory.account_by_login("shop7@example.test") is None
    assert "at most 1 temporary addresses" in await client.err("ADD temporaryAlias shop8 days 5")
    await client.ok("REMOVE Alias shop7", "COMMIT")
    assert face.directory.resolve("shop7@example.test").kind is RecipientKind.UNKNOWN_USER


async def test_locations_have_the_form_of_one(face: Face) -> None:
    client = await face.client()
    head = "CREATE Domain name n.test postmasterPassword secret-1-x domainLocation"
    assert "is no location" in await client.err(f"{head} http://x/y")
    await client.ok(f'{head} "file:///n?maxFiles=128&maxFileSize=262144"')
    refused = {"/m?maxFiles=none": "maxFiles", "/m?colour=red": "has no option 'colour'", "ftp://m": "is no location"}
    for wrong, words in refused.items():
        assert words in await client.err(f'ADD MessagesLocation "{wrong}"')
        assert words in await client.err(f'SET domainObjectsLocation "{wrong}"')
    await client.ok('ADD MessagesLocation "file:///m?maxFiles=128&maxFileSize=262144&readOnly=no"', "COMMIT")
    await client.ok("DISABLE Domain n.test", "EDIT Domain name n.test")
    assert "maxFiles" in await client.err('UPDATE MessagesLocation /m "/m?maxFiles=0"')
