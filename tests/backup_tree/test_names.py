"""Names and tar files: what is written is read again, and nothing a stranger sends does harm."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from mailstead.backup_tree.paths import (
    MAX_NAME,
    BadPath,
    level_file,
    message_file,
    object_file,
    read_level,
    read_message_file,
    read_object,
    resolve,
)
from mailstead.backup_tree.stored_message import StoredMessage
from mailstead.backup_tree.tar import BadTar, Member, read_tar, tar_size, write_tar
from mailstead.backup_tree.uploads import LineEnds
from mailstead.mailbox.errors import InvalidFolderName
from mailstead.mailbox.model import Location
from mailstead.mailbox.names import normalize

FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")
keywords = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='()"%*\\]{'), min_size=1, max_size=30)


@given(st.integers(1, 4_294_967_295), st.integers(0, 10**11), st.integers(0, 31), st.lists(keywords, max_size=4))
def test_a_messages_name_says_what_it_is(uid: int, date: int, bits: int, words: list[str]) -> None:
    name = message_file(uid, date, bits, words)
    assert "/" not in name
    assert name.isprintable()
    found = read_message_file(name)
    assert found is not None
    system = tuple(flag for n, flag in enumerate(FLAGS) if bits & 1 << n)
    assert (found.uid, found.date, found.flags) == (uid, date, (*system, *words))


def test_a_name_never_gets_too_long() -> None:
    name = message_file(1, 1, 31, [f"keyword{n}" * 8 for n in range(64)])
    assert len(name) <= MAX_NAME
    assert read_message_file(name) is not None


@given(st.text(max_size=80))
def test_any_file_name_is_read_without_harm(name: str) -> None:
    found = read_message_file(name + ".eml")
    assert found is not None
    assert all(flag for flag in found.flags)


@given(st.text(min_size=1, max_size=60), st.booleans())
def test_a_folders_level_comes_back(level: str, utf8: bool) -> None:
    try:
        if normalize(level) != level or "/" in level:
            return
    except InvalidFolderName:
        return
    name = level_file(level, utf8)
    assert "/" not in name
    assert name not in (".", "..", "messages.tar", "mailbox.json")
    assert read_message_file(name) is None
    assert not name.startswith(("@", "."))
    assert read_level(name, utf8) == level


@given(st.text(max_size=60), st.booleans())
def test_any_level_is_read_or_refused(name: str, utf8: bool) -> None:
    try:
        assert "/" not in read_level(name, utf8)
    except BadPath:
        pass


@given(st.text(st.characters(min_codepoint=33), min_size=1, max_size=60))
def test_an_objects_name_comes_back(name: str) -> None:
    assert "/" not in object_file(name)
    assert read_object(object_file(name)) == name


@given(st.lists(st.text(max_size=10), max_size=10), st.text(max_size=200))
def test_a_path_stays_below_the_root(current: list[str], text: str) -> None:
    try:
        path = resolve(tuple(current), text)
    except BadPath:
        return
    assert ".." not in path[len(current) :]
    assert all("/" not in part for part in path[len(current) :])


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=20))
def test_line_ends_are_the_same_however_they_are_cut(octets: bytes, cuts: list[int]) -> None:
    import re

    ends, parts, position = LineEnds(), [], 0
    for cut in [*cuts, len(octets)]:
        parts.append(ends.converted(octets[position : position + cut]))
        position += cut
    whole = b"".join(parts)
    assert whole == re.sub(rb"(?<!\r)\n", b"\r\n", octets[:position])


def stored(name: str, octets: bytes) -> StoredMessage:
    return StoredMessage(1, name, len(octets), 1_000, Location(len(octets), octets, ()))


async def _read(data: bytes, cut: int) -> list[tuple[str, bytes]]:
    position = 0
    found: list[tuple[str, bytes]] = []

    async def receive() -> bytes:
        nonlocal position
        position += cut
        return data[position - cut : position]

    async def take(member: Member, piece: object) -> None:
        octets = b""
        while part := await piece():  # type: ignore[operator]
            octets += part
        found.append((member.name, octets))

    await read_tar(receive, take)
    return found


@given(st.lists(st.tuples(st.text(st.characters(min_codepoint=33, max_codepoint=0x7FF, exclude_characters="/"), min_size=1,
                                  max_size=120), st.binary(max_size=1500)), max_size=5), st.integers(1, 700))  # fmt: skip
def test_a_tar_file_is_read_by_others_and_by_us(files: list[tuple[str, bytes]], cut: int) -> None:
    messages = [stored(name, octets) for name, octets in files]

    async def some() -> AsyncIterator[StoredMessage]:
        for message in messages:
            yield message

    async def stream(message: StoredMessage) -> AsyncIterator[bytes]:
        yield message.location.overlay

    async def write() -> bytes:
        return b"".join([piece async for piece in write_tar(some(), stream)])

    data = asyncio.run(write())
    assert len(data) == sum(map(tar_size, messages)) + 1024
    with tarfile.open(fileobj=io.BytesIO(data)) as theirs:
        members = theirs.getmembers()
        assert [(one.name, one.size) for one in members] == [(name, len(octets)) for name, octets in files]
    assert asyncio.run(_read(data, cut)) == files
    theirs_written = io.BytesIO()
    with tarfile.open(fileobj=theirs_written, mode="w", format=tarfile.GNU_FORMAT) as out:
        for name, octets in files:
            info = tarfile.TarInfo(name)
            info.size = len(octets)
            out.addfile(info, io.BytesIO(octets))
    assert asyncio.run(_read(theirs_written.getvalue(), cut)) == files


@given(st.binary(max_size=3000), st.integers(0, 3000), st.integers(0, 255))
def test_a_damaged_tar_file_is_refused_or_read(octets: bytes, place: int, value: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo("é" * 120)
        info.size = len(octets)
        file.addfile(info, io.BytesIO(octets))
    data = bytearray(out.getvalue())
    data[place % len(data)] = value
    for damaged in (bytes(data), octets, bytes(data[:place])):
        try:
            asyncio.run(_read(damaged, 512))
        except BadTar:
            pass
