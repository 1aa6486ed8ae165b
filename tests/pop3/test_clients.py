"""Clients we did not write."""

from __future__ import annotations

import asyncio
import poplib
import ssl
from pathlib import Path

from tests.pop3.conftest import PASSWORD, Face

MESSAGE = b"From: a@b.test\r\nSubject: hello\r\n\r\ntext\r\n"


def insecure() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_poplib_over_stls_and_tls(face: Face) -> None:
    await face.fill(MESSAGE, MESSAGE)

    def use() -> None:
        client = poplib.POP3("127.0.0.1", face.port, timeout=60)
        client.stls(insecure())
        client.user("alice@example.test")
        client.pass_(PASSWORD)
        assert client.stat()[0] == 2
        assert b"Subject: hello" in client.retr(1)[1]
        assert client.top(2, 0)[1] == [b"From: a@b.test", b"Subject: hello", b""]
        assert len(client.uidl()[1]) == 2
        client.dele(1)
        client.quit()
        secure = poplib.POP3_SSL("127.0.0.1", face.tls_port, context=insecure(), timeout=60)
        assert "STLS" not in secure.capa()
        secure.user("alice@example.test")
        secure.pass_(PASSWORD)
        assert secure.stat()[0] == 1
        secure.quit()

    await asyncio.to_thread(use)


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode("utf-8", "replace")


async def test_curl_reads_a_message(face: Face) -> None:
    await face.fill(MESSAGE)
    url = f"pop3s://127.0.0.1:{face.tls_port}/1"
    assert "Subject: hello" in await run("curl", "-s", "-k", "-u", f"alice@example.test:{PASSWORD}", url)


async def test_fetchmail_takes_the_mail_away(face: Face, tmp_path: Path) -> None:
    await face.fill(*[MESSAGE] * 5)
    taken = tmp_path / "taken"
    control = tmp_path / "fetchmailrc"
    control.write_text(
        f"poll 127.0.0.1 protocol POP3 port {face.port} user 'alice@example.test' password '{PASSWORD}' "
        f"sslproto '' no keep fetchall mda 'cat >> {taken}'\n"
    )
    control.chmod(0o600)
    output = await run(
        "fetchmail", "--nosyslog", "-f", str(control), "--pidfile", str(tmp_path / "pid"), "-i", str(tmp_path / "ids")
    )
    assert taken.read_bytes().count(b"Subject: hello") == 5, output
    assert await face.left() == 0
