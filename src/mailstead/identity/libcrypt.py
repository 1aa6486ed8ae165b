"""crypt(3) of the system's C library, for hashes that other systems made with it: bcrypt, yescrypt, scrypt, MD5, DES.

Invariants: a form whose cost is above our bounds, or cannot be told, never reaches the library; a call holds neither
the interpreter's lock nor static memory, so any thread may make it; a library that does not know a form says so.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import hmac
import re
from collections.abc import Callable

MAX_ROUNDS = 500_000
"""Of SHA-256 and SHA-512 crypt: below half a second."""
MAX_BCRYPT_COST = 15
"""About two seconds."""
MAX_MEMORY_UNITS = 1 << 21
"""N * r of scrypt and yescrypt: 256 MB, below two seconds."""
MAX_BSDI_ROUNDS = 1 << 20
_DATA_OCTETS = 256 * 1024  # more than `struct crypt_data` has anywhere
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_sha = re.compile(r"\$[56]\$(?:rounds=(\d{1,9})\$)?[!-#%-9;-~]{0,16}\$[./0-9A-Za-z]{43,86}", re.ASCII).fullmatch
_bcrypt = re.compile(r"\$2[abxy]\$(\d\d)\$[./0-9A-Za-z]{53}", re.ASCII).fullmatch
_md5 = re.compile(r"\$1\$[!-#%-9;-~]{0,8}\$[./0-9A-Za-z]{22}", re.ASCII).fullmatch
_scrypt = re.compile(
    r"\$7\$([./0-9A-Za-z])([./0-9A-Za-z]{5})([./0-9A-Za-z]{5})[!-#%-9;-~]{0,64}\$[./0-9A-Za-z]{43}", re.ASCII
).fullmatch
_yescrypt = re.compile(r"\$g?y\$j([./0-9A-Z])([./0-9A-Z])\$[./0-9A-Za-z]{0,86}\$[./0-9A-Za-z]{43}", re.ASCII).fullmatch
_des = re.compile(r"[./0-9A-Za-z]{13}", re.ASCII).fullmatch
_bsdi = re.compile(r"_([./0-9A-Za-z]{4})[./0-9A-Za-z]{15}", re.ASCII).fullmatch


def affordable(stored: str) -> bool:
    """True for a whole crypt string of a form and cost that we verify."""
    if found := _sha(stored):
        return found[1] is None or int(found[1]) <= MAX_ROUNDS
    if found := _bcrypt(stored):
        return int(found[1]) <= MAX_BCRYPT_COST
    if found := _scrypt(stored):
        units = _number(found[2]) << _ALPHABET.index(found[1])
        return 0 < units <= MAX_MEMORY_UNITS and units * _number(found[3]) <= 2 * MAX_MEMORY_UNITS
    if found := _yescrypt(stored):  # without the fields p, t, g and the ROM, which no system's default has
        return (_ALPHABET.index(found[2]) + 1) << (_ALPHABET.index(found[1]) + 1) <= MAX_MEMORY_UNITS
    if found := _bsdi(stored):
        return _number(found[1]) <= MAX_BSDI_ROUNDS
    return bool(_md5(stored) or _des(stored))


def _number(text: str) -> int:
    return sum(_ALPHABET.index(character) << 6 * place for place, character in enumerate(text))


@functools.cache
def _crypt_r() -> Callable[[bytes, bytes, object], bytes | None] | None:
    """The function, or None where the system has none."""
    for name in (ctypes.util.find_library("crypt"), None):
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
        found: Callable[[bytes, bytes, object], bytes | None] = function
        return found
    return None


def crypt_hash(password: bytes, setting: str) -> str | None:
    """The crypt string under `setting`; None where the library does not know its form. Blocks."""
    function = _crypt_r()
    if function is None or b"\0" in password:
        return None
    made = function(password, setting.encode(), ctypes.create_string_buffer(_DATA_OCTETS))
    if made is None or made.startswith(b"*"):
        return None
    return made.decode("ascii", "replace")


@functools.lru_cache(64)
def knows(prefix: str) -> bool:
    """Whether the library hashes under this beginning of a crypt string: `$2y$04$...`, cheap ones only."""
    return crypt_hash(b"x", prefix) is not None


_CHEAP = {
    "$2": "$2b$04$......................",
    "$1": "$1$ab$",
    "$5": "$5$rounds=1000$ab$",
    "$6": "$6$rounds=1000$ab$",
    "$7": "$7$4/..../....ab$",
    "$y": "$y$j75$abcdefgh$",
    "$g": "$gy$j75$abcdefgh$",
    "_": "_/...abcd",
}


def supported(stored: str) -> bool:
    """True when `stored` is affordable and this system's library knows its form."""
    if not affordable(stored):
        return False
    return knows(next((cheap for start, cheap in _CHEAP.items() if stored.startswith(start)), "ab"))


def verify(password: bytes, stored: str) -> bool:
    """True when `stored` is the crypt string of the password. Blocks, at most some seconds."""
    if not affordable(stored):
        return False
    made = crypt_hash(password, stored)
    return made is not None and hmac.compare_digest(made.encode(), stored.encode())
