"""argon2 (RFC 9106) with working memory that is kept between hashes.

Invariants:
- The result is the library's own, octet for octet; only where its memory comes from is ours.
- What a hash left in the memory has been overwritten by the library before the memory is used again.
- At most `KEPT` areas, of the size that our own hashes take, stay; under memory pressure the kernel may take their pages away.

How: a hash of 19 MB spends a third of its time on the faults of fresh pages. So the library gets its memory from callbacks that
hand out areas of large pages, and take them back. Where callbacks cannot be made (a system that forbids code in writable
memory), the library allocates for itself.
"""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

from _argon2_cffi_bindings import ffi, lib
from argon2 import low_level

#: Areas that stay, one for each hash that usually runs at the same time in a process.
KEPT = 2
_LARGE_PAGE = 2 << 20
_ADVICE_LARGE, _ADVICE_FREE = getattr(mmap, "MADV_HUGEPAGE", None), getattr(mmap, "MADV_FREE", None)

_ffi: Any = ffi
_lib: Any = lib

_kept: list[_Area] = []
_in_use: dict[int, _Area] = {}
_kept_size = 0


class _Area:
    """Anonymous memory from a large page's border on."""

    def __init__(self, size: int) -> None:
        self.size = size
        # Private: of memory that forks share the kernel takes nothing back, and two of them would write into one hash.
        self._map = mmap.mmap(-1, size + _LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if _ADVICE_LARGE is not None:
            with contextlib.suppress(OSError):  # a kernel without large pages: only slower
                self._map.madvise(_ADVICE_LARGE)
        self._view = _ffi.from_buffer(self._map)
        start = int(_ffi.cast("uintptr_t", self._view))
        self.address = -(-start // _LARGE_PAGE) * _LARGE_PAGE

    def rest(self) -> None:
        """The kernel may have the pages until they are written again."""
        if _ADVICE_FREE is not None:
            with contextlib.suppress(OSError):
                self._map.madvise(_ADVICE_FREE)

    def close(self) -> None:
        """Give the memory back."""
        _ffi.release(self._view)
        self._map.close()


def keep(octets: int) -> None:
    """Areas of this size are kept from now on: the memory of the hashes that are made here."""
    global _kept_size
    _kept_size = octets


def _allocate(memory: Any, size: int) -> int:
    area = None
    if size == _kept_size:
        with contextlib.suppress(IndexError):
            area = _kept.pop()
    if area is None:
        try:
            area = _Area(size)
        except (OSError, ValueError, MemoryError):
            return int(_lib.ARGON2_MEMORY_ALLOCATION_ERROR)
    _in_use[area.address] = area
    memory[0] = _ffi.cast("uint8_t *", area.address)
    return 0


def _release(memory: Any, size: int) -> None:
    area = _in_use.pop(int(_ffi.cast("uintptr_t", memory)))
    if area.size == _kept_size and len(_kept) < KEPT:
        area.rest()
        _kept.append(area)
    else:
        area.close()


try:
    _callbacks = (
        _ffi.callback("int(uint8_t **, size_t)", _allocate, error=-22),
        _ffi.callback("void(uint8_t *, size_t)", _release),
    )
except (MemoryError, OSError, TypeError):
    _callbacks = (_ffi.NULL, _ffi.NULL)


def derive(
    password: bytes, salt: bytes, kind: low_level.Type, *, time_cost: int, memory_kib: int, lanes: int, length: int, version: int
) -> bytes:
    """The raw hash of ``length`` octets. Raises ValueError when the library refuses the parameters or has no memory. Blocks."""
    out = _ffi.new("uint8_t[]", length)
    octets, salted = _ffi.new("uint8_t[]", password), _ffi.new("uint8_t[]", salt)
    context = _ffi.new("argon2_context *", {
        "out": out, "outlen": length, "pwd": octets, "pwdlen": len(password), "salt": salted, "saltlen": len(salt),
        "secret": _ffi.NULL, "secretlen": 0, "ad": _ffi.NULL, "adlen": 0, "t_cost": time_cost, "m_cost": memory_kib,
        "lanes": lanes, "threads": lanes, "version": version, "flags": _lib.ARGON2_DEFAULT_FLAGS,
        "allocate_cbk": _callbacks[0], "free_cbk": _callbacks[1],
    })  # fmt: skip
    status = low_level.core(context, kind.value)
    if status != 0:
        raise ValueError(f"argon2 refuses: {low_level.error_to_str(status)}")
    return bytes(_ffi.buffer(out))
