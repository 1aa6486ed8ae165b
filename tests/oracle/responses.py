"""Responses of two servers made comparable: order and spelling that mean nothing are taken out."""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(rb'[ \r\n]+|\(|\)|"((?:[^"\\]|\\.)*)"|~?\{(\d+)\}\r\n|([A-Za-z0-9.]+\[[^\]]*\](?:<\d+>)?)|([^\s()"{]+)', re.S)


_CODES = (b"TRYCREATE", b"NONEXISTENT", b"ALREADYEXISTS", b"READ-ONLY", b"READ-WRITE", b"APPENDUID", b"MODIFIED")


def parse(octets: bytes) -> list[Any]:
    """Nested lists of bytes; NIL is None."""
    at = 0
    stack: list[list[Any]] = [[]]
    while at < len(octets):
        found = _TOKEN.match(octets, at)
        assert found is not None, octets[at : at + 60]
        at = found.end()
        text = found[0]
        if text == b"(":
            stack.append([])
        elif text == b")":
            inner = stack.pop()
            stack[-1].append(inner)
        elif found[1] is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", found[1]))
        elif found[2] is not None:
            size = int(found[2])
            stack[-1].append(octets[at : at + size])
            at += size
        elif text.strip():
            stack[-1].append(None if text.upper() == b"NIL" else text)
    assert len(stack) == 1
    return stack[0]


def _flags(values: list[Any]) -> tuple[bytes, ...]:
    return tuple(sorted(value for value in values if value.lower() != b"\\recent"))


def untagged(line: bytes) -> Any:
    """A comparable form; None for what does not matter."""
    words = line.split(b" ", 3)
    kind = words[1].upper()
    if kind in (b"OK", b"NO"):
        code = re.match(rb"\* (?:OK|NO) \[([A-Z]+)", line)
        wanted = (b"UIDNEXT", b"READ", b"CLOSED", b"COPYUID")
        if code is None or code[1] not in wanted:
            return None
        return re.sub(rb"COPYUID \d+", b"COPYUID", line[line.index(b"[") : line.index(b"]") + 1])
    if len(words) > 2 and words[1].isdigit():
        what = words[2].upper()
        if what == b"RECENT":
            return None
        if what != b"FETCH":
            return (what, int(words[1]))
        items = parse(words[3])[0]
        pairs = zip(items[::2], items[1::2], strict=True)
        return (what, int(words[1]), {name.upper(): _flags(value) if name.upper() == b"FLAGS" else value for name, value in pairs})
    if kind == b"FLAGS":
        return (kind, _flags(parse(line)[2]))
    if kind in (b"LIST", b"LSUB"):
        parts = parse(line)
        # Whether a mailbox is interesting is a guess.
        return (kind, tuple(sorted(flag.lower() for flag in parts[2] if flag.lower() != b"\\unmarked")), *parts[4:])
    if kind == b"STATUS":
        parts = parse(line)
        values = dict(zip(parts[3][::2], parts[3][1::2], strict=True))
        own = (b"UIDVALIDITY", b"HIGHESTMODSEQ", b"RECENT")
        return (kind, parts[2], {name.upper(): value for name, value in values.items() if name.upper() not in own})
    if kind == b"SEARCH":
        return (kind, tuple(sorted(int(number) for number in line.split()[2:] if number.isdigit())))
    if kind == b"ESEARCH":
        return (kind, re.sub(rb' ?\(TAG "[^"]*"\)', b"", line))
    return line


def reply(octets: bytes) -> bytes:
    """OK, NO or BAD, with a response code where it says more than the text."""
    found = re.match(rb"(OK|NO|BAD)(?: \[([A-Z-]+)[^\]]*\])?", octets)
    assert found is not None, octets
    code = found[2] if found[2] in _CODES else None
    return found[1] + (b" " + code if code else b"")


def comparable(answer: tuple[list[bytes], bytes]) -> tuple[list[Any], bytes]:
    """All of an answer."""
    lines = [found for line in answer[0] if (found := untagged(line)) is not None]
    listed = [line for line in lines if isinstance(line, tuple) and line[0] in (b"LIST", b"LSUB", b"STATUS", b"FLAGS")]
    others = [line for line in lines if line not in listed]
    return sorted(listed, key=repr) + others, reply(answer[1])
