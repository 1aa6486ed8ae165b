"""What is measured. Names follow the scenarios of the issue they serve: smtp_2k is ten connections, 2 KB messages."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from bench.generator import Load, Script, pop3_line, pop3_multi, smtp_done, tagged


@dataclass
class Target:
    """A server: addresses of its services, process ids, and its users user0001@bench.test ... with one password."""

    name: str
    smtp: tuple[str, int] | None
    imap: tuple[str, int] | None
    pop3: tuple[str, int] | None
    pids: list[int]
    password: str = "secret"

    def user(self, number: int) -> str:
        return f"user{number:04d}@bench.test"


_serial = itertools.count()
Count = Callable[[], None]


def message(size: int, recipient: str) -> bytes:
    number = next(_serial)
    head = (
        f"From: Sender <a@sender.test>\r\nTo: {recipient}\r\nSubject: message {number}\r\n"
        f"Date: Tue, 02 Nov 2021 10:00:00 +0000\r\nMessage-ID: <{number}.{id(_serial)}@sender.test>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    ).encode()
    line = b"The quick brown fox jumps over the lazy dog and on.\r\n"
    return head + line * max(1, (size - len(head)) // len(line))


def _smtp(target: Target, size: int, boxes: int, each: int) -> Callable[[int, Count], Script]:
    def script(number: int, count: Count) -> Script:
        yield b"EHLO bench\r\n", smtp_done(1)
        for sent in itertools.count():
            recipient = target.user(101 + (number * 37 + sent) % boxes if boxes > 1 else 101)
            yield f"MAIL FROM:<a@sender.test>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode(), smtp_done(3)
            yield message(size, recipient) + b".\r\n", smtp_done(1)
            count()
            if each and sent + 1 >= each:
                break
        yield b"QUIT\r\n", smtp_done(1)

    return script


def smtp(target: Target, size: int, connections: int, seconds: float, boxes: int = 100, each: int = 0) -> Load:
    assert target.smtp
    return Load(target.smtp, _smtp(target, size, boxes, each), smtp_done(1), lambda r: r[:1] in b"45", connections, seconds)


def _imap(target: Target, connections: int, seconds: float, script: Callable[[int, Count], Script]) -> Load:
    assert target.imap
    return Load(
        target.imap,
        script,
        lambda d: d.endswith(b"\r\n"),
        lambda r: b" NO " in r[-300:] or b" BAD " in r[-300:],
        connections,
        seconds,
    )


def imap_login(target: Target, seconds: float) -> Load:
    def script(number: int, count: Count) -> Script:
        user = target.user(1 + next(_serial) % 1000)
        yield f'a LOGIN "{user}" "{target.password}"\r\n'.encode(), tagged(b"a")
        yield b"b LOGOUT\r\n", tagged(b"b")
        count()

    return _imap(target, 10, seconds, script)


def imap_append(target: Target, connections: int, seconds: float) -> Load:
    def script(number: int, count: Count) -> Script:
        yield f'a LOGIN "{target.user(201 + number)}" "{target.password}"\r\n'.encode(), tagged(b"a")
        while True:
            octets = message(4000, target.user(201 + number))
            yield b"b APPEND INBOX {%d+}\r\n%b\r\n" % (len(octets), octets), tagged(b"b")
            count()

    return _imap(target, connections, seconds, script)


def imap_fetch(target: Target, items: str, seconds: float) -> Load:
    """SELECT and FETCH of a whole INBOX of whatever the SMTP scenarios left there."""

    def script(number: int, count: Count) -> Script:
        yield f'a LOGIN "{target.user(101)}" "{target.password}"\r\n'.encode(), tagged(b"a")
        while True:
            yield b"b SELECT INBOX\r\n", tagged(b"b")
            yield f"c FETCH 1:* ({items})\r\n".encode(), tagged(b"c")
            count()

    return _imap(target, 2, seconds, script)


def pop3(target: Target, seconds: float) -> Load:
    assert target.pop3

    def script(number: int, count: Count) -> Script:
        yield f"USER {target.user(102 + number)}\r\n".encode(), pop3_line
        yield f"PASS {target.password}\r\n".encode(), pop3_line
        yield b"STAT\r\n", pop3_line
        for which in range(1, 6):
            yield f"RETR {which}\r\n".encode(), pop3_multi
        yield b"QUIT\r\n", pop3_line
        count()

    return Load(target.pop3, script, pop3_line, lambda r: r.startswith(b"-ERR"), 4, seconds)


SCENARIOS: dict[str, Callable[[Target, float], Load]] = {
    "smtp_2k": lambda t, s: smtp(t, 2048, 10, s),
    "smtp_2k_c1": lambda t, s: smtp(t, 2048, 1, s),
    "smtp_2k_newconn": lambda t, s: smtp(t, 2048, 10, s, each=1),
    "smtp_50k": lambda t, s: smtp(t, 50_000, 10, s),
    "smtp_1m": lambda t, s: smtp(t, 1_000_000, 4, s),
    "imap_login": imap_login,
    "imap_append": lambda t, s: imap_append(t, 10, s),
    "imap_append_c1": lambda t, s: imap_append(t, 1, s),
    "imap_flags": lambda t, s: imap_fetch(t, "FLAGS UID", s),
    "imap_env": lambda t, s: imap_fetch(t, "ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE", s),
    "pop3": pop3,
}
