"""Hashes made in memory of our own against the library's."""

from __future__ import annotations

import ctypes
import mmap
import os
from concurrent.futures import ThreadPoolExecutor

import argon2
import pytest
from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw

from mailstead.identity import argon2_memory
from mailstead.identity.passwords import hash_password, needs_upgrade, verify


@pytest.mark.parametrize(("memory", "time", "lanes", "length"), [(19 * 1024, 2, 1, 32), (8192, 1, 4, 16), (64, 3, 2, 64)])
@pytest.mark.parametrize("kind", [Type.ID, Type.I, Type.D])
def test_equals_the_librarys(memory: int, time: int, lanes: int, length: int, kind: Type) -> None:
    for password in (b"secret", "pässwörd\0".encode(), b"x" * 4096):
        ours = argon2_memory.derive(
            password, b"0123456789abcdef", kind,
            time_cost=time, memory_kib=memory, lanes=lanes, length=length, version=ARGON2_VERSION,
        )  # fmt: skip
        assert ours == hash_secret_raw(password, b"0123456789abcdef", time, memory, lanes, length, kind)


def test_memory_used_before_does_not_show() -> None:
    hashes = [hash_password(word) for word in ("one", "two", "three")]
    assert [argon2.PasswordHasher().verify(stored, word) for stored, word in zip(hashes, ("one", "two", "three"), strict=True)]
    assert not any(needs_upgrade(stored) for stored in hashes)
    assert needs_upgrade(argon2.PasswordHasher(3, 8192, 1).hash("one"))


def test_threads_at_the_same_time() -> None:
    words = [f"word-{number}" for number in range(24)]
    with ThreadPoolExecutor(6) as pool:
        hashes = list(pool.map(hash_password, words))
        assert all(pool.map(verify, words, hashes))
        assert not any(pool.map(verify, words[1:], hashes))
    assert len(argon2_memory._kept) <= argon2_memory.KEPT
    assert not argon2_memory._in_use


def test_refused_parameters_are_an_error_and_keep_nothing() -> None:
    with pytest.raises(ValueError, match="argon2 refuses"):
        argon2_memory.derive(b"x", b"short", Type.ID, time_cost=1, memory_kib=8, lanes=1, length=32, version=ARGON2_VERSION)
    assert not argon2_memory._in_use
    for damaged in ("m=64,t=1,p=1$c2FsdHNhbHQ$A", "m=64,t=1,p=1$c2Fs$AAAAAAAA", "m=1,t=1,p=1$$", "m=64,t=1,p=1$c2FsdHNhbHQ$AAAA"):
        assert not verify("x", f"$argon2id$v=19${damaged}")


def test_a_fork_has_memory_of_its_own() -> None:
    stored = hash_password("word")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if all(verify("word", stored) for _ in range(8)) else 1)
    assert all(verify("word", stored) for _ in range(8))
    assert os.waitpid(pid, 0)[1] == 0


def test_the_kernel_may_take_what_is_kept() -> None:
    hash_password("word")
    (address, size) = {(area.address, area.size) for area in argon2_memory._kept[-1:]}.pop()
    pages = ctypes.create_string_buffer(size // mmap.PAGESIZE)
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), pages) == 0
    gone = sum(not page & 1 for page in pages.raw) * mmap.PAGESIZE // 1024  # a machine short of memory may be that quick
    freed, here = 0, False
    with open("/proc/self/smaps", encoding="ascii", errors="replace") as lines:
        for line in lines:
            first = line.split(None, 1)[0]
            if "-" in first and not first.endswith(":"):
                start, end = (int(text, 16) for text in first.split("-"))
                here = start <= address < end
            elif here and first == "LazyFree:":
                freed = int(line.split()[1])
    assert freed + gone > 16 * 1024  # KiB of the 19 MiB of a hash
