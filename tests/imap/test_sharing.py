"""Folders of others and of the domain, with a real directory: what is seen, what may be done, whose flags are whose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from mailstead.imap.server import ImapServer
from mailstead.imap.services import ImapServices
from mailstead.mailbox import metadata, sharing
from mailstead.mailbox.service import Mailbox
from mailstead.settings.declarations import OBJECT_KINDS
from mailstead.store.fsck import fsck
from mailstead.store.operations import CreateFolder
from mailstead.store.rebuild import rebuild_shard
from mailstead.store.service import Store
from mailstead.transport.endpoint import Endpoint
from tests.imap.conftest import Client, message
from tests.store.index_dump import difference, dump

ADMIN = Actor.system("test")
PASSWORD = "wonder-land-1"


class Domain:
    """A server with alice, bob, carol and postmaster in example.test and dave in other.test."""

    def __init__(self, directory: Directory, mailbox: Mailbox, store: Store) -> None:
        self.directory, self.mailbox, self.store = directory, mailbox, store
        self.port = 0

    async def client(self, user: str, domain: str = "example.test") -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        client = Client(reader, writer)
        await client.line()
        await client.ok(f"LOGIN {user}@{domain} {PASSWORD}")
        return client


@pytest.fixture(params=[1, 2], ids=["one shard", "two shards"])
async def domain(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Domain]:
    directory = Directory.open(tmp_path, create=True, shards=request.param)
    for name, users in (("example.test", ("alice", "bob", "carol", "postmaster")), ("other.test", ("dave",))):
        await directory.create_domain(name, actor=ADMIN)
        for user in users:
            await directory.create_account(name, user, PASSWORD, actor=ADMIN)
    await directory.settings.set("imap", "plainConnAllowLogin", "yes", ADMIN)
    store = await Store.open(tmp_path, shards=request.param)
    authenticator = Authenticator(directory, directory.settings, LocalGuard(peer_failures=20, account_failures=20))
    mailbox = Mailbox(store, directory, directory)
    server = ImapServer(ImapServices(mailbox, authenticator, directory.settings, directory))
    endpoint = Endpoint("imap", listener_domain="example.test")
    listener = await asyncio.get_running_loop().create_server(lambda: server.connection(endpoint), "127.0.0.1", 0)
    running = Domain(directory, mailbox, store)
    running.port = listener.sockets[0].getsockname()[1]
    yield running
    listener.close()
    for connection in list(endpoint.connections):
        connection.abort()
    await asyncio.sleep(0)
    await authenticator.close()
    await store.close()
    directory.close()
    for number in range(request.param):
        before = dump(tmp_path, number)
        rebuild_shard(tmp_path, number)
        assert difference(before, dump(tmp_path, number)) == []
    assert fsck(tmp_path, out=lambda _: None) == 0


def names(untagged: list[bytes]) -> list[str]:
    return [line.rpartition(b'"/" ')[2].decode().strip('"') for line in untagged if line.startswith(b"* LIST")]


async def share(client: Client, folder: str, who: str, rights: str) -> None:
    await client.ok(f'SETACL "{folder}" {who} {rights}')


async def test_what_is_not_shared_does_not_exist_for_others(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work/Plans")
    assert not any(name.startswith("Other Users") for name in names(await bob.ok('LIST "" *')))
    for command in ('SELECT "{}"', 'STATUS "{}" (MESSAGES)', 'GETACL "{}"', 'MYRIGHTS "{}"', 'DELETE "{}"'):
        for there in ("Other Users/alice/Work", "Other Users/alice/Nothing", "Other Users/nobody/INBOX"):
            _, reply = await bob.command(command.format(there))
            assert reply.startswith(b"NO [NONEXISTENT]"), (command, there, reply)
    assert (await bob.command('CREATE "Other Users/alice/New"'))[1].startswith(b"NO [NONEXISTENT]")
    assert (await bob.command('SETACL "Other Users/alice/Work" bob lr'))[1].startswith(b"NO [NONEXISTENT]")


async def test_a_shared_folder_comes_with_what_lies_below_and_exceptions(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    for name in ("Work", "Work/Plans", "Work/Secret", "Private"):
        await alice.ok(f"CREATE {name}")
    await share(alice, "Work", "bob", "lr")
    await alice.ok("DELETEACL Work/Secret bob")
    seen = [name for name in names(await bob.ok('LIST "" *')) if name.startswith("Other Users")]
    assert seen == ["Other Users", "Other Users/alice", "Other Users/alice/Work", "Other Users/alice/Work/Plans"]
    assert b'* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Public Folders/" "/"))' in await bob.ok("NAMESPACE")
    assert (await bob.command('SELECT "Other Users/alice/Work/Secret"'))[1].startswith(b"NO [NONEXISTENT]")
    assert b'* MYRIGHTS "Other Users/alice/Work/Plans" lr' in await bob.ok('MYRIGHTS "Other Users/alice/Work/Plans"')
    assert (await alice.ok("GETACL Work/Plans"))[0] == (b"* ACL Work/Plans alice@example.test lrswipkxtea bob@example.test lr")
    await alice.ok("DELETEACL Work bob")
    assert not any(name.startswith("Other Users") for name in names(await bob.ok('LIST "" *')))


async def test_rights_are_held_to(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    for number in range(3):
        await alice.append("Work", message(f"m{number}"))
    await share(alice, "Work", "bob", "lr")
    shared = '"Other Users/alice/Work"'
    _, reply = await bob.command(f"SELECT {shared}")
    assert reply.startswith(b"OK [READ-ONLY]")
    assert b"* 1 FETCH (BODY[TEXT]" in (await bob.ok("FETCH 1 BODY[TEXT]"))[0]
    assert (await bob.command(f"RENAME {shared} Mine"))[1].startswith(b"NO")
    assert (await bob.command(f"DELETE {shared}"))[1].startswith(b"NO [NOPERM]")
    assert (await bob.command(f"SETACL {shared} bob lrswipkxtea"))[1].startswith(b"NO [NOPERM]")
    assert (await bob.command(f"GETACL {shared}"))[1].startswith(b"NO [NOPERM]")
    assert (await bob.command("COPY 1 " + shared))[1].startswith(b"NO [NOPERM]")
    assert (await bob.command(f'CREATE "{shared[1:-1]}/Below"'))[1].startswith(b"NO [NOPERM]")
    await bob.ok("COPY 1 INBOX")
    await share(alice, "Work", "bob", "+s")
    assert (await bob.command(f"SELECT {shared}"))[1].startswith(b"OK [READ-WRITE]")
    await bob.ok("STORE 1 +FLAGS (\\Seen)")
    assert (await bob.command("STORE 1 +FLAGS (\\Deleted)"))[1].startswith(b"NO [NOPERM]")
    assert (await bob.command("STORE 1 +FLAGS ($Label1)"))[1].startswith(b"NO [NOPERM]")
    # Where some of the flags may be changed, these are (RFC 4314 section 4).
    await alice.ok("SELECT Work")
    await alice.ok("STORE 1 +FLAGS (\\Answered)")
    await bob.ok("NOOP")
    await bob.ok("STORE 1 FLAGS (\\Seen \\Draft $Label1)")
    assert b"* 1 FETCH (FLAGS (\\Seen \\Answered))" in await bob.ok("FETCH 1 FLAGS")
    await share(alice, "Work", "bob", "+te")
    await bob.ok("STORE 2 +FLAGS (\\Deleted)")
    assert b"* 2 EXPUNGE" in await bob.ok("EXPUNGE")
    await share(alice, "Work", "bob", "-te")
    assert (await bob.command("MOVE 1 INBOX"))[1].startswith(b"NO [NOPERM]")
    await share(alice, "Work", "bob", "+k")
    await bob.ok(f'CREATE "{shared[1:-1]}/Below"')
    assert "Work/Below" in names(await alice.ok('LIST "" *'))


async def test_who_may_no_longer_read_gets_nothing_of_the_folder_that_is_selected(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    await share(alice, "Work", "bob", "lrswite")
    await alice.append("Work", message("one"))
    await bob.ok('SELECT "Other Users/alice/Work"')
    assert len(await bob.ok("FETCH 1 BODY.PEEK[]")) == 1
    await alice.ok("DELETEACL Work bob")
    await alice.append("Work", message("secret"))
    for command in (
        "FETCH 1:* BODY.PEEK[]", "FETCH 1:* ENVELOPE", "SEARCH TEXT secret", "SEARCH SUBJECT secret", "SORT (SUBJECT) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL", "COPY 1 INBOX", "MOVE 1 INBOX", "STORE 1 +FLAGS (x)",
    ):  # fmt: skip
        untagged, reply = await bob.command(command)
        assert reply.startswith(b"NO [NOPERM]"), (command, reply)
        assert not [line for line in untagged if b"secret" in line or b"BODY" in line], command
    assert await bob.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_seen_and_keywords_are_each_readers_own(domain: Domain) -> None:
    alice, bob, carol = [await domain.client(user) for user in ("alice", "bob", "carol")]
    await alice.ok("CREATE Work")
    await share(alice, "Work", "anyone", "lrswite")
    for number in range(3):
        await alice.append("Work", message(f"m{number}"), "(\\Seen old)" if number == 0 else "")
    shared = '"Other Users/alice/Work"'
    assert b'* STATUS "Other Users/alice/Work" (UNSEEN 3)' in await bob.ok(f"STATUS {shared} (UNSEEN)")
    await bob.ok(f"SELECT {shared}")
    await carol.ok(f"SELECT {shared}")
    await alice.ok("SELECT Work")
    await bob.ok("STORE 2 +FLAGS (\\Seen mine)")
    await bob.ok("STORE 3 +FLAGS (\\Answered)")
    assert [line for line in await bob.ok("FETCH 1:3 FLAGS") if b"FETCH" in line] == [
        b"* 1 FETCH (FLAGS ())", b"* 2 FETCH (FLAGS (\\Seen mine))", b"* 3 FETCH (FLAGS (\\Answered))",
    ]  # fmt: skip
    told = await carol.ok("NOOP")
    assert [line for line in told if b"FETCH" in line] == [b"* 3 FETCH (FLAGS (\\Answered))"]
    assert [line for line in await alice.ok("NOOP") if b"FETCH" in line] == [b"* 3 FETCH (FLAGS (\\Answered))"]
    assert [line for line in await alice.ok("FETCH 1:3 FLAGS") if b"FETCH" in line][-3:] == [
        b"* 1 FETCH (FLAGS (\\Seen old))", b"* 2 FETCH (FLAGS ())", b"* 3 FETCH (FLAGS (\\Answered))",
    ]  # fmt: skip
    assert b'* STATUS "Other Users/alice/Work" (UNSEEN 2)' in await bob.ok(f"STATUS {shared} (UNSEEN)")
    assert b"* STATUS Work (UNSEEN 2)" in await alice.ok("STATUS Work (UNSEEN)")
    assert b"* SEARCH 2" in await bob.ok("SEARCH SEEN")
    # A copy carries the flags as its reader sees them.
    await bob.ok("COPY 1:3 INBOX")
    await bob.ok("EXAMINE INBOX")
    assert [line for line in await bob.ok("FETCH 1:3 FLAGS") if b"FETCH" in line] == [
        b"* 1 FETCH (FLAGS ())", b"* 2 FETCH (FLAGS (\\Seen mine))", b"* 3 FETCH (FLAGS (\\Answered))",
    ]  # fmt: skip
    # What he brings is seen for him alone.
    await bob.append(shared, message("from bob"), "(\\Seen \\Draft tag)")
    await bob.ok(f"COPY 2 {shared}")
    await bob.ok(f"SELECT {shared}")
    assert [line for line in await bob.ok("FETCH 4:5 FLAGS") if b"FETCH" in line] == [
        b"* 4 FETCH (FLAGS (\\Seen \\Draft tag))", b"* 5 FETCH (FLAGS (\\Seen mine))",
    ]  # fmt: skip
    await alice.ok("NOOP")
    assert [line for line in await alice.ok("FETCH 4:5 FLAGS") if b"FETCH" in line][-2:] == [
        b"* 4 FETCH (FLAGS (\\Draft))", b"* 5 FETCH (FLAGS ())",
    ]  # fmt: skip
    await alice.ok("STORE 2 +FLAGS (\\Deleted)")
    await alice.ok("EXPUNGE")
    assert [line for line in await bob.ok("NOOP") if b"EXPUNGE" in line] == [b"* 2 EXPUNGE"]


async def test_condstore_of_a_reader(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    await share(alice, "Work", "bob", "lrsw")
    for number in range(3):
        await alice.append("Work", message(f"m{number}"))
    await bob.ok("ENABLE QRESYNC")
    opened = await bob.ok('SELECT "Other Users/alice/Work"')
    modseq = int(next(line for line in opened if b"HIGHESTMODSEQ" in line).split()[3].rstrip(b"]"))
    validity = int(next(line for line in opened if b"UIDVALIDITY" in line).split()[3].rstrip(b"]"))
    await bob.ok("UNSELECT")
    other = await domain.client("bob")
    await other.ok('SELECT "Other Users/alice/Work"')
    await other.ok("STORE 2 +FLAGS (\\Seen)")
    await alice.ok("SELECT Work")
    await alice.ok("STORE 3 +FLAGS (\\Seen)")
    changed = await bob.ok(f'SELECT "Other Users/alice/Work" (QRESYNC ({validity} {modseq}))')
    assert b"2" in [line.split()[1] for line in changed if b"FETCH" in line]
    assert b"1" not in [line.split()[1] for line in changed if b"FETCH" in line]
    _, reply = await bob.command(f"STORE 2 (UNCHANGEDSINCE {modseq}) +FLAGS (\\Flagged)")
    assert b"[MODIFIED 2]" in reply


async def test_groups_and_negative_rights(domain: Domain) -> None:
    alice, bob, carol = [await domain.client(user) for user in ("alice", "bob", "carol")]
    directory = domain.directory
    inner = await directory.create_group("example.test", "inner", ["Carol@example.test"], actor=ADMIN)
    await directory.create_group("example.test", "staff", ["bob@example.test", "inner@example.test"], actor=ADMIN)
    await alice.ok("CREATE Work")
    await share(alice, "Work", "group=staff", "lr")
    assert b'* MYRIGHTS "Other Users/alice/Work" lr' in await bob.ok('MYRIGHTS "Other Users/alice/Work"')
    assert b'* MYRIGHTS "Other Users/alice/Work" lr' in await carol.ok('MYRIGHTS "Other Users/alice/Work"')
    await share(alice, "Work", "-bob", "r")
    assert b'* MYRIGHTS "Other Users/alice/Work" l' in await bob.ok('MYRIGHTS "Other Users/alice/Work"')
    assert (await alice.ok("GETACL Work"))[0].endswith(b"-bob@example.test r group=staff lr")
    await directory.remove_members(inner.id, ["Carol@example.test"], actor=ADMIN)
    assert (await carol.command('SELECT "Other Users/alice/Work"'))[1].startswith(b"NO [NONEXISTENT]")
    assert (await alice.command("SETACL Work group=nobody lr"))[1].startswith(b"NO [CANNOT]")
    assert (await alice.command("SETACL Work dave@other.test lr"))[1].startswith(b"NO [CANNOT]")
    assert (await alice.command("SETACL Work bob q"))[1].startswith(b"BAD")
    assert (await alice.command("SETACL Work alice lr"))[1].startswith(b"NO [CANNOT]")
    assert (await alice.ok("LISTRIGHTS Work bob"))[0] == b'* LISTRIGHTS Work bob "" l r s w i p k x t e a'


async def test_sharing_ends_at_the_domain_and_can_be_switched_off(domain: Domain) -> None:
    alice, dave = await domain.client("alice"), await domain.client("dave", "other.test")
    bob = await domain.client("bob")
    await alice.ok("CREATE Work")
    await share(alice, "Work", "anyone", "lr")
    assert (await dave.command('SELECT "Other Users/alice/Work"'))[1].startswith(b"NO [NONEXISTENT]")
    assert not any(name.startswith("Other Users/") for name in names(await dave.ok('LIST "" *')))
    account = domain.directory.account_by_address("alice@example.test")
    assert account is not None
    await domain.directory.set_account_setting(account.id, "enableSharing", "no", actor=ADMIN)
    assert (await bob.command('SELECT "Other Users/alice/Work"'))[1].startswith(b"NO [NONEXISTENT]")


async def test_public_folders(domain: Domain) -> None:
    post, alice, dave = await domain.client("postmaster"), await domain.client("alice"), await domain.client("dave", "other.test")
    assert (await alice.command('CREATE "Public Folders/News"'))[1].startswith(b"NO [NOPERM]")
    await post.ok('CREATE "Public Folders/News/2026"')
    assert names(await alice.ok('LIST "" "Public Folders/*"')) == ["Public Folders/News", "Public Folders/News/2026"]
    assert names(await dave.ok('LIST "" "Public Folders/*"')) == []
    await alice.append('"Public Folders/News"', message("news"))
    await alice.ok('SELECT "Public Folders/News"')
    assert (await alice.command("STORE 1 +FLAGS (\\Deleted)"))[1].startswith(b"NO [NOPERM]")
    await alice.ok("STORE 1 +FLAGS (\\Seen \\Flagged)")
    await post.ok('SELECT "Public Folders/News"')
    assert b"* 1 FETCH (FLAGS ())" in await post.ok("FETCH 1 FLAGS")
    await post.ok('SETACL "Public Folders/News" anyone lr')
    assert (await alice.command('APPEND "Public Folders/News" {3+}\r\nabc'))[1].startswith(b"NO [NOPERM]")
    assert b'* MYRIGHTS "Public Folders/News/2026" lr' in await alice.ok('MYRIGHTS "Public Folders/News/2026"')
    await post.ok('DELETE "Public Folders/News/2026"')


async def test_notes_on_folders(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    await share(alice, "Work", "bob", "lr")
    await alice.ok('SETMETADATA Work (/shared/comment "for all" /Private/Vendor/X "mine")')
    shared = '"Other Users/alice/Work"'
    assert (await bob.ok(f"GETMETADATA {shared} (/shared/comment /private/vendor/x)"))[0] == (
        b'* METADATA "Other Users/alice/Work" (/shared/comment "for all" /private/vendor/x NIL)'
    )
    await bob.ok(f'SETMETADATA {shared} (/private/vendor/x "his")')
    assert (await bob.command(f'SETMETADATA {shared} (/shared/comment "no")'))[1].startswith(b"NO [NOPERM]")
    assert (await alice.ok("GETMETADATA (DEPTH infinity) Work /private"))[0] == (b'* METADATA Work (/private/vendor/x "mine")')
    await alice.ok('SETMETADATA "" (/private/filters/values/open "UNSEEN")')
    assert (await alice.ok('GETMETADATA "" /private/filters/values/open'))[0] == (
        b'* METADATA "" (/private/filters/values/open "UNSEEN")'
    )
    assert (await alice.command('SETMETADATA "" (/shared/x "y")'))[1].startswith(b"NO [NOPERM]")
    _, reply = await alice.command("GETMETADATA (MAXSIZE 3) Work (/shared/comment)")
    assert reply.startswith(b"OK [METADATA LONGENTRIES 7]")
    assert b'* METADATA Work (/shared/comment "for all")' in await alice.ok(
        'LIST "" "Work" RETURN (METADATA (/shared/comment) MYRIGHTS)'
    )
    await alice.ok("SETMETADATA Work (/shared/comment NIL)")
    assert (await alice.ok("GETMETADATA Work /shared/comment"))[0] == b"* METADATA Work (/shared/comment NIL)"


async def test_special_folders_may_have_translated_names(domain: Domain) -> None:
    account = domain.directory.account_by_address("alice@example.test")
    assert account is not None
    await domain.directory.set_account_setting(account.id, "localizedImapFolderNames", "yes", actor=ADMIN)
    await domain.directory.set_account_setting(account.id, "language", "de_AT", actor=ADMIN)
    alice = await domain.client("alice")
    await alice.ok("ENABLE IMAP4rev2")
    listed = names(await alice.ok('LIST "" %'))
    assert {"INBOX", "Entwürfe", "Gesendet", "Papierkorb", "Spam", "Archiv"} == set(listed)
    assert names(await alice.ok('LIST "" "Ges*"')) == ["Gesendet"]
    assert names(await alice.ok('LIST "" "Sent*"')) == []
    await alice.append("Gesendet", message("x"))
    await alice.ok("CREATE Gesendet/2026")
    assert b"* STATUS Gesendet (MESSAGES 1)" in await alice.ok("STATUS Gesendet (MESSAGES)")
    await domain.directory.set_account_setting(account.id, "localizedImapFolderNames", "no", actor=ADMIN)
    other = await domain.client("alice")
    assert "Sent/2026" in names(await other.ok('LIST "" *'))
    await other.ok("CREATE Archiv")
    await domain.directory.set_account_setting(account.id, "localizedImapFolderNames", "yes", actor=ADMIN)
    again = await domain.client("alice")
    assert {"Archiv", "Archive"} <= set(names(await again.ok('LIST "" %')))


async def test_close_without_the_right_to_expunge_just_leaves(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    await alice.append("Work", message("m"), "(\\Deleted)")
    await share(alice, "Work", "bob", "lrs")
    await bob.ok('SELECT "Other Users/alice/Work"')
    await bob.ok("CLOSE")
    assert b"* STATUS Work (MESSAGES 1)" in await alice.ok("STATUS Work (MESSAGES)")


async def test_folders_that_had_their_names_before_namespaces_did(domain: Domain) -> None:
    bob = await domain.client("bob")
    account = domain.directory.account_by_address("bob@example.test")
    assert account is not None
    await bob.ok("NOOP")
    for name in ("Other Users", "Other Users/alice", "Public Folders", "Public Folders/x"):
        made = CreateFolder(account.shard, domain.store.new_id(), account.id, name, None, "mail", 1)
        await domain.store.change([made])
    await bob.ok('LIST "" *')
    assert b"* 0 EXISTS" in await bob.ok('SELECT "Other Users/alice"')
    await bob.ok('STATUS "Public Folders/x" (MESSAGES)')
    await bob.ok("CLOSE")
    assert (await bob.command('CREATE "Other Users/alice/y"'))[1].startswith(b"NO [NONEXISTENT]")
    assert (await bob.command('RENAME Drafts "Other Users/z"'))[1].startswith(b"NO")
    await bob.ok('RENAME "Other Users" Others')
    assert {"Others", "Others/alice"} <= set(names(await bob.ok('LIST "" *')))
    assert (await bob.command('SELECT "Other Users/alice"'))[1].startswith(b"NO [NONEXISTENT]")
    await bob.ok('DELETE "Public Folders/x"')
    await bob.ok('RENAME "Public Folders" Mine')


async def test_the_first_rights_of_the_root_do_not_take_those_of_everybody(domain: Domain) -> None:
    """PUB-01: what holds as long as nothing is said stays when a folder has an entry of its own first."""
    bob, master = await domain.client("bob"), await domain.client("postmaster")
    await master.ok('CREATE "Public Folders/News"')
    await share(master, "Public Folders/News", "carol", "lr")
    postmaster = domain.directory.account_by_address("postmaster@example.test")
    assert postmaster is not None
    await domain.mailbox.set_acl(postmaster.id, "Public Folders", "carol", "set", "lrswipk", whole=True)
    assert b'* MYRIGHTS "Public Folders/News" lrswip' in await bob.ok('MYRIGHTS "Public Folders/News"')


async def test_who_appends_sets_the_flags_that_he_may(domain: Domain) -> None:
    """RFC 4314 section 4: the others are left out without a word."""
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Box")
    await share(alice, "Box", "bob", "lrip")
    await bob.append('"Other Users/alice/Box"', message("one"), "(\\Deleted \\Answered \\Seen \\Flagged word)")
    await alice.ok("SELECT Box")
    assert await alice.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS ())"]
    await bob.ok('SELECT "Other Users/alice/Box"')
    assert await bob.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS ())"]
    await share(alice, "Box", "bob", "lriptsw")
    await bob.append('"Other Users/alice/Box"', message("two"), "(\\Deleted \\Answered \\Seen \\Flagged word)")
    (own,) = [line for line in await bob.ok("FETCH 2 FLAGS") if b" FETCH " in line]
    assert all(flag in own for flag in (rb"\Deleted", rb"\Answered", rb"\Seen", rb"\Flagged", b"word"))


async def test_entries_of_an_account_are_bounded(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MAX_ACCOUNT_ENTRIES", 2)
    alice = await domain.client("alice")
    await share(alice, "Sent", "bob", "lr")
    await share(alice, "Drafts", "carol", "lr")
    assert (await alice.command("SETACL Trash bob lr"))[1].startswith(b"NO [LIMIT]")
    await share(alice, "Sent", "bob", "lrs")
    await alice.ok("DELETEACL Sent bob")
    await share(alice, "Trash", "bob", "lr")


async def test_public_folders_have_no_inbox(domain: Domain) -> None:
    master = await domain.client("postmaster")
    await master.ok('CREATE "Public Folders/News"')
    for command in (
        'CREATE "Public Folders/INBOX"',
        'CREATE "Public Folders/inbox/x"',
        'RENAME "Public Folders/News" "Public Folders/Inbox"',
    ):
        assert (await master.command(command))[1].startswith(b"NO [CANNOT]")


async def test_notes_do_not_grow_without_end(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_ACCOUNT", 100)
    alice = await domain.client("alice")
    await alice.ok(f'SETMETADATA Sent (/private/a "{"x" * 60}")')
    assert (await alice.command(f'SETMETADATA Trash (/private/a "{"x" * 60}")'))[1].startswith(b"NO [METADATA TOOMANY]")
    await alice.ok("SETMETADATA Sent (/private/a NIL)")
    await alice.ok(f'SETMETADATA Trash (/private/a "{"x" * 60}")')


async def test_rights_that_are_taken_away_are_gone_for_who_has_it_selected(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    await alice.append("Work", message("one"))
    await share(alice, "Work", "bob", "lrswite")
    await bob.ok('SELECT "Other Users/alice/Work"')
    await bob.ok("NOTIFY SET (selected (MessageNew (UID ENVELOPE) MessageExpunge FlagChange))")
    await alice.ok("DELETEACL Work bob")
    for command in (
        "FETCH 1 FLAGS", "FETCH 1 BODY[]", "UID FETCH 1 (UID)", "SEARCH ALL", "UID SEARCH RETURN (SAVE) ALL",
        "SORT (SUBJECT) UTF-8 ALL", "ESEARCH IN (selected) ALL", "STORE 1 FLAGS ()", "COPY 1 INBOX", "MOVE 1 INBOX",
        "EXPUNGE", "REPLACE 1 INBOX {1+}\r\nx",
    ):  # fmt: skip
        untagged, reply = await bob.command(command)
        assert reply.startswith(b"NO [NOPERM]"), (command, reply)
        assert untagged == [], command
    await alice.append("Work", message("two"))
    await alice.ok("SELECT Work")
    await alice.ok("STORE 1 +FLAGS (\\Answered \\Deleted)")
    await alice.ok("EXPUNGE")
    assert await bob.ok("NOOP") == []
    await share(alice, "Work", "bob", "lr")
    untagged = await bob.ok("NOOP")
    assert b"* 1 EXPUNGE" in untagged
    assert b"* 1 EXISTS" in untagged or b"* 2 EXISTS" in untagged
    await alice.ok("DELETEACL Work bob")
    await bob.ok("CLOSE")


async def test_a_copy_sets_no_flags_that_its_reader_may_not_set(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    await share(alice, "Work", "bob", "lri")
    await bob.append("INBOX", message("x"), "(\\Seen \\Deleted \\Answered mine)")
    await bob.ok("SELECT INBOX")
    await bob.ok('COPY 1 "Other Users/alice/Work"')
    await share(alice, "Work", "bob", "+w")
    await bob.ok('COPY 1 "Other Users/alice/Work"')
    await alice.ok("SELECT Work")
    assert [line for line in await alice.ok("FETCH 1:2 FLAGS") if b"FETCH" in line] == [
        b"* 1 FETCH (FLAGS ())", b"* 2 FETCH (FLAGS (\\Answered))",
    ]  # fmt: skip
    await bob.ok('SELECT "Other Users/alice/Work"')
    assert [line for line in await bob.ok("FETCH 1:2 FLAGS") if b"FETCH" in line] == [
        b"* 1 FETCH (FLAGS ())", b"* 2 FETCH (FLAGS (\\Answered mine))",
    ]  # fmt: skip


async def test_idling_tells_nothing_to_who_may_no_longer_read(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    await share(alice, "Work", "bob", "lr")
    await bob.ok('SELECT "Other Users/alice/Work"')
    bob.write(b"z IDLE\r\n")
    assert (await bob.line()).startswith(b"+")
    await alice.append("Work", message("one"))
    assert await bob.line() == b"* 1 EXISTS"
    await alice.ok("DELETEACL Work bob")
    await alice.append("Work", message("two"))
    bob.write(b"DONE\r\n")
    assert (await bob.until(b"z"))[0] == []


async def test_two_who_change_rights_at_once_both_have_their_way(domain: Domain) -> None:
    one, two = await domain.client("alice"), await domain.client("alice")
    await one.ok("CREATE Work")
    await share(one, "Work", "bob", "lrs")
    for client, change in ((one, "-r"), (two, "+i"), (one, "+w"), (two, "-s")):
        client.write(b"x SETACL Work bob %b\r\n" % change.encode())
    for client in (one, two, one, two):
        assert (await client.line()).startswith(b"x OK")
    assert (await one.ok("GETACL Work"))[0].endswith(b" bob@example.test lwi")


async def test_a_mailbox_with_a_quota_of_its_own_is_a_root(domain: Domain) -> None:
    alice, bob = await domain.client("alice"), await domain.client("bob")
    await alice.ok("CREATE Work")
    await share(alice, "Work", "bob", "lri")
    account = domain.directory.account_by_address("alice@example.test")
    assert account is not None
    await domain.directory.set_account_setting(account.id, "totalMessageCount", "9", actor=ADMIN)
    objects, attributes = domain.directory.settings.objects, {"mboxName": "Work", "messageCount": "1", "messageSize": "3"}
    await domain.directory.database.write(objects.adder(OBJECT_KINDS["mboxQuota"], attributes, "test", "account", account.id))
    await bob.append('"Other Users/alice/Work"', message("1"))
    whole, own = b'* QUOTA "" (MESSAGE 1 9)', b"* QUOTA Work (STORAGE 1 3 MESSAGE 1 1)"
    assert await alice.ok("GETQUOTAROOT Work") == [b'* QUOTAROOT Work "" Work', whole, own]
    assert await alice.ok("GETQUOTA Work") == [own]
    assert await alice.ok("GETQUOTAROOT INBOX") == [b'* QUOTAROOT INBOX ""', whole]
    assert (await bob.ok('GETQUOTA "Other Users/alice/Work"'))[0].endswith(b"(STORAGE 1 3 MESSAGE 1 1)")
    assert (await alice.command("GETQUOTA Nothing"))[1].startswith(b"NO [NONEXISTENT]")
