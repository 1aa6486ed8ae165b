"""A backup as a place to take accounts from: its directory, and the mail of one owner at a time.

Invariants: the repository is only read; what is unpacked lies in a workshop of our own, which goes with ``close``; every octet is
held against its hash before it is used.

Without a time the index copy is read as it is; with one it is first brought to that time by the log (store.rebuild).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from mailstead.directory.address import domain_key, local_key
from mailstead.directory.object_rows import ACCOUNT_TABLES, DOMAIN_TABLES, RECIPIENT_TABLES, ObjectRow, columns, rows_of
from mailstead.store.backup.repository import BackupError, Repository
from mailstead.store.backup.view import LogOfPoint, Point, cut_log, fetch
from mailstead.store.files import Files
from mailstead.store.keywords import Keywords
from mailstead.store.mail_reads import SqliteMailIndex
from mailstead.store.rebuild import rebuild_shard
from mailstead.store.segment import LogReader, external_file_id
from mailstead.store.shard import Shard, shard_path

SLICE = 500
_TABLES = {"account": ACCOUNT_TABLES, "list": RECIPIENT_TABLES, "domain": DOMAIN_TABLES}
SYSTEM_FLAGS = ((1, "\\Seen"), (2, "\\Answered"), (4, "\\Flagged"), (8, "\\Deleted"), (16, "\\Draft"))


@dataclass(frozen=True, slots=True)
class SourceOwner:
    """Whose mail it is: an account, list or domain (``kind``) as it was in the backup. ``address`` is a domain's name for
    public folders."""

    id: int
    shard: int
    domain_id: int
    address: str
    kind: str = "account"


@dataclass(frozen=True, slots=True)
class SourceFolder:
    id: int
    name: str
    special_use: str | None
    kind: str
    messages: int


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """``place``: file, offset, length, overlay, external and its size, as the index has them."""

    uid: int
    mid: int
    flags: tuple[str, ...]
    date: int
    size: int
    message_id: str
    subject: str
    sent: int
    place: tuple[Any, ...]


class SourceDirectory:
    """The system database of a backup."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(f"file:{path}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See object_rows.Read."""
        return self._connection.execute(sql, tuple(values)).fetchall()

    def domain(self, name: str) -> SourceOwner | None:
        """A domain by name or alias, as the owner of its public folders."""
        rows = self.read(
            "SELECT d.id, d.shard, d.id, d.name FROM domain_name n JOIN domain d ON d.id = n.domain_id WHERE n.key = ?",
            (domain_key(name),),
        )
        if not rows:
            return None
        id, shard, domain_id, main = rows[0]
        return SourceOwner(id, shard, domain_id, main, "domain")

    def account(self, address: str) -> SourceOwner | None:
        """An account by address or alias."""
        local, _, domain = address.rpartition("@")
        owner = self.domain(domain)
        if owner is None:
            return None
        rows = self.read(
            "SELECT a.id, a.shard, a.domain_id, a.name FROM address n JOIN account a ON a.id = n.object_id "
            "WHERE n.domain_id = ? AND n.local = ? AND n.kind = 'account'",
            (owner.id, local_key(local)),
        )
        if not rows:
            return None
        id, shard, domain_id, name = rows[0]
        return SourceOwner(id, shard, domain_id, f"{name}@{owner.address}")

    def accounts(self, domain: SourceOwner) -> list[SourceOwner]:
        """All accounts of a domain by name."""
        rows = self.read("SELECT id, shard, domain_id, name FROM account WHERE domain_id = ? ORDER BY name", (domain.id,))
        return [SourceOwner(id, shard, domain_id, f"{name}@{domain.address}") for id, shard, domain_id, name in rows]

    def mailing_list(self, address: str) -> SourceOwner | None:
        """A mailing list by its address."""
        local, _, domain = address.rpartition("@")
        owner = self.domain(domain)
        found = self.lists(owner) if owner is not None else []
        return next((one for one in found if local_key(one.address.rpartition("@")[0]) == local_key(local)), None)

    def lists(self, domain: SourceOwner) -> list[SourceOwner]:
        """All mailing lists of a domain by name; none of a backup from before lists had mailboxes."""
        if "shard" not in columns(self.read, "recipient"):
            return []
        rows = self.read(
            "SELECT id, shard, domain_id, name FROM recipient WHERE domain_id = ? AND kind = 'list' ORDER BY name", (domain.id,)
        )
        return [SourceOwner(id, shard, domain_id, f"{name}@{domain.address}", "list") for id, shard, domain_id, name in rows]

    def rows(self, owner: SourceOwner) -> list[ObjectRow]:
        """All rows of an account or list, or of a domain with everything in it."""
        return list(rows_of(self.read, _TABLES[owner.kind], owner.id))

    def address_of(self, identifier: str) -> tuple[str, str] | None:
        """Kind (account, group, domain) and address that an identifier of an access list stood for."""
        letter, number = identifier[:1], identifier[1:]
        if not number.isdigit():
            return None
        if letter == "d":
            rows = self.read("SELECT 'domain', name FROM domain WHERE id = ?", (int(number),))
        else:
            rows = self.read(
                "SELECT n.kind, n.name || '@' || d.name FROM address n JOIN domain d ON d.id = n.domain_id "
                "WHERE n.object_id = ? AND n.main = 1",
                (int(number),),
            )
        return (str(rows[0][0]), str(rows[0][1])) if rows else None

    def close(self) -> None:
        """Let go."""
        self._connection.close()


class SourceMailbox:
    """The mail of one shard."""

    def __init__(self, index: Path, number: int, log: Path, files: Files) -> None:
        self.shard = Shard(index, number, files)
        self.index = SqliteMailIndex(self.shard)
        self._reader = LogReader(log, files)

    def folders(self, owner: int) -> list[SourceFolder]:
        """By name."""
        rows: Any = self.shard.execute(
            "SELECT id, name, special_use, kind, messages FROM folder WHERE account = ? ORDER BY name", (owner,)
        )
        return [SourceFolder(*row) for row in rows]

    def messages(self, folder: int, keywords: Keywords) -> Iterator[SourceMessage]:
        """By rising uid."""
        last = 0
        while True:
            rows: list[Any] = self.shard.execute(
                "SELECT m.uid, m.mid, m.flags, m.date, m.size, w.message_id, w.subject_base, w.sent, w.file, w.offset, w.length, "
                "w.overlay, w.external, w.external_size FROM message m JOIN wide w ON w.mid = m.mid "
                "WHERE m.folder = ? AND m.uid > ? ORDER BY m.uid LIMIT ?",
                (folder, last, SLICE),
            ).fetchall()
            for uid, mid, flags, date, size, message_id, subject, sent, *place in rows:
                last = uid
                names = (*(name for bit, name in SYSTEM_FLAGS if flags & bit), *keywords.names(flags))
                yield SourceMessage(uid, mid, names, date, size, message_id, subject, sent, tuple(place))
            if len(rows) < SLICE:
                return

    def all_messages(self, folder: int, keywords: Keywords) -> list[SourceMessage]:
        """The same at once, for a thread."""
        return list(self.messages(folder, keywords))

    def octets(self, message: SourceMessage) -> bytes:
        """A whole message. Raises Damaged, DamagedRecord, OSError."""
        file, offset, length, overlay, external, external_size = message.place
        data = (overlay or b"") + self._reader.read(file, offset, length)
        if external:
            data += self._reader.read(external_file_id(external), 0, external_size)
        return data

    def close(self) -> None:
        """Let go."""
        self.shard.close()
        self._reader.close()


class Source:
    """A point of a repository, unpacked into ``workshop`` as far as it is needed. Blocking. Raises BackupError, Damaged."""

    def __init__(self, repository: Repository, point: Point, workshop: Path) -> None:
        self._repository = repository
        self._point = point
        self._workshop = workshop
        workshop.mkdir(mode=0o700, parents=True)
        (workshop / "index").mkdir()
        (workshop / "log").mkdir()
        self._files = LogOfPoint(repository, point, workshop / "log")
        self._mailboxes: dict[int, SourceMailbox] = {}
        self._cut = False
        fetch(repository, self._entry("index/system.db"), workshop / "index" / "system.db")
        self.directory = SourceDirectory(workshop / "index" / "system.db")

    def _entry(self, path: str) -> Any:
        entry = self._point.base.by_path().get(path)
        if entry is None:
            raise BackupError(f"the backup {self._point.base.label} has no {path}")
        return entry

    def mailbox(self, number: int) -> SourceMailbox:
        """The mail of a shard."""
        found = self._mailboxes.get(number)
        if found is None:
            found = self._mailboxes[number] = self._open(number)
        return found

    def _open(self, number: int) -> SourceMailbox:
        index, log = self._workshop / "index", self._workshop / "log"
        path = shard_path(index, number)
        entry = self._entry(f"index/{path.name}")
        if not self._point.exact:
            fetch(self._repository, entry, path)
            return SourceMailbox(index, number, log, self._files)
        if not self._cut:
            self._files.bring()
            cut_log(log, self._point.horizon, self._files)
            self._cut = True
        commit = self._point.base.commits[path.stem]
        fetch(self._repository, entry, index / "snapshots" / f"{path.stem}-{commit:018d}.db")
        rebuild_shard(self._workshop, number, self._files)
        return SourceMailbox(index, number, log, self._files)

    def close(self) -> None:
        """Take the workshop away."""
        for mailbox in self._mailboxes.values():
            mailbox.close()
        self.directory.close()
        shutil.rmtree(self._workshop, ignore_errors=True)
