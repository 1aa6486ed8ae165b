"""Writing mail out as Maildir or mbox, beside a running server.

Invariants: nothing is changed; a damaged message is reported and passed over, never the end of the export; each file is
whole or absent (written under another name and renamed); a second export into the same place adds what is missing.

Maildir follows Maildir++: ``ADDRESS/`` is the INBOX, ``ADDRESS/.Folder.Sub`` the others, names in modified UTF-7.
A domain's public folders go into a place of their own beside the accounts'.
mbox is mboxrd: ``ADDRESS/INBOX.mbox``, ``ADDRESS/Folder/Sub.mbox``, lines beginning with ``>*From `` quoted.
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from mailstead.store.files import Files
from mailstead.store.record import DamagedRecord
from mailstead.store.recovery import missing_indexes
from mailstead.store.segment import LogReader, external_file_id
from mailstead.store.shard import shard_path

_FLAGS = ((16, "D"), (4, "F"), (2, "R"), (1, "S"), (8, "T"))
_FROM = re.compile(rb"^(>*From )", re.M)
_CLEAR = re.compile(r"[\x20-\x25\x27-\x7e]+")
SLICE = 200


@dataclass(frozen=True, slots=True)
class ExportAccount:
    """Whose mail: the account's id, its shard, and the address that names its folder.

    ``public``: a domain's public folders, under the domain's id; of a domain without any nothing is said or made.
    """

    id: int
    shard: int
    address: str
    public: bool = False


class IndexMissing(Exception):
    """What is to be exported cannot be found, for an index file is gone; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class _Message:
    uid: int
    flags: int
    date: int
    octets: bytes


def modified_utf7(name: str) -> str:
    """RFC 3501 section 5.1.3."""
    out: list[str] = []
    position = 0
    while position < len(name):
        clear = _CLEAR.match(name, position)
        if clear:
            out.append(clear[0])
            position = clear.end()
        elif name[position] == "&":
            out.append("&-")
            position += 1
        else:
            end = position
            while end < len(name) and not (" " <= name[end] <= "~"):
                end += 1
            text = base64.b64encode(name[position:end].encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
            out.append(f"&{text}-")
            position = end
    return "".join(out)


class _Source:
    """Reads one shard and the log, without writing anything."""

    def __init__(self, data_dir: Path, shard: int) -> None:
        path = shard_path(data_dir / "index", shard)
        self.connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        self.connection.execute("PRAGMA query_only=1")
        self.connection.setbusytimeout(5000)
        self.reader = LogReader(data_dir / "log", Files())

    def folders(self, account: int) -> list[tuple[int, str]]:
        rows: Any = self.connection.execute("SELECT id, name FROM folder WHERE account = ? ORDER BY name", (account,))
        return [(int(row[0]), str(row[1])) for row in rows]

    def messages(self, folder: int, report: Callable[[str], None]) -> Iterator[_Message]:
        last = 0
        while True:
            rows: list[Any] = self.connection.execute(
                "SELECT m.uid, m.flags, m.date, w.file, w.offset, w.length, w.overlay, w.external, w.external_size "
                "FROM message m JOIN wide w ON w.mid = m.mid WHERE m.folder = ? AND m.uid > ? ORDER BY m.uid LIMIT ?",
                (folder, last, SLICE),
            ).fetchall()
            for uid, flags, date, file, offset, length, overlay, external, external_size in rows:
                last = uid
                try:
                    octets = (overlay or b"") + self.reader.read(file, offset, length)
                    if external:
                        octets += self.reader.read(external_file_id(external), 0, external_size)
                except (OSError, DamagedRecord) as error:
                    report(f"message {uid}: {error}")
                    continue
                yield _Message(uid, flags, date, octets)
            if len(rows) < SLICE:
                return

    def close(self) -> None:
        self.reader.close()
        self.connection.close()


def _write(path: Path, octets: bytes, date: int) -> None:
    draft = path.with_name(f"{path.name}.part")
    draft.write_bytes(octets)
    os.utime(draft, (date, date))
    draft.rename(path)


def _make_maildir(box: Path) -> None:
    for part in ("cur", "new", "tmp"):
        (box / part).mkdir(parents=True, exist_ok=True)


def _to_maildir(box: Path, messages: Iterable[_Message], folder: int) -> int:
    _make_maildir(box)
    count = 0
    for message in messages:
        letters = "".join(letter for bit, letter in _FLAGS if message.flags & bit)
        path = box / "cur" / f"{message.date}.{folder:x}-{message.uid}.mailstead:2,{letters}"
        if not path.exists():
            _write(path, message.octets.replace(b"\r\n", b"\n"), message.date)
        count += 1
    return count


def _to_mbox(path: Path, messages: Iterable[_Message]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.part")
    count = 0
    with draft.open("wb") as out:
        for message in messages:
            stamp = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(message.date))
            status = ("R" if message.flags & 1 else "") + "O"
            special = "".join(letter for bit, letter in ((2, "A"), (4, "F"), (16, "T"), (8, "D")) if message.flags & bit)
            text = _FROM.sub(rb">\1", message.octets.replace(b"\r\n", b"\n"))
            out.write(f"From MAILER-DAEMON {stamp}\nStatus: {status}\n".encode())
            if special:
                out.write(f"X-Status: {special}\n".encode())
            out.write(text if text.endswith(b"\n") else text + b"\n")
            out.write(b"\n")
            count += 1
    draft.rename(path)
    return count


def safe_name(name: str) -> str:
    """A folder's level as a file name that leaves the target for no name."""
    return "_" if name in ("", ".", "..") else name.replace("/", "_").replace("\0", "_")


def export(data_dir: Path, target: Path, form: str, accounts: Iterable[ExportAccount], out: Callable[[str], None] = print) -> int:
    """Export accounts as ``form`` (maildir or mbox) below ``target``; returns how many messages were damaged.

    Raises IndexMissing before anything is written, OSError.
    """
    damaged = 0
    accounts = list(accounts)
    missing = missing_indexes(data_dir, sorted({account.shard for account in accounts}))
    if missing:
        names = ", ".join(str(shard_path(data_dir / "index", number)) for number in missing)
        options = " ".join(f"--rebuild-shard {number}" for number in missing[:1])
        raise IndexMissing(
            f"missing: {names}; start the server, which builds it anew from the log, or use `mailstead fsck {options}`"
        )
    for account in accounts:
        if not shard_path(data_dir / "index", account.shard).exists():
            if not account.public:
                out(f"{account.address}: 0 messages")  # the server has not run yet
            continue
        source = _Source(data_dir, account.shard)
        total = 0
        try:
            folders = source.folders(account.id)
            if account.public and not folders:
                continue
            if account.public and form == "maildir":
                _make_maildir(target / safe_name(account.address))  # programs look for the folders in a Maildir
            for folder, name in folders:

                def report(text: str, address: str = account.address, box: str = name) -> None:
                    nonlocal damaged
                    damaged += 1
                    out(f"damaged: {address} {box} {text}")

                messages = source.messages(folder, report)
                home = target / safe_name(account.address)
                if form == "maildir":
                    dotted = "" if name == "INBOX" else "." + modified_utf7(name).replace(".", "&AC4-").replace("/", ".")
                    total += _to_maildir(home / dotted if dotted else home, messages, folder)
                else:
                    total += _to_mbox(home.joinpath(*map(safe_name, f"{name}.mbox".split("/"))), messages)
        finally:
            source.close()
        out(f"{account.address}: {total} messages")
    return damaged
