"""Maildir and mbox: what is read, and that nothing comes twice."""

from __future__ import annotations

import gzip
import mailbox as standard
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.mailbox.errors import OverQuota
from mailstead.migration import maildir
from mailstead.migration.importing import Importer, Result, maildir_sources, mbox_sources
from mailstead.migration.mbox import MboxFile
from tests.migration.conftest import ADMIN, Here, text


async def take(here: Here, kind: str, path: Path, **options: object) -> tuple[Result, list[str]]:
    said: list[str] = []
    limited = not options.pop("override_quota", False)
    sources = maildir_sources(path) if kind == "maildir" else mbox_sources(path)
    result = await Importer(here.directory, here.mailbox, here.account, said.append, limited=limited).run(
        kind,
        path,
        sources,
        actor=ADMIN,
        **options,  # type: ignore[arg-type]
    )
    return result, said


def lf(number: int, size: int = 0) -> bytes:
    return text(number, size).replace(b"\r\n", b"\n")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A Maildir as Dovecot leaves one."""
    root = tmp_path / "Maildir"
    for name in ("", ".Sent Items", ".Work.B&APw-ro", ".Trash", ".empty&AC4-name"):
        for part in ("cur", "new", "tmp"):
            (root / name / part).mkdir(parents=True, exist_ok=True)
    (root / "dovecot-keywords").write_text("0 $label1\n1 Junk\n2 with space\n")
    (root / "subscriptions").write_text("V\t2\n\nWork\tB&APw-ro\n")

    def put(name: str, octets: bytes, mtime: int = 1_700_000_000) -> None:
        (root / name).write_bytes(octets)
        os.utime(root / name, (mtime, mtime))

    put("cur/1500000002.M1P1.host,S=50,W=52:2,RSab", lf(1))
    put("cur/1500000001.M2P1.host:2,DFPT", lf(2), 1_400_000_000)
    put("new/1500000003.M3P1.host", lf(3))
    put("cur/1500000004.M4P1.host:2,S", gzip.compress(lf(4, 5_000)))
    put("cur/1500000005.M5P1.host:2,", lf(5, 900_000))
    put("tmp/1500000006.M6P1.host", b"half a mess")
    (root / "dovecot-uidlist").write_text("3 V1 N7 G0\n1 :1500000002.M1P1.host,S=50,W=52\n2 S1 :1500000001.M2P1.host:2,\n")
    put(".Sent Items/cur/1500000007.M7P1.host:2,S", lf(7))
    put(".Work.B&APw-ro/cur/1500000008.M8P1.host:2,S", b"Subject: bare\n\ncr\rnul\0\n")
    put(".Trash/cur/1500000009.M9P1.host:2,ST", lf(9))
    (root / ".linked").symlink_to("/etc")
    return root


async def test_a_maildir_comes_over_with_flags_dates_and_order(here: Here, box: Path) -> None:
    result, said = await take(here, "maildir", box)
    assert (result.found, result.taken, result.known, result.unreadable) == (8, 8, 0, [])
    inbox = await here.messages()
    assert [octets for octets, _, _ in inbox] == [text(1), text(2), text(3), text(4, 5_000), text(5, 900_000)]
    assert inbox[0][1:] == (("$label1", "Junk", "\\Answered", "\\Seen"), 1_500_000_002)
    assert inbox[1][1:] == (("$Forwarded", "\\Deleted", "\\Draft", "\\Flagged"), 1_400_000_000)
    assert inbox[2][1:] == ((), 1_500_000_003)
    assert [octets for octets, _, _ in await here.messages("Work/Büro")] == [b"Subject: bare\r\n\r\ncr\r\nnul\x80\r\n"]
    assert len(await here.messages("Sent")) == 1
    assert len(await here.messages("Trash")) == 1
    folders = {folder.name: folder for folder in await here.mailbox.folders(here.account.id)}
    assert folders["Work/Büro"].subscribed
    assert "empty.name" in folders
    assert "Sent Items: becomes Sent" in said
    assert box.exists()


async def test_done_again_it_takes_what_is_new_whatever_the_flags(here: Here, box: Path) -> None:
    await take(here, "maildir", box)
    (box / "cur/1500000004.M4P1.host:2,S").rename(box / "cur/1500000004.M4P1.host:2,FS")
    (box / "new/1500000003.M3P1.host").rename(box / "cur/1500000003.M3P1.host:2,S")
    (box / "new/1600000000.N.host").write_bytes(lf(11))
    result, _ = await take(here, "maildir", box)
    assert (result.found, result.taken, result.known) == (9, 1, 8)
    assert len(await here.messages()) == 6


async def test_a_dry_run_changes_nothing(here: Here, box: Path) -> None:
    result, said = await take(here, "maildir", box, dry_run=True)
    assert result.found == 8
    assert "Sent: 1 messages" in said
    assert await here.messages() == []
    assert not here.directory.database.query("SELECT 1 FROM migration_job")


async def test_below_a_folder(here: Here, box: Path) -> None:
    await take(here, "maildir", box, below="Old/Box")
    assert len(await here.messages("Old/Box")) == 5
    assert len(await here.messages("Old/Box/Sent Items")) == 1


async def test_the_quota_ends_it_and_it_can_be_overridden(here: Here, box: Path) -> None:
    await here.directory.set_account_setting(here.account.id, "totalMessageCount", "3", actor=ADMIN)
    with pytest.raises(OverQuota):
        await take(here, "maildir", box)
    assert len(await here.messages()) == 3
    await take(here, "maildir", box, override_quota=True)
    assert [octets for octets, _, _ in await here.messages()][:4] == [text(1), text(2), text(3), text(4, 5_000)]
    assert len(await here.messages()) == 5


async def test_what_cannot_be_read_is_told(here: Here, box: Path) -> None:
    (box / "cur/1500000004.M4P1.host:2,S").write_bytes(gzip.compress(lf(4))[:-9])
    (box / "cur/1500000001.M2P1.host:2,DFPT").write_bytes(gzip.compress(b"\0" * (70 << 20)))
    result, _ = await take(here, "maildir", box)
    assert result.taken == 6
    assert sorted(line.rsplit(": ", 1)[1] for line in result.unreadable) == ["compressed, and cut off", "compressed, and too large"]


def test_folders_in_one_another(tmp_path: Path) -> None:
    for name in ("A/cur", "A/B/new", "A/plain", "cur"):
        (tmp_path / name).mkdir(parents=True)
    assert [found.source.levels for found in maildir.folders(tmp_path)] == [("INBOX",), ("A",), ("A", "B")]
    with pytest.raises(ValueError, match="no Maildir"):
        maildir.folders(tmp_path / "A" / "plain")


MBOX = b"""From MAILER-DAEMON Thu Jan  1 00:00:00 1970
Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA
X-IMAPbase: 1 2

text

From alice@example.test Wed Jul 17 09:44:25 1996
Subject: one
Status: RO
X-Status: AF
X-Keywords: $a b
Content-Length: 9

>From here
>>From there
From nobody in particular

>  From
From - Thu Jul 18 2024 without a blank line before
end

From "a b"@c Thu, 18 Jul 1996 09:44:25 +0200
Subject: two
X-Mozilla-Status: 0005
X-Mozilla-Status2: 00000000
X-Mozilla-Keys: tag1

From - Fri Jul 19 09:44:25 1996
Subject: gone
X-Mozilla-Status: 0009

x

From a Fri Jul 19 09:44:25 1996
Subject: two

x

From a Fri Jul 19 09:44:25 1996
Subject: two

x
"""


async def test_an_mbox_comes_over(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "mail"
    path.write_bytes(MBOX)
    result, _ = await take(here, "mbox", path)
    found = await here.messages()
    assert result.taken == 4
    assert found[0] == (
        b"Subject: one\r\n\r\nFrom here\r\n>From there\r\nFrom nobody in particular\r\n\r\n>  From\r\n"
        b"From - Thu Jul 18 2024 without a blank line before\r\nend\r\n",
        ("$a", "\\Answered", "\\Flagged", "\\Seen", "b"),
        837596665,
    )
    assert found[1][:2] == (b"Subject: two\r\n\r\n", ("\\Flagged", "\\Seen", "tag1"))
    assert found[2] == found[3]
    path.write_bytes(MBOX + b"\nFrom a Fri Jul 19 09:44:25 1996\nSubject: new\n\nx\n")
    result, _ = await take(here, "mbox", path)
    assert (result.taken, result.known) == (1, 4)


async def test_a_large_message_and_crlf_line_ends(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "mail"
    stamp = b"From a Fri Jul 19 09:44:25 1996\r\n"
    large = text(1, 3_000_000).replace(b"body 1\r\n", b">From me\r\n")
    path.write_bytes(stamp + large + b"\r\n" + stamp + text(2) + b"\r\n")
    result, _ = await take(here, "mbox", path)
    assert result.taken == 2
    assert [octets for octets, _, _ in await here.messages()] == [large.replace(b">From me", b"From me"), text(2)]


async def test_a_directory_of_files(here: Here, tmp_path: Path) -> None:
    one = b"From a Fri Jul 19 09:44:25 1996\nSubject: x\n\nx\n"
    for name in ("Inbox", "Sent", "Work.sbd/2024", "INBOX.msf", "Exported.mbox", "empty"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(one if not name.endswith((".msf", "empty")) else b"")
    result, _ = await take(here, "mbox", tmp_path)
    assert result.taken == 4
    assert len(await here.messages("Work/2024")) == len(await here.messages("Exported")) == len(await here.messages()) == 1


async def test_what_the_standard_library_writes_comes_back(here: Here, tmp_path: Path) -> None:
    file = standard.mbox(tmp_path / "mail")
    for number in range(20):
        message = standard.mboxMessage(lf(number) + b"\nFrom the start\n\nFrom me to you at 10:30\n")
        message.set_flags("RO")
        file.add(message)
    file.flush()
    file.close()
    await take(here, "mbox", tmp_path / "mail")
    found = await here.messages()
    assert [octets for octets, _, _ in found] == [
        text(n) + b"\r\nFrom the start\r\n\r\nFrom me to you at 10:30\r\n" for n in range(20)
    ]
    assert found[0][1] == ("\\Seen",)


lines = st.lists(
    st.sampled_from(
        [b"From a Fri Jul 19 09:44:25 1996\n", b"\n", b"\r\n", b">From x\n", b"From x\n", b"Status: R\n", b"a", b" b\n", b"\0"]
    ),
    max_size=30,
)


@given(lines)
def test_any_file_is_read_without_an_error(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.mbox"
    path.write_bytes(b"From a Fri Jul 19 09:44:25 1996\n" + b"".join(parts))
    file = MboxFile(path)
    end = 0
    for message in file.messages():
        assert message.start >= end
        assert message.end >= message.start
        end = message.end
        b"".join(file.pieces(message))
    file.close()
