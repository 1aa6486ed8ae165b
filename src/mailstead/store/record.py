"""The frame of a log record and what the kinds carry.

Invariants: a record is valid only where its CRC covers header and head, its hash covers the body, and its salt is that of
its segment (a number no sender can know, so that a record forged inside a message is never taken for one); ``seq`` rises
by one per writer and stream; ``id`` (hybrid time, see ids.py) is unique over the node and rises per writer.

Layout, little endian: 60 octets of header, then ``head`` (MessagePack of one of the structs below), then ``body``
(octets of the message as stored: the trace header of this server followed by the octets as received).  A body of
more than 256 KB lies in a file of its own (``external``), written while it arrived; then ``body`` holds the trace
header only.  ``tools/read_log.py`` reads this format without importing anything of this package.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from enum import IntEnum
from typing import Any

import msgspec

MAGIC = b"MSR1"
VERSION = 1
HEADER = struct.Struct("<4sBBBBIIQQQ16sI")
HEADER_SIZE = HEADER.size
MAX_HEAD = 64 * 1024 * 1024
MAX_BODY = 1 << 40


class Kind(IntEnum):
    MESSAGE = 1
    CHANGE = 2
    CANCEL = 3
    SEAL = 4
    EFFECTS = 5
    RELOCATED = 6
    BEGIN = 7


class Stream(IntEnum):
    """Records of the durable stream are applied after their sync; those of the effects stream tell what was applied."""

    DURABLE = 0
    EFFECTS = 1


class TargetKind(IntEnum):
    FOLDER = 1
    QUEUE = 2
    PENDING = 3
    EXPANSION = 4
    QUARANTINE = 5
    REMOVAL = 6


class Target(msgspec.Struct, array_like=True, omit_defaults=True):
    """Where a message goes. ``folder`` 0 means the account's INBOX; ``flags`` are system flag bits; ``date`` is unix
    time; ``overlay`` are header lines of this recipient alone, in front of the body; ``mid`` names that variant;
    ``quota_size`` (octets) and ``quota_messages`` are the account's limits, 0 for none; ``detail`` is opaque to the store
    (the queue's recipient data, an expansion's job and how far it is); an EXPANSION with an ``account`` is no new one but the
    progress of the expansion ``account`` (a message's id), recipient ``folder``: its ``detail`` is what holds from now, or,
    where empty, it is done, and the other targets of the record are what it has given; ``replaces_uid`` of
    ``replaces_folder`` goes in the same step (RFC 8508 REPLACE), or nothing is done; a REMOVAL puts nothing anywhere: the messages
    of ``folder`` whose UIDs are in ``detail`` (`encode_ranges`) go, at ``date``, in one record with what is done about them;
    ``folder_size`` (octets) and
    ``folder_messages`` are the folder's own limits, 0 for none."""

    kind: int
    shard: int
    account: int = 0
    folder: int = 0
    flags: int = 0
    keywords: tuple[str, ...] = ()
    date: int = 0
    overlay: bytes = b""
    mid: int = 0
    quota_size: int = 0
    quota_messages: int = 0
    recipient: str = ""
    detail: bytes = b""
    replaces_folder: int = 0
    replaces_uid: int = 0
    folder_size: int = 0
    folder_messages: int = 0


class MessageHead(msgspec.Struct, array_like=True, omit_defaults=True):
    """``external``: id of the file with the rest of the body, and its octets; ``receipt``: encoded receipt; records of
    one ``group`` (``group_size`` of them) are whole or absent together (RFC 3502 MULTIAPPEND)."""

    sender: str
    received: int
    targets: list[Target]
    receipt: bytes = b""
    external: int = 0
    external_size: int = 0
    external_hash: bytes = b""
    group: int = 0
    group_size: int = 0


class RelocatedHead(msgspec.Struct, array_like=True, omit_defaults=True):
    """A body that compaction brought to a younger segment. The fields stand where a message's do, so that whoever reads
    bodies reads both; ``targets`` are those of the rows (with their ``mid``) that held it then."""

    sender: str
    received: int
    targets: list[Target]
    receipt: bytes = b""
    external: int = 0
    external_size: int = 0
    external_hash: bytes = b""


class ChangeHead(msgspec.Struct, array_like=True, omit_defaults=True):
    """``operations``: encoded operations (operations.py), each with the shard it touches first."""

    operations: list[bytes]
    shards: list[int]


class CancelHead(msgspec.Struct, array_like=True):
    """Record ``seq`` (of this writer's durable stream) is void for target or operation ``index``; -1: altogether."""

    seq: int
    index: int


class EffectsHead(msgspec.Struct, array_like=True, omit_defaults=True):
    """What one index transaction did: shard, its commit number, a list of effects (fold.py), and the sequence numbers of
    the first and last durable record it applied (0 where there is none)."""

    shard: int
    commit: int
    effects: list[Any]
    first: int = 0
    last: int = 0


class BeginHead(msgspec.Struct, array_like=True):
    """The first record of a segment; its header tells the salt of all that follow."""


class SealHead(msgspec.Struct, array_like=True):
    """End of a segment: nothing after it counts. ``end`` is its offset."""

    end: int


HEADS: dict[int, type[msgspec.Struct]] = {
    Kind.MESSAGE: MessageHead,
    Kind.CHANGE: ChangeHead,
    Kind.CANCEL: CancelHead,
    Kind.SEAL: SealHead,
    Kind.EFFECTS: EffectsHead,
    Kind.RELOCATED: RelocatedHead,
    Kind.BEGIN: BeginHead,
}
encode_ranges = msgspec.msgpack.Encoder().encode
"""UIDs of a REMOVAL, as flat list of inclusive ranges."""
decode_ranges = msgspec.msgpack.Decoder(list[int]).decode
encode_head = msgspec.msgpack.Encoder().encode
_DECODERS: dict[int, msgspec.msgpack.Decoder[Any]] = {kind: msgspec.msgpack.Decoder(head) for kind, head in HEADS.items()}


class DamagedRecord(Exception):
    """The octets at this place are not a valid record."""


class DamagedBody(DamagedRecord):
    """Header and head are valid, the body is not; the next record begins at ``end``."""

    def __init__(self, text: str, end: int) -> None:
        super().__init__(text)
        self.end = end


class Record:
    """A decoded record: header fields, its decoded head, and where its body lies in its segment."""

    __slots__ = ("body_offset", "body_size", "end", "head", "id", "kind", "offset", "salt", "seq", "stream")

    def __init__(
        self, kind: int, stream: int, seq: int, id: int, head: Any, offset: int, body_offset: int, body_size: int, salt: int = 0
    ) -> None:
        self.kind = kind
        self.stream = stream
        self.seq = seq
        self.id = id
        self.head = head
        self.offset = offset
        self.body_offset = body_offset
        self.body_size = body_size
        self.salt = salt
        self.end = body_offset + body_size


def frame(kind: int, stream: int, seq: int, id: int, head: bytes, body: bytes = b"", salt: int = 0) -> bytes:
    """Header and head of a record, to be followed by ``body`` itself."""
    digest = hashlib.sha256(body).digest()[:16] if body else bytes(16)
    start = HEADER.pack(MAGIC, VERSION, kind, 0, stream, len(head), salt, len(body), seq, id, digest, 0)[:-4]
    crc = zlib.crc32(head, zlib.crc32(start))
    return b"%b%b%b" % (start, crc.to_bytes(4, "little"), head)


def parse_header(data: bytes) -> tuple[int, int, int, int, int, int, int, bytes, int]:
    """``(kind, stream, head size, salt, body size, seq, id, body hash, crc)``; raises DamagedRecord."""
    if len(data) < HEADER_SIZE:
        raise DamagedRecord("short header")
    magic, version, kind, codec, stream, head_size, salt, body_size, seq, id, digest, crc = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise DamagedRecord("no magic")
    if version != VERSION or kind not in HEADS or codec or head_size > MAX_HEAD or body_size > MAX_BODY:
        raise DamagedRecord("unknown version, kind or codec, or impossible size")
    return kind, stream, head_size, salt, body_size, seq, id, digest, crc


def check_head(header: bytes, head: bytes, crc: int) -> None:
    if zlib.crc32(head, zlib.crc32(header[: HEADER_SIZE - 4])) != crc:
        raise DamagedRecord("head does not match its CRC")


def decode_head(kind: int, head: bytes) -> Any:
    try:
        return _DECODERS[kind].decode(head)
    except msgspec.MsgspecError as error:
        raise DamagedRecord(f"head cannot be decoded: {error}") from None


def body_matches(body: bytes, digest: bytes) -> bool:
    return hashlib.sha256(body).digest()[:16] == digest if body else True
