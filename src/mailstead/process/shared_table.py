"""Counters that all processes of a node share.

Invariants:
- `claim` is atomic over all processes and all its keys: either every limit holds afterwards, counted to the unit,
  or nothing has changed.
- A count belongs to the process that made it; when that process dies, `reclaim` takes back exactly its counts.
- An entry that somebody holds is never evicted. When no entry is free the claim is refused, never uncounted.
- A process that is killed while it holds the lock leaves a usable table (the kernel frees the lock, and every
  field is written by one aligned store).

How: a file of fixed slots in `run/`, mapped by everyone, found by a keyed hash in sets of 16 slots. Each slot has a
column per process (held counts) and one rate window. One byte-range lock guards changes; it is held for
microseconds and costs two system calls.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import secrets
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_PROCESSES = 32
_MAGIC = b"MSSHT002"
_HEADER = struct.Struct("<8s16sII")
_HEADER_SIZE = 4096
_HEAD = struct.Struct("<16sddII")  # key, window start, window length, hits, spare
_COLUMNS = struct.Struct(f"<{MAX_PROCESSES}I")
_HITS = struct.Struct("<ddI")
_SLOT = 192
_WAYS = 16
_FREE = bytes(16)
_REMEMBERED = 8192


@dataclass(frozen=True, slots=True)
class Claim:
    """One limit to pass. `window` 0: held until released, at most `limit` at a time. Otherwise: at most `limit` in
    `window` seconds. `limit` 0: unlimited (a held claim is counted all the same)."""

    key: bytes
    limit: int
    window: float = 0.0


class TableError(Exception):
    """The file is not a table of this version, or is damaged."""


class SharedTable:
    """The mapped table as seen by the process with number `process` (0 to 31)."""

    def __init__(self, path: Path, process: int) -> None:
        if not 0 <= process < MAX_PROCESSES:
            raise ValueError(f"process number {process} is not below {MAX_PROCESSES}")
        self.process = process
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(self._fd).st_size
            if size < _HEADER_SIZE:
                raise TableError(f"{path} is not a shared table")
            self._map = mmap.mmap(self._fd, size)
        except BaseException:
            os.close(self._fd)
            raise
        magic, self._salt, self._slots, _spare = _HEADER.unpack_from(self._map, 0)
        if magic != _MAGIC or size != _HEADER_SIZE + self._slots * _SLOT:
            self._map.close()
            os.close(self._fd)
            raise TableError(f"{path} is not a shared table of this version")
        self._sets = self._slots // _WAYS
        self._thread = threading.Lock()
        self._digests: dict[bytes, bytes] = {}

    @classmethod
    def create(cls, path: Path, slots: int = 65536, process: int = 0) -> SharedTable:
        """A new, empty table in place of an old one; `slots` is a multiple of 16. Sparse until used."""
        temporary = path.with_suffix(".new")
        with open(temporary, "wb") as file:
            file.write(_HEADER.pack(_MAGIC, secrets.token_bytes(16), slots, 0))
            file.truncate(_HEADER_SIZE + slots * _SLOT)
        os.chmod(temporary, 0o600)
        os.replace(temporary, path)
        return cls(path, process)

    def close(self) -> None:
        """Unmap; counts of this process stay until reclaimed."""
        self._map.close()
        os.close(self._fd)

    # ---- claims ------------------------------------------------------------------------------------------------

    def claim(self, claims: Sequence[Claim], now: float, slots: list[int] | None = None) -> int:
        """Pass all of `claims` and count them; -1, or the index of the first that is exhausted (nothing counted).

        `slots` receives what `release_slots` takes: cheaper than releasing by key."""
        digests = [self._digest(claim.key) for claim in claims]
        with self._thread:
            fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, 0)
            try:
                return self._claim_locked(claims, digests, now, slots)
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, 0)

    def _claim_locked(self, claims: Sequence[Claim], digests: Sequence[bytes], now: float, slots: list[int] | None) -> int:
        taken: list[int] = []
        for index, claim in enumerate(claims):
            at = self._find(digests[index])
            if at < 0:
                at = self._allocate(digests[index], now, taken)
                if at < 0:
                    return index
            elif claim.limit and not self._passes(at, claim, now):
                return index
            taken.append(at)
        for at, claim in zip(taken, claims, strict=True):
            if claim.window:
                self._count_hit(at, claim.window, now, 1)
            else:
                self._add(at, 1)
                if slots is not None:
                    slots.append(at)
        return -1

    def _passes(self, at: int, claim: Claim, now: float) -> bool:
        if not claim.window:
            return self._held_at(at) < claim.limit
        return self._hits(at, claim.window, now) < claim.limit

    def acquire(self, key: bytes, limit: int) -> bool:
        """Hold one unit of `key` if fewer than `limit` are held (0: no limit)."""
        return self.claim((Claim(key, limit),), 0.0) < 0

    def release(self, key: bytes) -> None:
        """Give back one unit that this process holds; more than it holds is ignored."""
        at = self._find(self._digest(key))
        if at >= 0:
            self.release_slots((at,))

    def release_slots(self, slots: Sequence[int]) -> None:
        """Give back what a claim of this process put into its `slots`.

        No lock is taken: a held slot stays where it is, and nobody else writes this process's column."""
        with self._thread:
            for at in slots:
                self._add(at, -1)

    def held(self, key: bytes) -> int:
        """Units of `key` held by all processes."""
        at = self._find(self._digest(key))
        return self._held_at(at) if at >= 0 else 0

    # ---- rates -------------------------------------------------------------------------------------------------

    def hit(self, key: bytes, window: float, now: float, amount: int = 1) -> int:
        """Count `amount` events in the running window of `window` seconds; the count including them."""
        digest = self._digest(key)
        with self._thread:
            fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, 0)
            try:
                at = self._find(digest)
                if at < 0:
                    at = self._allocate(digest, now, ())
                return self._count_hit(at, window, now, amount) if at >= 0 else amount
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, 0)

    def hits(self, key: bytes, window: float, now: float) -> int:
        """Events counted in the running window."""
        at = self._find(self._digest(key))
        return self._hits(at, window, now) if at >= 0 else 0

    def forget(self, key: bytes) -> None:
        """End the running window of `key` (a successful login clears its failures)."""
        digest = self._digest(key)
        with self._thread:
            fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, 0)
            try:
                at = self._find(digest)
                if at >= 0:
                    _HITS.pack_into(self._map, at + 16, 0.0, 0.0, 0)
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, 0)

    def reclaim(self, process: int) -> int:
        """Take back everything held by a process that is dead; the number of units taken back.

        Only the supervisor calls this, after the death and before a successor starts, so nobody else writes the
        column."""
        total = 0
        column = _HEAD.size + 4 * process
        for at in range(_HEADER_SIZE, _HEADER_SIZE + self._slots * _SLOT, _SLOT):
            if self._map[at : at + 16] != _FREE:
                (count,) = struct.unpack_from("<I", self._map, at + column)
                if count:
                    total += count
                    struct.pack_into("<I", self._map, at + column, 0)
        return total

    # ---- slots -------------------------------------------------------------------------------------------------

    def _digest(self, key: bytes) -> bytes:
        digest = self._digests.get(key)
        if digest is None:
            if len(self._digests) >= _REMEMBERED:
                self._digests.clear()
            digest = self._digests[key] = hashlib.blake2b(key, digest_size=16, key=self._salt).digest()
        return digest

    def _find(self, digest: bytes) -> int:
        base = _HEADER_SIZE + (int.from_bytes(digest[:4], "little") % self._sets) * (_WAYS * _SLOT)
        view = self._map
        for at in range(base, base + _WAYS * _SLOT, _SLOT):
            if view[at : at + 16] == digest:
                return at
        return -1

    def _allocate(self, digest: bytes, now: float, avoid: Sequence[int]) -> int:
        base = _HEADER_SIZE + (int.from_bytes(digest[:4], "little") % self._sets) * (_WAYS * _SLOT)
        best, best_rank = -1, (3, 0, 0.0)
        for at in range(base, base + _WAYS * _SLOT, _SLOT):
            key, start, length, hits, _spare = _HEAD.unpack_from(self._map, at)
            if key == _FREE:
                best = at
                break
            if at in avoid or any(_COLUMNS.unpack_from(self._map, at + _HEAD.size)):
                continue
            rank = (0 if not hits or start + length <= now else 1, hits, start)
            if rank < best_rank:
                best, best_rank = at, rank
        if best >= 0:
            _HEAD.pack_into(self._map, best, digest, 0.0, 0.0, 0, 0)
            _COLUMNS.pack_into(self._map, best + _HEAD.size, *(0,) * MAX_PROCESSES)
        return best

    def _held_at(self, at: int) -> int:
        return int(sum(_COLUMNS.unpack_from(self._map, at + _HEAD.size)))

    def _hits(self, at: int, window: float, now: float) -> int:
        start, _length, hits = _HITS.unpack_from(self._map, at + 16)
        return hits if start <= now < start + window else 0

    def _count_hit(self, at: int, window: float, now: float, amount: int) -> int:
        start, length, hits = _HITS.unpack_from(self._map, at + 16)
        if not start <= now < start + window:
            start, hits = now, 0
        count = min(hits + amount, 0xFFFFFFFF)
        _HITS.pack_into(self._map, at + 16, start, max(window, length), count)
        return int(count)

    def _add(self, at: int, amount: int) -> None:
        offset = at + _HEAD.size + 4 * self.process
        (count,) = struct.unpack_from("<I", self._map, offset)
        struct.pack_into("<I", self._map, offset, max(0, count + amount))
