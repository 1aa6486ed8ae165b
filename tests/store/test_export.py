"""Export into forms that other programs read."""

from __future__ import annotations

import mailbox as standard
from pathlib import Path

import pytest

from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.store.export import ExportAccount, export, modified_utf7
from mailstead.store.service import Store
from tests.store.workload import SHARDS, Accounts, text

QUOTED = b"From: a@b.test\r\nSubject: quoted\r\n\r\nFrom here on\r\n>From there\r\nend\r\n"


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    store = await Store.open(data, "w0", SHARDS)
    mailbox = Mailbox(store, Accounts())
    inbox = await mailbox.folder(100, "INBOX")
    assert inbox is not None
    await mailbox.append(inbox, [NewMessage(text("one"), ("\\Seen", "\\Flagged"), 86_400), NewMessage(QUOTED)])
    below = await mailbox.create_folder(100, "Büro/2024")
    await mailbox.append(below, [NewMessage(text("two", 300_000))])
    await store.close()
    return data


def run(root: Path, target: Path, form: str) -> tuple[int, list[str]]:
    lines: list[str] = []
    return export(root, target, form, [ExportAccount(100, 0, "anna@example.test")], out=lines.append), lines


def test_maildir(root: Path, tmp_path: Path) -> None:
    assert run(root, tmp_path / "out", "maildir")[0] == 0
    box = standard.Maildir(tmp_path / "out" / "anna@example.test", create=False)
    flags = {message["Subject"]: (message.get_flags(), message.get_date()) for message in box}
    assert flags["one"] == ("FS", 86_400)
    assert flags["quoted"][0] == ""
    assert len(box.get_folder("B&APw-ro.2024")) == 1
    run(root, tmp_path / "out", "maildir")
    assert len(box) == 2


def test_mbox(root: Path, tmp_path: Path) -> None:
    code, lines = run(root, tmp_path / "out", "mbox")
    assert code == 0
    assert lines == ["anna@example.test: 3 messages"]
    box = standard.mbox(tmp_path / "out" / "anna@example.test" / "INBOX.mbox")
    assert [message["Subject"] for message in box] == ["one", "quoted"]
    assert box[0].get_flags() == "ROF"
    assert box[1].get_payload().splitlines() == [">From here on", ">>From there", "end"]
    assert (tmp_path / "out" / "anna@example.test" / "Büro" / "2024.mbox").exists()


@pytest.mark.parametrize(("name", "encoded"), [("A&B", "A&-B"), ("~peter/日本", "~peter/&ZeVnLA-"), ("", "")])
def test_modified_utf7(name: str, encoded: str) -> None:
    assert modified_utf7(name) == encoded
