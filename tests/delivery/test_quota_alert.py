"""The warning that a mailbox is nearly full (QTA-02)."""

from __future__ import annotations

from pathlib import Path

from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from tests.delivery.sending import limit, settled
from tests.smtp.harness import PASSWORD, Face


async def warnings(face: Face) -> list[bytes]:
    await settled(face)
    return [one for one in await face.messages() if b"Auto-Submitted" in one]


async def test_once_in_an_interval(face: Face) -> None:
    await limit(face, totalMessageCount="4", quotaLimitThreshold="75", quotaLimitNotificationEnabled="yes")
    client = await face.ready()
    for told in (0, 0, 1):
        assert (await client.send()).startswith("250")
        assert len(await warnings(face)) == told
    (warning,) = await warnings(face)
    assert b"Subject: Your mailbox is - / 75% full\r\n" in warning and b"messages:  3 of 4 (75%)" in warning
    await limit(face, totalMessageCount="6")
    assert (await client.send()).startswith("250")
    assert len(await warnings(face)) == 1
    await face.directory.database.write(lambda t: t.execute("UPDATE notice SET time = time - 1440 * 60"))
    face.delivery.alerts._told.clear()
    assert (await client.send()).startswith("250")
    assert len(await warnings(face)) == 2


async def test_a_full_mailbox_gets_it_by_its_template_at_login(face: Face, tmp_path: Path) -> None:
    await limit(face, totalMessageSize="1")
    client = await face.ready()
    while (await client.send()).startswith("250"):
        pass
    (tmp_path / "templates").mkdir()
    template = "Subject: Full: $SIZEPERCENT\nFrom: Help <help@$DOMAIN>\n\n$SIZEUSED/$SIZEQUOTA\n"
    (tmp_path / "templates" / "full.txt").write_text(template)
    await limit(face, quotaLimitNotificationEnabled="yes", quotaLimitThreshold="50", quotaLimitNotificationFileName="full.txt")
    authenticator = Authenticator(face.directory, face.directory.settings, LocalGuard(), threads=1)
    authenticator.on_login = face.delivery.alerts.look
    try:
        for _ in range(2):
            assert (await authenticator.verify_password("alice@example.test", PASSWORD, service="imap", peer="127.0.0.1")).ok
            (warning,) = await warnings(face)
    finally:
        await authenticator.close()
    assert warning.startswith(b"From: Help <help@example.test>\r\n") and b"\r\n1/1\r\n" in warning


async def test_nobody_is_told_who_did_not_ask(face: Face) -> None:
    await limit(face, totalMessageCount="2")
    client = await face.ready()
    assert (await client.send()).startswith("250") and (await client.send()).startswith("250")
    assert await warnings(face) == []
