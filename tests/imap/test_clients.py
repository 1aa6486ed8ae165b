"""Real clients over real sockets: imaplib, imapclient, curl, mbsync, mutt."""

from __future__ import annotations

import asyncio
import imaplib
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import imapclient
import pytest

from tests.imap.conftest import PASSWORD, USER, Face, message, start_face


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    running, stop = await start_face(tmp_path / "data")
    yield running
    await stop()


async def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """A program's result; the loop goes on serving it meanwhile."""
    return await asyncio.to_thread(
        subprocess.run, words, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, env={**os.environ, **(env or {})}
    )


async def test_imaplib_does_everything(face: Face) -> None:
    def session() -> None:
        client = imaplib.IMAP4("127.0.0.1", face.port)
        client.login(USER, PASSWORD)
        assert client.create("Work/Reports")[0] == "OK"
        for number in range(5):
            kind, data = client.append("INBOX", "(\\Seen)" if number % 2 else None, None, message(f"number {number}"))
            assert kind == "OK", data
        assert client.select("INBOX") == ("OK", [b"5"])
        assert client.search(None, "UNSEEN")[1] == [b"1 3 5"]
        assert client.uid("SEARCH", "SUBJECT", '"number 3"')[1] == [b"4"]
        kind, data = client.fetch("2", "(RFC822)")
        assert kind == "OK"
        assert b"Subject: number 1" in data[0][1]
        assert client.copy("1:2", "Work/Reports")[0] == "OK"
        client.store("1", "+FLAGS", "\\Deleted")
        assert client.expunge()[1] == [b"1"]
        assert client.status("Work/Reports", "(MESSAGES UNSEEN)")[1] == [b"Work/Reports (MESSAGES 2 UNSEEN 1)"]
        assert client.close()[0] == "OK"
        assert client.rename("Work/Reports", "Old")[0] == "OK"
        assert client.delete("Old")[0] == "OK"
        assert client.logout()[0] == "BYE"

    await asyncio.to_thread(session)


async def test_imapclient_idles_and_fetches(face: Face) -> None:
    def session() -> None:
        with imapclient.IMAPClient("127.0.0.1", face.port, ssl=False) as client:
            client.login(USER, PASSWORD)
            assert client.has_capability("MOVE")
            assert client.find_special_folder(b"\\Sent") == "Sent"
            client.create_folder("Entwürfe & Notizen")
            assert "Entwürfe & Notizen" in [name for _, _, name in client.list_folders()]
            client.append("INBOX", message("one"), flags=[imapclient.FLAGGED])
            client.append("INBOX", message("two"))
            info = client.select_folder("INBOX")
            assert info[b"EXISTS"] == 2
            found = client.fetch([1, 2], ["FLAGS", "ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[]"])
            assert found[1][b"ENVELOPE"].subject == b"one"
            assert found[1][b"FLAGS"] == (b"\\Flagged",)
            assert found[2][b"BODY[]"] == message("two")
            client.idle()
            with imapclient.IMAPClient("127.0.0.1", face.port, ssl=False) as other:
                other.login(USER, PASSWORD)
                other.append("INBOX", message("three"))
            assert (3, b"EXISTS") in client.idle_check(timeout=60)
            client.idle_done()
            before = client.folder_status("INBOX", ["HIGHESTMODSEQ"])[b"HIGHESTMODSEQ"]
            client.add_flags([2], [b"$Work"])
            assert client.fetch([1, 2, 3], ["FLAGS"], modifiers=[f"CHANGEDSINCE {before}"]).keys() == {2}
            client.move([1, 3], "Archive")
            assert client.search("ALL") == [2]
            assert client.folder_status("Archive", ["MESSAGES"]) == {b"MESSAGES": 2}
            assert client.search(["TEXT", "hello", "OR", "UNSEEN", "SEEN"]) == []
            client.unselect_folder()
            assert client.namespace().personal == (("", "/"),)

    await asyncio.to_thread(session)


async def test_curl_lists_fetches_and_appends(face: Face, tmp_path: Path) -> None:
    client = await face.client()
    await client.append("INBOX", message("for curl", "read by curl\r\n"))
    url, user = f"imap://127.0.0.1:{face.port}", f"{USER}:{PASSWORD}"
    done = await run("curl", "-sS", "--user", user, f"{url}/")
    assert b'"/" INBOX' in done.stdout, done.stderr
    done = await run("curl", "-sS", "--user", user, f"{url}/INBOX;UID=1")
    assert done.stdout.endswith(b"\r\n\r\nread by curl\r\n"), done.stderr
    done = await run("curl", "-sS", "--user", user, f"{url}/INBOX", "-X", "SEARCH TEXT curl")
    assert done.stdout.strip() == b"* SEARCH 1", done.stderr
    (tmp_path / "mail").write_bytes(message("sent by curl"))
    done = await run("curl", "-sS", "--user", user, f"{url}/Drafts", "-T", str(tmp_path / "mail"))
    assert done.returncode == 0, done.stderr
    assert await client.ok("STATUS Drafts (MESSAGES)") == [b"* STATUS Drafts (MESSAGES 1)"]


async def test_mbsync_keeps_both_sides_alike(face: Face, tmp_path: Path) -> None:
    client = await face.client()
    for number in range(30):
        await client.append("INBOX", message(f"message {number}"), "(\\Seen)" if number % 3 == 0 else "")
    await client.ok("CREATE Lists/python")
    await client.append("Lists/python", message("in a list"))
    (tmp_path / "mail").mkdir()
    config = tmp_path / "mbsyncrc"
    config.write_text(
        f"IMAPAccount here\nHost 127.0.0.1\nPort {face.port}\nUser {USER}\nPass {PASSWORD}\nSSLType None\nAuthMechs LOGIN\n\n"
        f"IMAPStore far\nAccount here\n\nMaildirStore near\nPath {tmp_path}/mail/\nInbox {tmp_path}/mail/INBOX\n"
        "SubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSync All\n"
        f"SyncState {tmp_path}/state/\n"
    )
    (tmp_path / "state").mkdir()

    async def sync() -> None:
        done = await run("mbsync", "-c", str(config), "-a", env={"HOME": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        assert b"rror" not in done.stderr, done.stderr

    await sync()
    near = tmp_path / "mail" / "INBOX"
    assert len(list((near / "cur").iterdir()) + list((near / "new").iterdir())) == 30
    assert len(list((tmp_path / "mail" / "Lists" / "python").glob("*/*"))) == 1
    # Both sides change: a flag and an expunge there, a new message and a flag here.
    await client.ok("SELECT INBOX")
    await client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await client.ok("EXPUNGE")
    (near / "new" / "1.new.local").write_bytes(message("written here").replace(b"\r\n", b"\n"))
    await sync()
    assert len(list((near / "cur").iterdir()) + list((near / "new").iterdir())) == 30
    untagged = await client.ok("UID SEARCH SUBJECT written")
    assert len(untagged[-1].split()) == 3 or any(line.startswith(b"* SEARCH ") for line in untagged)
    await sync()


async def test_mutt_reads_a_mailbox(face: Face, tmp_path: Path) -> None:
    client = await face.client()
    await client.append("INBOX", message("for mutt", "a line for mutt\r\n"))
    config = tmp_path / "muttrc"
    config.write_text(
        f'set imap_user="{USER}"\nset imap_pass="{PASSWORD}"\nset ssl_starttls=no\nset ssl_force_tls=no\n'
        f'set folder="imap://127.0.0.1:{face.port}/"\nset spoolfile="+INBOX"\nset header_cache=""\nset mail_check=0\n'
        f'set copy=no\nset quit=yes\nset confirmappend=no\nset delete=yes\n'
        f'push "<first-entry><copy-message>{tmp_path}/out<enter>y<exit><quit>"\n'
    )
    done = await run("script", "-qec", f"mutt -n -F {config}", "/dev/null", env={"TERM": "xterm", "HOME": str(tmp_path)})
    text = (tmp_path / "out").read_bytes() if (tmp_path / "out").exists() else b""
    assert b"a line for mutt" in text, done.stdout[-2000:]


@pytest.mark.parametrize("command", ["LOGOUT", "NOOP"])
async def test_imaplib_over_compression(face: Face, command: str, message_of: Callable[..., bytes]) -> None:
    import zlib

    client = await face.client()
    await client.append("INBOX", message_of("compressed", "x" * 5000 + "\r\n"))
    client.write(b"z COMPRESS DEFLATE\r\n")
    assert await client.line() == b"z OK DEFLATE active"
    out, back = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)
    commands = b"a SELECT INBOX\r\nb FETCH 1 BODY[]\r\nc COMPRESS DEFLATE\r\nd %b\r\n" % command.encode()
    client.write(out.compress(commands) + out.flush(zlib.Z_SYNC_FLUSH))
    text = b""
    while b"\r\nd OK" not in text:
        text += back.decompress(await asyncio.wait_for(client.reader.read(4096), 60))
    assert b"x" * 5000 in text
    assert b"\r\nc NO [COMPRESSIONACTIVE]" in text
