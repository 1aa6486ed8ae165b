"""Replies of an SMTP server (RFC 5321 4.2), parsed as their octets arrive.

Invariants: a reply is bounded in lines and octets, whatever the server sends; its text holds no control characters,
so that it can go into a log line or a report; linear in the octets fed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 4096
MAX_LINES = 200
MAX_REPLY = 64 * 1024
KEPT_TEXT = 1000

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.S)
_ENHANCED = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?= |$)")
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), " ")


class ReplyError(Exception):
    """What the server sent is no SMTP reply, or too long a one. The connection is of no use any more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """``lines`` are the texts behind the codes."""

    code: int
    lines: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 2034), '' where there is none that agrees with the code."""
        match = _ENHANCED.match(self.lines[0]) if self.lines else None
        return match[0] if match and match[1] == str(self.code)[0] else ""

    @property
    def text(self) -> str:
        """Code and text in one line of at most KEPT_TEXT characters."""
        return f"{self.code} {' '.join(self.lines)}".strip()[:KEPT_TEXT]


class ReplyParser:
    """``feed`` octets; it gives the replies that became complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._code = 0
        self._lines: list[str] = []
        self._size = 0

    @property
    def empty(self) -> bool:
        """True where nothing of a further reply has arrived (to be checked before TLS, RFC 3207 4.2)."""
        return not self._rest and not self._lines

    def feed(self, data: bytes) -> list[Reply]:
        """Raises ReplyError."""
        replies: list[Reply] = []
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise ReplyError("a reply line is too long")
        for raw in lines:
            reply = self._line(raw.removesuffix(b"\r"))
            if reply is not None:
                replies.append(reply)
        return replies

    def _line(self, raw: bytes) -> Reply | None:
        match = _LINE.fullmatch(raw)
        if match is None or len(raw) > MAX_LINE:
            shown = raw[:60].decode("ascii", "replace").translate(_CONTROLS)
            raise ReplyError(f"not an SMTP reply: {shown!r}")
        code = int(match[1])
        if self._lines and code != self._code:
            raise ReplyError(f"reply codes {self._code} and {code} in one reply")
        self._size += len(raw)
        if len(self._lines) >= MAX_LINES or self._size > MAX_REPLY:
            raise ReplyError("a reply is too long")
        self._code = code
        self._lines.append((match[3] or b"").decode("utf-8", "replace").translate(_CONTROLS).strip())
        if match[2] == b"-":
            return None
        reply = Reply(code, tuple(self._lines))
        self._lines, self._size = [], 0
        return reply
