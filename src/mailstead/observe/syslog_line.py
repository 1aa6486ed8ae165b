"""Lines as syslog has them (RFC 5424), for the system's log and for the log of another server.

Invariants: one datagram is one line; what is parsed was well-formed, bounded, and has no control characters left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FACILITY = 2
"""LOG_MAIL."""
MAX_DATAGRAM = 8192
_SEVERITY = {1: 2, 2: 3, 4: 4, 8: 6, 16: 7}
_LEVEL = {0: 1, 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 8, 7: 16}
_LINE = re.compile(
    rb"<(\d{1,3})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) (-|[!-~]{1,255}) (-|[!-~]{1,48}) "
    rb"(-|[!-~]{1,128}) (-|[!-~]{1,32}) (?:-|(?:\[[^\]\r\n]{0,1024}\]){1,8})(?: (?:\xef\xbb\xbf)?(.*))?\Z",
    re.S,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class RemoteLine:
    """A line of another server; `level` is one bit."""

    time: str
    host: str
    level: int
    module: str
    text: str


def one_line(text: str) -> str:
    """The text with control characters written out."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def encode(time: str, host: str, level: int, module: str, process: str, text: str) -> bytes:
    """A datagram for the log of another server."""
    priority = FACILITY * 8 + _SEVERITY[level]
    head = f"<{priority}>1 {time} {_word(host, 255)} mailstead {_word(process, 128)} {_word(module, 32)} - "
    return (head + one_line(text)).encode("utf-8", "backslashreplace")[:MAX_DATAGRAM]


def encode_local(pid: int, level: int, module: str, text: str) -> bytes:
    """A datagram for /dev/log, in the form every system's log takes."""
    head = f"<{FACILITY * 8 + _SEVERITY[level]}>mailstead[{pid}]: {module}: "
    return (head + one_line(text)).encode("utf-8", "backslashreplace")[:MAX_DATAGRAM]


def _word(text: str, most: int) -> str:
    kept = "".join(character for character in text if "!" <= character <= "~")[:most]
    return kept or "-"


def parse(datagram: bytes) -> RemoteLine | None:
    """The line of a datagram; None for what is none, or too long."""
    if len(datagram) > MAX_DATAGRAM:
        return None
    found = _LINE.match(datagram.rstrip(b"\r\n\0"))
    if found is None or int(found[1]) > 191:
        return None
    time, host, app, _process, module, text = (
        (part or b"").decode("utf-8", "replace") for part in (found[2], found[3], found[4], found[5], found[6], found[7])
    )
    return RemoteLine(
        "" if time == "-" else time, host if host != "-" else "", _LEVEL[int(found[1]) & 7],
        module if module != "-" else app, one_line(text),
    )  # fmt: skip
