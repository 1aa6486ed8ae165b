"""What an administrator's FTP client notices: the tree, downloads, uploads that restore, both families, TLS, refusals."""

from __future__ import annotations

import asyncio
import ftplib
import io
import json
import shutil
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from mailstead.store.fsck import CLEAN, fsck
from tests.ftp_backup.conftest import PASSWORD, Face, apart
from tests.restoring.conftest import ADMIN, DOMAIN, text
from tests.restoring.test_restoring import furnish, seen

ALICE = f"/{DOMAIN}/accounts/alice"


def names(client: ftplib.FTP, path: str) -> list[str]:
    return [name for name, _ in client.mlsd(path)]


def fetched(client: ftplib.FTP, path: str, rest: int | None = None) -> bytes:
    found: list[bytes] = []
    client.retrbinary(f"RETR {path}", found.append, rest=rest)
    return b"".join(found)


def download(client: ftplib.FTP, path: str, target: Path) -> int:
    """The whole tree below a path; returns how many files."""
    target.mkdir()
    count = 0
    for name, facts in list(client.mlsd(path)):
        if facts["type"] == "dir":
            count += download(client, f"{path}/{name}", target / name)
        else:
            octets = fetched(client, f"{path}/{name}")
            assert len(octets) == int(facts["size"]), f"{path}/{name}"
            (target / name).write_bytes(octets)
            count += 1
    return count


def upload(client: ftplib.FTP, source: Path, path: str) -> list[str]:
    """The same tree, files before directories as clients do; returns the replies."""
    client.putcmd(f"MKD {path}")
    made = client.getmultiline()
    assert made.startswith("257") or "exists already" in made
    replies = []
    for one in sorted(source.iterdir(), key=lambda one: (one.is_dir(), one.name)):
        if one.is_dir():
            replies += upload(client, one, f"{path}/{one.name}")
        else:
            with one.open("rb") as file:
                replies.append(client.storbinary(f"STOR {path}/{one.name}", file))
    return replies


async def furnished(face: Face) -> int:
    place = face.place
    alice = await furnish(place)
    await place.directory.create_list(DOMAIN, "news", ["x@elsewhere.test"], actor=ADMIN)
    domain = place.directory.domain_by_name(DOMAIN)
    assert domain is not None
    await place.mailbox.create_folder(domain.id, "Board")
    await place.add(domain.id, "Board", ["notice"])
    await place.mailbox.create_folder(alice, "Entwürfe & Co/messages.tar")
    return alice


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("passive", [True, False])
async def test_the_tree_over_both_families_both_ways_with_and_without_tls(face: Face, host: str, tls: bool, passive: bool) -> None:
    await furnished(face)

    def work() -> None:
        client = face.client(host, tls=tls)
        client.set_pasv(passive)
        if isinstance(client, ftplib.FTP_TLS):
            client.prot_p()
        assert names(client, "/") == [DOMAIN]
        assert names(client, f"/{DOMAIN}") == ["domain.json", "accounts", "lists", "groups", "folderRecipients", "publicFolders"]
        assert names(client, f"/{DOMAIN}/accounts") == ["alice", "bob"]
        assert names(client, ALICE) == ["account.json", "mailbox.json", "folders"]
        assert "Entw&APw-rfe &- Co" in names(client, f"{ALICE}/folders")
        client.cwd(f"{ALICE}/folders/Work")
        client.cwd("2024")
        assert client.pwd() == f"{ALICE}/folders/Work/2024"
        messages = names(client, "")
        assert len(messages) == 250
        assert client.nlst() == messages
        lines: list[str] = []
        client.dir(lines.append)
        assert len(lines) == 250
        assert lines[0].startswith("-rw-r----- 1 mailstead mailstead ")
        octets = fetched(client, messages[7])
        assert b"Subject: w7\r\n" in octets
        assert fetched(client, messages[7], rest=20) == octets[20:]
        client.voidcmd("TYPE I")
        assert client.size(messages[7]) == len(octets)
        assert client.voidcmd(f"MDTM {messages[7]}") == "213 19700112134647"
        large = [name for name in names(client, f"{ALICE}/folders/INBOX") if name.startswith("0000000004")]
        assert len(fetched(client, f"{ALICE}/folders/INBOX/{large[0]}")) > 400_000
        client.quit()

    await apart(work)


@pytest.mark.parametrize("tar", [False, True])
@pytest.mark.parametrize("encoding", ["utf7", "utf8"])
async def test_what_is_downloaded_can_be_uploaded_to_an_empty_server(
    face: Face, empty: Face, tmp_path: Path, tar: bool, encoding: str
) -> None:
    alice = await furnished(face)
    before = await seen(face.place, alice)
    for one in (face, empty):
        await one.place.directory.settings.set("ftpBackup", "messagesTarEnabled", "yes" if tar else "no", ADMIN)
        await one.place.directory.settings.set("ftpBackup", "nameEncoding", encoding, ADMIN)

    def down() -> int:
        return download(face.client(), f"/{DOMAIN}", tmp_path / "tree")

    assert await apart(down) > (20 if tar else 250)
    if tar:
        with tarfile.open(tmp_path / "tree/accounts/alice/folders/Work/2024/messages.tar") as file:
            assert len(file.getnames()) == 250

    def up() -> list[str]:
        return upload(empty.client(), tmp_path / "tree", f"/{DOMAIN}")

    replies = await apart(up)
    assert all(reply.startswith("226") for reply in replies), replies
    assert not [reply for reply in replies if "left out" in reply]
    there = empty.place.directory.account_by_address(f"alice@{DOMAIN}")
    assert there is not None
    after = await seen(empty.place, there.id)
    assert after == before
    stored = face.place.directory.credentials(alice)
    assert empty.place.directory.credentials(there.id) == stored
    assert [row[0] for row in await empty.place.contents(there.domain_id, "Board")] == ["notice"]
    assert empty.place.directory.account_by_address(f"sales@{DOMAIN}") == there
    again = await apart(up)
    assert all("already" in reply or "restored" in reply for reply in again)
    assert await seen(empty.place, there.id) == before
    assert fsck(empty.place.path, out=lambda _: None) == CLEAN


async def test_a_single_message_comes_back_once(face: Face) -> None:
    alice = await furnished(face)
    folder = f"{ALICE}/folders/INBOX"

    def save() -> tuple[str, bytes]:
        client = face.client()
        name = names(client, folder)[1]
        return name, fetched(client, f"{folder}/{name}")

    name, octets = await apart(save)
    before = await face.place.contents(alice, "INBOX")
    await face.place.delete(alice, "INBOX", {"b"})

    def put(path: str, data: bytes) -> str:
        return face.client().storbinary(f"STOR {path}", io.BytesIO(data))

    assert await apart(put, f"{folder}/{name}", octets) == "226 restored"
    assert await apart(put, f"{folder}/{name}", octets) == "226 is there already"
    assert sorted(await face.place.contents(alice, "INBOX")) == sorted(before)
    # A message of another program, into a folder that there is not yet.
    assert await apart(put, f"{ALICE}/folders/New/hello.eml", b"Subject: lf\nMessage-ID: <lf@t>\n\nline\n") == "226 restored"
    assert (
        await apart(put, f"{ALICE}/folders/New/other.eml", b"Subject: lf\r\nMessage-ID: <lf@t>\r\n\r\nline\r\n")
        == "226 is there already"
    )
    assert [row[0] for row in await face.place.contents(alice, "New")] == ["lf"]


async def test_an_account_that_was_erased_for_good_comes_back_without_its_deleted_mail(face: Face) -> None:
    alice = await furnished(face)
    place = face.place
    await place.delete(alice, "INBOX", {"b"})
    octets = await apart(lambda: fetched(face.client(), f"{ALICE}/account.json"))
    await place.directory.delete_account(alice, actor=ADMIN, keep_copy=False)
    for one in await place.directory.claim_deleted_mailboxes():
        await place.mailbox.remove_account(one.owner, one.shard, 0)
        await place.directory.mailbox_removed(one.owner)
    client = await apart(face.client)
    reply = await apart(client.storbinary, f"STOR {ALICE}/account.json", io.BytesIO(octets))
    assert reply.startswith("226 restored")
    back = place.directory.account_by_address(f"alice@{DOMAIN}")
    assert back is not None
    assert await place.mailbox.deleted_messages(back.id, actor=ADMIN) == []


async def test_delegated_administrators_see_their_domains_and_do_what_they_may(face: Face) -> None:
    alice = await furnished(face)
    await face.place.directory.create_domain("secret.test", actor=ADMIN)

    def refused(client: ftplib.FTP, command: str) -> str:
        with pytest.raises(ftplib.error_perm) as error:
            client.sendcmd(command)
        return str(error.value)

    def look() -> bytes:
        client = face.client(name="delegate")
        assert names(client, "/") == [DOMAIN]
        assert refused(client, "CWD /secret.test") == refused(client, "CWD /nowhere.test") == "550 no such domain"
        octets = fetched(client, f"{ALICE}/account.json")
        with pytest.raises(ftplib.error_perm, match="550 you have no right"):
            client.storbinary(f"STOR {ALICE}/account.json", io.BytesIO(octets))
        with pytest.raises(ftplib.error_perm, match="550 you have no right"):
            client.storbinary(f"STOR {ALICE}/folders/INBOX/x.eml", io.BytesIO(b"Subject: x\r\n\r\n"))
        assert "no right" in refused(client, f"MKD {ALICE}/folders/X")
        for command in (f"DELE {ALICE}/account.json", f"RMD {ALICE}", f"RNFR {ALICE}"):
            assert refused(client, command).startswith("550 nothing is removed")
        with pytest.raises(ftplib.error_perm, match="530"):
            face.client(name="nobody")
        return octets

    octets = await apart(look)
    await face.place.directory.grant("delegate", "restoreDomain", DOMAIN, actor=ADMIN)
    await face.place.directory.set_account_setting(alice, "totalMessageCount", "7", actor=ADMIN)
    credentials = face.place.directory.credentials(alice)

    def restore() -> str:
        return face.client(name="delegate").storbinary(f"STOR {ALICE}/account.json", io.BytesIO(octets))

    said = await apart(restore)
    assert "totalMessageCount, which you may not change" in said
    assert "the password, which you may not change" in said
    assert face.place.directory.account(alice).quota_messages == 7  # type: ignore[union-attr]
    assert face.place.directory.credentials(alice) == credentials


async def test_documents_of_strangers_reach_nothing_else(face: Face) -> None:
    await furnished(face)
    admins = face.place.directory.database.query("SELECT * FROM admin ORDER BY id")
    good = await apart(lambda: fetched(face.client(), f"{ALICE}/account.json"))
    evil = [
        good.replace(b'"address",', b'"admin",', 1),
        good.replace(b'"scope": "account"', b'"scope": "service"'),
        good.replace(b'"kind": "account"', b'"kind": "group"'),
        good.replace(b'"full_name"', b'"full_name) VALUES (1); --"'),
        good[: len(good) // 2],
        b"[]",
        b"{" * 100_000,
        b'{"format": 1, "kind": "account", "rows": []}',
        good.replace(b'"object_id": ', b'"object_id": 1'),
    ]

    def put(data: bytes, name: str = "eve") -> str:
        try:
            return face.client().storbinary(f"STOR /{DOMAIN}/accounts/{name}/account.json", io.BytesIO(data))
        except ftplib.error_perm as error:
            return str(error)

    for data in evil:
        assert data != good
        assert (await apart(put, data)).startswith("550"), data[:200]
    assert face.place.directory.database.query("SELECT * FROM admin ORDER BY id") == admins
    assert face.place.directory.account_by_address(f"eve@{DOMAIN}") is None
    assert (await apart(put, good, "eve")).startswith("226 restored; left out: the alias sales")


async def test_labels_show_what_came_since(face: Face) -> None:
    alice = await furnished(face)

    def label(command: str) -> str:
        return face.client().sendcmd(command)

    await asyncio.sleep(1.1)  # messages of the same second count as later
    assert (await apart(label, "SITE BACKUP monday")).startswith("200 label monday")
    await asyncio.sleep(1.1)
    await face.place.add(alice, "INBOX", ["later"])

    def since() -> list[bytes]:
        client = face.client()
        folder = f"/@since-monday/{DOMAIN}/accounts/alice/folders/INBOX"
        return [fetched(client, f"{folder}/{name}") for name in names(client, folder)]

    found = await apart(since)
    assert len(found) == 1
    assert b"Subject: later" in found[0]
    # Flags are part of what is backed up: a message whose flags alone changed has changed.
    view = await face.place.mailbox.open(await face.place.folder(alice, "INBOX"))
    old = list(view.uids)[:-1]
    await face.place.mailbox.store_flags(view, old[:1], "add", ["\\Flagged", "$Work"])
    view.release()

    def changed() -> tuple[list[str], list[bytes]]:
        client = face.client()
        folder = f"/@since-monday/{DOMAIN}/accounts/alice/folders/INBOX"
        shown = names(client, folder)
        return shown, [fetched(client, f"{folder}/{name}") for name in shown]

    shown, octets = await apart(changed)
    assert [(int(name[:10]), name.split(".")[3]) for name in shown] == [(old[0], "kw+$Work"), (old[-1] + 1, "-")]
    assert "F" in shown[0].split(".")[2]
    assert b"Subject: later" in octets[1]
    assert "monday" in await apart(label, "SITE BACKUPS")
    assert await apart(label, f"SITE BACKUP tuesday {DOMAIN}") == "200 label tuesday; next time see /@since-tuesday"
    assert await apart(label, "SITE REMOVE monday") == "200 removed"
    with pytest.raises(ftplib.error_perm, match="no such label"):
        await apart(label, "CWD /@since-monday")
    assert await apart(label, f"SITE PURGE {DOMAIN}") == "200 1 removed"


async def test_data_goes_to_the_client_only_and_in_his_family(face: Face) -> None:
    def replies(host: str, *commands: str) -> list[str]:
        client = face.client(host)
        found = []
        for command in commands:
            try:
                found.append(client.sendcmd(command))
            except ftplib.error_perm as error:
                found.append(str(error))
        return [one[:3] for one in found]

    assert await apart(
        replies, "127.0.0.1", "PORT 127,0,0,2,40,1", "PORT 127,0,0,1,0,80", "PORT 1,2,3", "PORT 256,0,0,1,40,1",
        "EPRT |1|10.0.0.1|5000|", "EPRT |2|::1|5000|", "EPRT |3|x|5000|", "EPRT |1|::1|5000|", "EPRT ||", "EPSV 2", "EPSV 9",
        "PORT 127,0,0,1,40,1", "EPRT |1|127.0.0.1|5000|", "EPSV 1", "EPSV", "PASV", "EPSV ALL", "PASV", "PORT 127,0,0,1,40,1",
    ) == [
        "501", "501", "501", "501", "501", "522", "522", "501", "501", "522", "501", "200", "200", "229", "229", "227", "200",
        "501", "501",
    ]  # fmt: skip
    assert await apart(
        replies, "::1", "PASV", "PORT 127,0,0,1,40,1", "EPRT |1|127.0.0.1|5000|", "EPRT |2|::2|5000|", "EPRT |2|::1|5000|",
        "EPSV 1", "EPSV 2",
    ) == ["522", "522", "522", "501", "200", "522", "229"]  # fmt: skip


async def test_a_foreigner_at_the_passive_port_gets_nothing(face: Face) -> None:
    await furnished(face)

    def work() -> None:
        client = face.client()
        client.voidcmd("TYPE I")
        host, port = client.makepasv()
        with socket.create_connection((host, port), timeout=60, source_address=("127.0.0.9", 0)) as thief:
            try:
                taken = thief.recv(10)
            except ConnectionError:
                taken = b""
            assert taken == b""
        client.putcmd("NLST /")
        with socket.create_connection((host, port), timeout=60) as mine:
            assert client.getresp().startswith("150")
            assert mine.recv(100) == f"{DOMAIN}\r\n".encode()
        assert client.voidresp().startswith("226")

    await apart(work)


async def test_abort_and_commands_that_wait(face: Face) -> None:
    alice = await furnished(face)
    await face.place.add(alice, "INBOX", ["huge"], size=30_000_000)

    def work() -> None:
        client = face.client()
        client.voidcmd("TYPE I")
        (name,) = [one for one in names(client, f"{ALICE}/folders/INBOX") if one.startswith("0000000005")]
        data = client.transfercmd(f"RETR {ALICE}/folders/INBOX/{name}")
        assert data.recv(1000)
        client.putcmd("NOOP")  # waits until the transfer is over
        client.sock.sendall(b"\xff\xf4\xff\xf2ABOR\r\n")
        assert client.getmultiline().startswith("426")
        assert client.getresp().startswith("226")
        assert client.getresp().startswith("200")
        data.close()
        assert len(fetched(client, f"{ALICE}/folders/INBOX/{name}")) > 30_000_000
        client.quit()

    await apart(work)


async def test_a_login_in_clear_text_is_for_loopback_and_a_changed_administrator_is_out(face: Face) -> None:
    def session() -> ftplib.FTP:
        client = face.client()
        assert client.sendcmd("FEAT").count("\n") > 8
        return client

    client = await apart(session)
    await face.place.directory.set_admin_password("root", "another-1", actor=ADMIN)
    with pytest.raises((ftplib.error_temp, EOFError), match=r"421|^$"):
        await apart(client.pwd)
    with pytest.raises(ftplib.error_perm, match="530"):
        await apart(face.client)
    await face.place.directory.set_admin_password("root", PASSWORD, actor=ADMIN)
    for command in ("PWD", "LIST", "RETR x", "SITE BACKUPS", "EPSV"):

        def unknown(command: str = command) -> str:
            with ftplib.FTP() as raw:
                raw.connect("127.0.0.1", face.ports["127.0.0.1"])
                with pytest.raises(ftplib.error_perm) as error:
                    raw.sendcmd(command)
                return str(error.value)

        assert (await apart(unknown)).startswith("530")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_curl(face: Face, tmp_path: Path, host: str) -> None:
    alice = await furnished(face)
    port = face.ports[host.strip("[]")]
    url = f"ftp://{host}:{port}/{DOMAIN}/accounts/alice"

    def curl(*words: str) -> str:
        done = subprocess.run(
            ["curl", "-sS", "--globoff", "--user", f"root:{PASSWORD}", *words],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = await apart(curl, "--list-only", f"{url}/folders/INBOX/")
    name = listed.splitlines()[0]
    for how in ([], ["--ssl-reqd", "--insecure"], ["--ftp-port", "-"], ["--disable-epsv"] if host[0] != "[" else []):
        await apart(curl, *how, "-o", str(tmp_path / "m.eml"), f"{url}/folders/INBOX/{name}")
        assert b"Subject: a\r\n" in (tmp_path / "m.eml").read_bytes()
    await face.place.delete(alice, "INBOX", {"a"})
    await apart(curl, "--ftp-create-dirs", "-T", str(tmp_path / "m.eml"), f"{url}/folders/Curled/In/{name}")
    assert [row[0] for row in await face.place.contents(alice, "Curled/In")] == ["a"]


@pytest.mark.skipif(not shutil.which("lftp"), reason="lftp is not installed")
async def test_lftp_mirrors_there_and_back(face: Face, empty: Face, tmp_path: Path) -> None:
    alice = await furnished(face)
    before = await seen(face.place, alice)

    def lftp(one: Face, script: str) -> None:
        port = one.ports["127.0.0.1"]
        words = f"set ftp:ssl-allow no; open -u root,{PASSWORD} ftp://127.0.0.1:{port}; {script}; quit"
        done = subprocess.run(["lftp", "-c", words], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr

    await apart(lftp, face, f"mirror /{DOMAIN} {tmp_path / 'tree'}")
    await apart(lftp, empty, f"mirror -R {tmp_path / 'tree'} /{DOMAIN}")
    there = empty.place.directory.account_by_address(f"alice@{DOMAIN}")
    assert there is not None
    assert await seen(empty.place, there.id) == before


async def test_an_upload_over_the_quota_or_broken_off_leaves_nothing_behind(face: Face) -> None:
    alice = await furnished(face)
    count = len(await face.place.contents(alice, "INBOX"))
    await face.place.directory.set_account_setting(alice, "totalMessageSize", "500", actor=ADMIN)
    path = f"{ALICE}/folders/INBOX/big.eml"

    def put(size: int, *before: str) -> str:
        client = face.client()
        for command in before:
            client.voidcmd(command)
        try:
            return client.storbinary(f"STOR {path}", io.BytesIO(b"Subject: big\r\n\r\n" + b"x\r\n" * (size // 3)))
        except ftplib.error_perm as error:
            return str(error)

    assert (await apart(put, 600_000)).startswith("552 ")
    assert (await apart(put, 3000, "ALLO 999999")).startswith("550 3016 octets came instead of 999999")
    assert len(await face.place.contents(alice, "INBOX")) == count
    await face.place.directory.set_account_setting(alice, "totalMessageSize", None, actor=ADMIN)
    assert await apart(put, 600_000) == "226 restored"
    assert await apart(put, 600_000) == "226 is there already"

    def broken() -> None:
        client = face.client()
        client.voidcmd("TYPE I")
        data = client.transfercmd(f"STOR {ALICE}/folders/INBOX/other.eml")
        data.sendall(b"Subject: broken\r\n\r\n")
        client.putcmd("ABOR")
        assert client.getmultiline().startswith("426")
        assert client.getmultiline().startswith("226")
        data.close()
        assert client.voidcmd("NOOP").startswith("200")

    await apart(broken)
    assert len(await face.place.contents(alice, "INBOX")) == count + 1


async def test_a_program_for_the_server_to_run_does_not_come_with_a_domain(face: Face) -> None:
    await face.place.directory.grant("delegate", "restoreAnyDomain", actor=ADMIN)
    await furnished(face)

    def work() -> str:
        octets = io.BytesIO()
        face.client().retrbinary(f"RETR /{DOMAIN}/domain.json", octets.write)
        document = json.loads(octets.getvalue())
        id = next(row["id"] for table, row in document["rows"] if table == "domain")
        names = {row["key"]: "other.test" for table, row in document["rows"] if table == "domain_name"}
        assert names
        document["rows"] = [
            *(one for one in document["rows"] if one[0] in ("domain", "domain_name")),
            ["setting", {"scope": "domainConfig", "scope_id": id, "name": "migrationData.migrationCommand", "value": "/bin/true"}],
            ["setting", {"scope": "domainConfig", "scope_id": id, "name": "migrationData.enable", "value": "yes"}],
        ]
        delegate = face.client(name="delegate")
        return delegate.storbinary("STOR /other.test/domain.json", io.BytesIO(json.dumps(document).encode()))

    reply = await apart(work)
    assert "migrationCommand, which you may not change" in reply
    domain = face.place.directory.domain_by_name("other.test")
    assert domain is not None
    rows = face.place.directory.database.query(
        "SELECT name FROM setting WHERE scope_id = ? AND name LIKE 'migrationData.%'", (domain.id,)
    )
    assert [name for (name,) in rows] == ["migrationData.enable"]


async def test_a_message_that_was_deleted_meanwhile_comes_back_in_the_same_session(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailstead.backup_tree.uploads.PRESENT_SECONDS", 0.0, raising=False)
    alice = await face.place.account("alice")
    client = await apart(face.client)

    def put() -> str:
        return client.storbinary(f"STOR {ALICE}/folders/INBOX/0000000001.1000000000.S.-.eml", io.BytesIO(text("a")))

    assert "restored" in await apart(put)
    assert "already" in await apart(put)
    mailbox = face.place.mailbox
    view = await mailbox.open(await face.place.folder(alice.id, "INBOX"))
    await mailbox.remove(view, list(view.uids))
    view.release()
    assert "restored" in await apart(put)
    assert len(await face.place.contents(alice.id, "INBOX")) == 1
