"""Fills the search index of a shard: takes jobs, writes segments, merges them.

Invariants
- A job goes only after a segment that holds its message is committed; a message that is indexed already is not indexed
  again.  So an end at any moment costs work done twice, nothing else.
- The shard's write lock is held only to delete a few hundred job rows (under 1 ms).
- Whatever happens here, answers stay right: a query reads every message that no segment holds.
- A message in whose middle the process died twice is not looked into any more: it is opaque, that is, read by queries.

How: segments of an account are merged when four or more of them are not much larger than what they would be merged
with, so a message is copied a few times in its life, and an account of 10 000 messages has a handful.  Messages that
are gone stay behind in a merge.  Where the file is new, or the node had not ended in order (the file may lack what was
indexed last), or the operator asks, accounts are looked through as a whole.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import apsw

from mailstead.message.decode import decode_body, walk
from mailstead.message.documents import document_kind
from mailstead.message.sections import load_parts
from mailstead.observe.log import get_logger
from mailstead.store.files import Files
from mailstead.store.record import DamagedRecord
from mailstead.store.search_file import meta, open_for_writing, search_path
from mailstead.store.search_jobs import pending
from mailstead.store.search_segment import FIELDS, MAX_DOCUMENTS, Builder, Head, load_field, load_head
from mailstead.store.search_text import MAX_OCTETS, DocumentTerms, attachment_terms, document_terms, fold
from mailstead.store.segment import LogReader, external_file_id
from mailstead.store.shard import Shard, shard_path

log = get_logger("SERVER")

#: Jobs taken at a time, and documents of a segment before any merge.
JOBS = 4000
CHUNK = 2000
#: Terms of documents (with repetition) in memory at a time.
MAX_POSTINGS = 3_000_000
#: Job rows deleted in one transaction.
DELETES = 400
MERGE_FROM = 4
#: Octets, as they are stored, of segments that are merged into one. (Terms of hostile messages, all different, take thirty
#: times as much while they are merged, and no number of documents bounds that.)
MAX_MERGED = 32 << 20
#: Octets of one attachment that is read, and characters of text kept of all of a message's.
MAX_ATTACHMENT = 32 << 20
MAX_ATTACHMENT_TEXT = 1_000_000

_ADD_TODO = "INSERT INTO todo VALUES(?, ?) ON CONFLICT DO UPDATE SET fresh = max(fresh, excluded.fresh)"

_SUSPECT = struct.Struct("<QQ")

Extract = Callable[[str, bytes], str]
"""The text of a document, by kind ("pdf", "docx", ...) and octets; empty where there is none."""


class AlreadyRunning(Exception):
    """Another process indexes this node."""


def hold_indexer_lock(data_dir: Path) -> int:
    """A descriptor that keeps other indexers away while it is open. Raises AlreadyRunning."""
    fd = os.open(data_dir / "run" / "indexer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise AlreadyRunning("another process is indexing") from error
    return fd


class Indexer:
    """One shard's. Everything blocks: it belongs into a process of its own."""

    def __init__(self, data_dir: Path, number: int, extract: Extract | None = None, files: Files | None = None) -> None:
        self.number = number
        self._files = files or Files()
        self._index = data_dir / "index"
        self._extract = extract
        self._shard = Shard(self._index, number, self._files)
        self._shard.wait_for_lock(10.0)
        self._log = LogReader(data_dir / "log", self._files)
        self._file, self._fresh = open_for_writing(search_path(self._index, number))
        self.indexed = 0
        self._suspects = _Suspects(data_dir / "run" / f"indexing-{number}", self._file)
        self._note_epoch()

    # ---- what there is to do ---------------------------------------------------------------------------------------

    def _note_epoch(self) -> None:
        """After a start that followed an unclean end, and with a new file, all accounts are looked through."""
        row = self._shard.row("SELECT max(start) FROM epoch")
        epoch = int(row[0] or 0) if row else 0
        if not self._fresh and meta(self._file, "epoch") == epoch:
            return
        accounts = [account for (account,) in self._shard.execute("SELECT id FROM account").fetchall()]
        with self._file:
            self._file.executemany("INSERT OR IGNORE INTO todo VALUES(?, 0)", [(account,) for account in accounts])
            self._file.execute("INSERT OR REPLACE INTO meta VALUES('epoch', ?)", (epoch,))

    def newest_job(self) -> int:
        """The number of the newest job, 0 for none: how it rises tells how much mail comes."""
        row = self._shard.row("SELECT max(id) FROM job")
        return int(row[0] or 0) if row else 0

    def backlog(self, most: int) -> int:
        """How many jobs wait, counted up to `most`."""
        return pending(self._shard, most)

    def run_once(self) -> bool:
        """Take the next jobs, else look through the next account; whether there was anything. Raises apsw.Error."""
        try:
            return self._jobs() or self._todo()
        except (apsw.CorruptError, apsw.NotADBError) as error:
            if self._shard_is_damaged():
                raise
            self._begin_anew(error)
            return True

    def _shard_is_damaged(self) -> bool:
        try:
            self._shard.execute("SELECT count(*) FROM job").fetchall()
            self._shard.execute("SELECT count(*) FROM account").fetchall()
        except (apsw.CorruptError, apsw.NotADBError):
            return True
        return False

    def _begin_anew(self, error: Exception) -> None:
        """The file is damaged; it is derived, so an empty one takes its place."""
        log.error("the search index is damaged and is built anew", shard=self.number, reason=str(error))
        path = search_path(self._index, self.number)
        try:
            self._file.close()
        except apsw.Error:
            pass  # what it could still say is of no use
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(f"{path}{suffix}"):
                os.unlink(f"{path}{suffix}")
        self._file, self._fresh = open_for_writing(path)
        self._suspects.file = self._file
        self._note_epoch()

    # ---- jobs ------------------------------------------------------------------------------------------------------

    def _jobs(self) -> bool:
        sql = "SELECT id, kind, account, mid FROM job ORDER BY id LIMIT ?"
        rows: list[tuple[int, str, int, int]] = self._shard.execute(sql, (JOBS,)).fetchall()  # type: ignore[assignment]
        if not rows:
            return False
        wanted: dict[int, dict[int, None]] = {}
        again: list[tuple[int, int]] = []
        for _id, kind, account, mid in rows:
            if kind == "index":
                wanted.setdefault(account, {})[mid] = None
            elif kind == "reindex":
                again.append((account, mid))
        if again:
            with self._file:
                self._file.executemany(_ADD_TODO, again)
        touched = self._index_all({account: list(mids) for account, mids in wanted.items()})
        self._forget_jobs([row[0] for row in rows])
        for account in touched:
            self._merge(account)
        return True

    def _forget_jobs(self, ids: list[int]) -> None:
        for start in range(0, len(ids), DELETES):
            last = ids[min(start + DELETES, len(ids)) - 1]
            self._shard.begin()
            try:
                self._shard.execute("DELETE FROM job WHERE id BETWEEN ? AND ?", (ids[start], last))
                self._shard.commit()
            except BaseException:
                self._shard.rollback()
                raise

    def _index_all(self, wanted: dict[int, list[int]]) -> list[int]:
        """Write segments for messages of several accounts; returns the accounts that have a new one."""
        done: list[tuple[int, Builder]] = []
        for account, mids in wanted.items():
            missing = set(mids)
            for head in self._heads(account):
                missing.difference_update(head.mids)
            done += [(account, builder) for builder in self._build([mid for mid in mids if mid in missing])]
        self._write(done)
        return list({account: None for account, _ in done})

    # ---- whole accounts --------------------------------------------------------------------------------------------

    def _todo(self) -> bool:
        row = self._file.execute("SELECT account, fresh FROM todo LIMIT 1").fetchone()
        if row is None:
            return False
        account, fresh = int(row[0]), bool(row[1])
        old = [int(row[0]) for row in self._file.execute("SELECT id FROM segment WHERE account = ?", (account,))] if fresh else []
        missing = dict.fromkeys(self._live(account))
        if not fresh:
            for head in self._heads(account):
                for mid in head.mids:
                    missing.pop(mid, None)
        for builder in self._build(list(missing)):
            self._write([(account, builder)])
        with self._file:
            self._file.executemany("DELETE FROM segment WHERE id = ?", [(id,) for id in old])
            self._file.execute("DELETE FROM todo WHERE account = ?", (account,))
        self._merge(account)
        return True

    def _live(self, account: int) -> list[int]:
        """The messages in an account's folders."""
        sql = "SELECT DISTINCT m.mid FROM folder f JOIN message m ON m.folder = f.id WHERE f.account = ? ORDER BY m.mid"
        return [int(row[0]) for row in self._shard.execute(sql, (account,))]

    def sweep_if_due(self, seconds: float) -> None:
        """Sweep where the last time is that long ago."""
        if time.time() - float(meta(self._file, "swept") or 0) > seconds:
            self.sweep()
            with self._file:
                self._file.execute("INSERT OR REPLACE INTO meta VALUES('swept', ?)", (time.time(),))

    def sweep(self) -> None:
        """Let go of accounts that are gone and of messages that make up more than half of an account's documents."""
        sql = "SELECT account, sum(documents) FROM segment GROUP BY account"
        rows: list[tuple[int, int]] = self._file.execute(sql).fetchall()  # type: ignore[assignment]
        for account, documents in rows:
            row = self._shard.row("SELECT messages FROM account WHERE id = ?", (account,))
            if row is None:
                with self._file:
                    self._file.execute("DELETE FROM segment WHERE account = ?", (account,))
            elif documents > 2 * row[0] + 100:
                self._merge(account, everything=True)
        last = 0
        while True:
            sql = "SELECT mid FROM attachment WHERE mid > ? ORDER BY mid LIMIT 500"
            mids = [int(row[0]) for row in self._file.execute(sql, (last,))]
            if not mids:
                break
            last = mids[-1]
            gone = [(mid,) for mid in mids if self._shard.row("SELECT 1 FROM wide WHERE mid = ?", (mid,)) is None]
            with self._file:
                self._file.executemany("DELETE FROM attachment WHERE mid = ?", gone)

    # ---- documents -------------------------------------------------------------------------------------------------

    def _build(self, mids: Iterable[int]) -> Iterable[Builder]:
        """Builders of at most CHUNK documents each."""
        builder, postings = Builder(), 0
        for mid in mids:
            document = self._document(mid)
            if document is None:
                continue
            builder.add(mid, document)
            self.indexed += 1
            postings += len(document.header) + len(document.body) + len(document.attachments)
            if len(builder.mids) >= CHUNK or postings > MAX_POSTINGS:
                yield builder
                builder, postings = Builder(), 0
        if builder.mids:
            yield builder

    def _document(self, mid: int) -> DocumentTerms | None:
        """A message's terms; None where it is gone or cannot be read (a query then says what is wrong with it)."""
        for _attempt in range(2):  # a second time where compaction has moved it
            row = self._shard.row(
                "SELECT file, offset, length, overlay, external, external_size, header_size, parts FROM wide WHERE mid = ?", (mid,)
            )
            if row is None:
                return None
            file, offset, length, overlay, external, external_size, header_size, parts = row
            if len(overlay or b"") + length + external_size > MAX_OCTETS or mid in self._suspects.known:
                return DocumentTerms(odd_header=True, opaque=True)
            self._suspects.begin(mid)
            try:
                octets = (overlay or b"") + (self._log.read(file, offset, length) if length else b"")
                if external:
                    octets += self._log.read(external_file_id(external), 0, external_size)
            except (OSError, DamagedRecord) as error:
                self._log.drop_removed()
                problem = error
                continue
            try:
                document = document_terms(octets, parts, header_size)
                if self._extract is not None:
                    self._attachments(mid, octets, parts, document)
            except MemoryError:
                document = DocumentTerms(odd_header=True, opaque=True)
            self._suspects.end()
            return document
        log.warning("a message cannot be read to index it", message=f"{mid:x}", reason=str(problem))
        return None

    def _attachments(self, mid: int, octets: bytes, packed: bytes, document: DocumentTerms) -> None:
        """The text of attached documents: into the terms, and kept for needles of several words."""
        assert self._extract is not None
        left, texts = MAX_ATTACHMENT_TEXT, []
        for part in walk(load_parts(packed)):
            kind = document_kind(part)
            if not kind or part.body_end - part.body_start > MAX_ATTACHMENT or left <= 0:
                continue
            text = self._extract(kind, decode_body(octets, part))[:left]
            left -= len(text)
            if text:
                texts.append(fold(text))
        if texts:
            whole = "\n".join(texts)
            document.attachments = attachment_terms(whole)
            kept = zlib.compress(whole.encode("utf-8", "replace"), 6)
            with self._file:
                self._file.execute("INSERT OR REPLACE INTO attachment VALUES(?, ?)", (mid, kept))

    # ---- segments --------------------------------------------------------------------------------------------------

    def _heads(self, account: int) -> Iterable[Head]:
        for (column,) in self._file.execute("SELECT head FROM segment WHERE account = ?", (account,)):
            yield self._checked(load_head, column)

    def _checked(self, load: Callable[[bytes], Head], column: bytes) -> Head:
        try:
            return load(column)
        except ValueError as error:
            raise apsw.CorruptError(str(error)) from error

    def _write(self, built: Iterable[tuple[int, Builder]], instead_of: Iterable[int] = ()) -> None:
        """Segments, in one transaction, and what they stand for goes in the same."""
        rows = []
        for account, builder in built:
            columns = builder.pack()
            rows.append((account, len(builder.mids), sum(map(len, columns)), *columns))
        with self._file:
            self._file.executemany("INSERT INTO segment VALUES(NULL, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._file.executemany("DELETE FROM segment WHERE id = ?", [(id,) for id in instead_of])

    def _merge(self, account: int, everything: bool = False) -> None:
        """Make one of the small segments of an account where there are enough of them; with `everything` look through all."""
        sql = "SELECT id, documents, octets FROM segment WHERE account = ?"
        segments: list[tuple[int, int, int]] = self._file.execute(sql, (account,)).fetchall()  # type: ignore[assignment]
        if everything:
            for chosen in groups(segments):
                self._merge_these(account, chosen)
        elif chosen := choose(segments):
            self._merge_these(account, chosen)

    def _merge_these(self, account: int, chosen: list[int]) -> None:
        """One segment instead of several, without messages that are gone."""
        live = set(self._live(account))
        builder = Builder()
        for id in chosen:
            row = self._file.execute(f"SELECT head, {', '.join(FIELDS)} FROM segment WHERE id = ?", (id,)).fetchone()
            assert row is not None
            try:
                head, fields = load_head(row[0]), [load_field(column) for column in row[1:]]
            except ValueError as error:
                raise apsw.CorruptError(str(error)) from error
            keep = []
            for number, mid in enumerate(head.mids):
                if mid in live:
                    keep.append(number)
                    live.discard(mid)
            builder.add_segment(head, fields, keep)
        self._write([(account, builder)] if builder.mids else [], instead_of=chosen)

    def close(self) -> None:
        """Let go of the files."""
        self._suspects.close()
        self._log.close()
        self._shard.close()
        self._file.close()


class _Suspects:
    """Remembers outside the process which message it looks into, to know what it died of."""

    def __init__(self, path: Path, file: apsw.Connection) -> None:
        self.file = file
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            mid, self._times = _SUSPECT.unpack(os.pread(self._fd, _SUSPECT.size, 0))
        except struct.error:
            mid, self._times = 0, 0
        self._died_in = mid
        self.known = {int(row[0]) for row in file.execute("SELECT mid FROM suspect")}
        if mid and self._times >= 2:
            log.warning("a message that cannot be indexed is left to be read", message=f"{mid:x}")
            with file:
                file.execute("INSERT OR IGNORE INTO suspect VALUES(?)", (mid,))
            self.known.add(mid)
            self.end()

    def begin(self, mid: int) -> None:
        times = self._times + 1 if mid == self._died_in else 1
        os.pwrite(self._fd, _SUSPECT.pack(mid, times), 0)

    def end(self) -> None:
        os.pwrite(self._fd, bytes(_SUSPECT.size), 0)

    def close(self) -> None:
        os.close(self._fd)


def groups(segments: list[tuple[int, int, int]]) -> list[list[int]]:
    """All segments (id, documents, octets), smallest first, put together as far as one segment may go."""
    found: list[list[int]] = []
    total = weight = 0
    for id, documents, octets in sorted(segments, key=lambda row: row[1:]):
        if not found or total + documents > MAX_DOCUMENTS or weight + octets > MAX_MERGED:
            found.append([])
            total = weight = 0
        found[-1].append(id)
        total, weight = total + documents, weight + octets
    return found


def choose(segments: list[tuple[int, int, int]]) -> list[int]:
    """Which of the segments (id, documents, octets) to merge into one, smallest first."""
    chosen: list[int] = []
    total = weight = 0
    # Of those that are not heavy MERGE_FROM fit together whatever they are.
    light = [row for row in segments if row[2] <= MAX_MERGED // MERGE_FROM]
    for id, documents, octets in sorted(light, key=lambda row: row[1:]):
        if total + documents > MAX_DOCUMENTS or weight + octets > MAX_MERGED or (chosen and documents > 2 * total + 32):
            break
        chosen.append(id)
        total, weight = total + documents, weight + octets
    return chosen if len(chosen) >= MERGE_FROM else []


def is_needed(index: Path, number: int, files: Files) -> bool:
    """Whether an indexer would find anything to do. Blocking."""
    path = search_path(index, number)
    shard = Shard(index, number, files) if shard_path(index, number).exists() else None
    if shard is None:
        return False
    try:
        if shard.row("SELECT 1 FROM job LIMIT 1") is not None:
            return True
        if shard.row("SELECT 1 FROM message LIMIT 1") is None:
            return False
        if not path.exists():
            return True
        row = shard.row("SELECT max(start) FROM epoch")
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.setbusytimeout(1000)
            if meta(connection, "epoch") != int(row[0] or 0 if row else 0):
                return True
            return connection.execute("SELECT 1 FROM todo LIMIT 1").fetchone() is not None
        except apsw.Error:
            return True  # damaged: the indexer makes it anew
        finally:
            connection.close()
    finally:
        shard.close()
