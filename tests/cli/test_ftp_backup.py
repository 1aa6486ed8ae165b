"""The FTP backup service of a running server: switched on by settings, served by every worker."""

from __future__ import annotations

import ftplib
import io
import time

from tests.cli.conftest import StartDemo, command
from tests.cli.test_backup import client_of, fill


def test_switched_on_at_run_time(demo: StartDemo) -> None:
    server = demo(2)
    place = ("-c", str(server.data))
    fill(client_of(server), 3)
    port = server.port(2143) + 5000
    assert command("listener", "add", *place, "ftpBackup", f"127.0.0.1:{port}").exit_code == 0
    services = "processing smtpIncoming smtpOutgoing pop3 imap managesieve cli ftpBackup"
    assert command("setting", "set", *place, "server", "services", services).exit_code == 0
    admin = "ftpadmin"
    from mailstead.directory import Actor, Directory

    directory = Directory.open(server.data)
    import asyncio

    asyncio.run(directory.create_admin(admin, "administrator-1", actor=Actor.system("test"), everything=True))
    directory.close()
    end = time.monotonic() + 60
    while True:
        try:
            client = ftplib.FTP(timeout=60)
            client.connect("127.0.0.1", port)
            break
        except OSError:
            assert time.monotonic() < end, (server.data / "mailstead.log").read_text()[-4000:]
            time.sleep(0.1)
    client.login(admin, "administrator-1")
    folder = "/example.test/accounts/alice/folders/INBOX"
    found = client.nlst(folder)
    assert len(found) == 3
    octets: list[bytes] = []
    client.retrbinary(f"RETR {folder}/{found[0]}", octets.append)
    reply = client.storbinary("STOR /example.test/accounts/alice/folders/Back/" + found[0], io.BytesIO(b"".join(octets)))
    assert reply == "226 restored"
    mail = client_of(server)
    assert mail.select("Back") == ("OK", [b"1"])
    assert mail.fetch("1", "(FLAGS)")[1][0] == b"1 (FLAGS (\\Flagged))"
    client.quit()
    assert server.stop() == 0
