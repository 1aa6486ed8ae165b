#!/usr/bin/env python3
"""Recover every message of a Mailstead log into a Maildir, with nothing but Python's standard library.

    read_log.py DATA_DIRECTORY/log TARGET [--list]

Reads all segments of all writers, skips what is damaged (and says so), leaves out records that a cancel voids, and
writes each message once, as it was stored: the server's trace header, then the octets as received. Who it was for is in
the file name's folder: TARGET/<account id>/cur, or TARGET/queue/cur for mail on its way out.
"""

import hashlib
import os
import struct
import sys
import zlib

HEADER = struct.Struct("<4sBBBBIIQQQ16sI")
MAGIC = b"MSR1"
MESSAGE, CHANGE, CANCEL, SEAL, EFFECTS, RELOCATED, BEGIN = range(1, 8)
REMOVAL = 6  # a target that only takes messages away


def unpack(data, at=0):
    """One MessagePack value: (value, offset after it). Only what the log uses."""
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 256, at
    if first <= 0x8F:
        return _map(data, at, first & 15)
    if first <= 0x9F:
        return _array(data, at, first & 15)
    if first <= 0xBF:
        return _raw(data, at, first & 31, str)
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first in (0xC4, 0xC5, 0xC6):
        width = 1 << (first - 0xC4)
        return _raw(data, at + width, int.from_bytes(data[at : at + width], "big"), bytes)
    if first in (0xCA, 0xCB):
        width = 4 if first == 0xCA else 8
        return struct.unpack(">f" if width == 4 else ">d", data[at : at + width])[0], at + width
    if 0xCC <= first <= 0xCF:
        width = 1 << (first - 0xCC)
        return int.from_bytes(data[at : at + width], "big"), at + width
    if 0xD0 <= first <= 0xD3:
        width = 1 << (first - 0xD0)
        return int.from_bytes(data[at : at + width], "big", signed=True), at + width
    if first in (0xD9, 0xDA, 0xDB):
        width = 1 << (first - 0xD9)
        return _raw(data, at + width, int.from_bytes(data[at : at + width], "big"), str)
    if first in (0xDC, 0xDD):
        width = 2 if first == 0xDC else 4
        return _array(data, at + width, int.from_bytes(data[at : at + width], "big"))
    if first in (0xDE, 0xDF):
        width = 2 if first == 0xDE else 4
        return _map(data, at + width, int.from_bytes(data[at : at + width], "big"))
    raise ValueError(f"octet {first:#x} begins no value of the log")


def _raw(data, at, size, kind):
    piece = data[at : at + size]
    return (piece.decode("utf-8", "replace") if kind is str else bytes(piece)), at + size


def _array(data, at, count):
    values = []
    for _ in range(count):
        value, at = unpack(data, at)
        values.append(value)
    return values, at


def _map(data, at, count):
    values = {}
    for _ in range(count):
        key, at = unpack(data, at)
        values[key], at = unpack(data, at)
    return values, at


def records(data, path, quiet=False):
    """(kind, seq, id, head, body) of every valid record; damage is told and passed over.

    All records of a segment bear its salt, which no sender knows: what looks like a record within a message is none.
    """
    at, own = 0, None
    while True:
        start = data.find(MAGIC, at)
        if start < 0 or len(data) - start < HEADER.size:
            return
        _, version, kind, _, _, head_size, salt, body_size, seq, ident, digest, crc = HEADER.unpack_from(data, start)
        head_at = start + HEADER.size
        body_at = head_at + head_size
        head, body = data[head_at:body_at], data[body_at : body_at + body_size]
        at = start + 4
        if version != 1 or zlib.crc32(head, zlib.crc32(data[start : head_at - 4])) != crc or (own is not None and salt != own):
            if not quiet:
                print(f"damage at {start} of {path}", file=sys.stderr)
            continue
        at, own = body_at + body_size, salt
        if len(body) < body_size or (body and hashlib.sha256(body).digest()[:16] != digest):
            if not quiet:
                print(f"damaged record at {start} of {path}", file=sys.stderr)
            at = min(at, len(data))
            continue
        if kind == SEAL:
            return
        yield kind, seq, ident, unpack(head)[0], body


def field(head, position, default):
    return head[position] if len(head) > position else default


def segments(log, writer):
    """(path, octets) of the segments of a writer, rising."""
    folder = os.path.join(log, writer)
    for name in sorted(name for name in os.listdir(folder) if name.endswith(".mlog")):
        with open(os.path.join(folder, name), "rb") as file:
            yield os.path.join(folder, name), file.read()


def external_body(log, writers, ident):
    """The part of a body that lies in a file of its own, in the folder of whoever took it in."""
    for writer in writers:
        path = os.path.join(log, writer, "x", f"{ident:016x}.mext")
        if os.path.exists(path):
            with open(path, "rb") as file:
                return file.read()
    print(f"body {ident:x} is lost", file=sys.stderr)
    return b""


def main():
    arguments = [word for word in sys.argv[1:] if not word.startswith("--")]
    if len(arguments) != 2:
        sys.exit(__doc__)
    log, target = arguments
    writers = sorted(os.listdir(log))
    voided = set()
    for writer in writers:
        for path, data in segments(log, writer):
            voided.update((writer, *head) for kind, _, _, head, _ in records(data, path, quiet=True) if kind == CANCEL)
    known, written = set(), 0
    # What compaction moved is also where it was until that file goes: each message is written from the first place.
    for wanted in (MESSAGE, RELOCATED):
        for writer in writers:
            for path, data in segments(log, writer):
                for kind, seq, ident, head, body in records(data, path, quiet=wanted == RELOCATED):
                    if kind != wanted or (kind == MESSAGE and (writer, seq, -1) in voided):
                        continue
                    targets = [
                        one for number, one in enumerate(head[2]) if kind == RELOCATED or (writer, seq, number) not in voided
                    ]
                    new = set()
                    for one in targets:
                        if one[0] == REMOVAL:
                            continue
                        place = "queue" if one[0] == 2 else str(field(one, 2, 0))
                        mid = field(one, 8, 0) or ident
                        if (place, mid) not in known:
                            new.add((place, mid, field(one, 7, b"")))
                    if new and field(head, 4, 0):
                        body += external_body(log, writers, head[4])
                    for place, mid, overlay in sorted(new):
                        known.add((place, mid))
                        written += 1
                        if "--list" in sys.argv:
                            print(f"{mid:016x} {place} {len(overlay) + len(body)} from <{head[0]}>")
                            continue
                        box = os.path.join(target, place)
                        for part in ("cur", "new", "tmp"):
                            os.makedirs(os.path.join(box, part), exist_ok=True)
                        with open(os.path.join(box, "cur", f"{mid:016x}.mailstead:2,"), "wb") as file:
                            file.write(overlay + body)
    print(f"{written} messages {'listed' if '--list' in sys.argv else 'written'}", file=sys.stderr)


if __name__ == "__main__":
    main()
