"""Digests: the postings of a day, or so many, in one message (LST-01, RFC 2046 section 5.1.5, RFC 1153).

Invariants: each posting is in one digest: what a digest has goes from the folder Digest in the record that sends it, whatever
becomes of the list's own copy in the folder Digests. Whoever wants none any more has what waits for the next one sent to himself
alone; it stays in the folder for the others. No digest goes out between his wish and that, and his wish, as that of one who wants
digests from now on, waits while mail of the list is handed out, so he misses nothing and has nothing twice.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

from mailstead.delivery.expansion import NotYet
from mailstead.delivery.jobs import ExpansionJob, JobKind
from mailstead.delivery.lists.office import DIGEST, DIGESTS, Office
from mailstead.delivery.lists.outgoing import ListFace, leaving, prepare
from mailstead.delivery.lists.publishing import Publishing
from mailstead.directory.model import Member, Recipient
from mailstead.mailbox.view import FolderView
from mailstead.message.build import encode_header, encode_text, fold, format_address, make_message_id
from mailstead.message.dates import rfc5322_date
from mailstead.message.decode import decode_header
from mailstead.message.headers import field_value, header_end
from mailstead.message.rewrite import with_fields
from mailstead.observe.log import get_logger
from mailstead.store.record import Target

log = get_logger("PROCESSING")

MAX_OCTETS = 8 << 20
"""Octets of one digest; more postings make a second one."""
REST = "gives the rest"
"""Third word of the stage of a job that gives a member what waits, because he wants no digests any more."""


def compose(recipient: Recipient, description: str, issue: int, postings: Sequence[bytes], now: float) -> bytes:
    """A digest of whole messages: a text with their subjects, then a multipart/digest. Blocking: they may be
    many octets."""
    subjects = []
    for number, octets in enumerate(postings, 1):
        head = octets[: header_end(octets)]
        subject = decode_header(field_value(head, b"subject") or b"")[:200] or "(no subject)"
        writer = decode_header(field_value(head, b"from") or b"")[:200]
        subjects.append(f"{number:4}. {subject}\n      {writer}")
    encoding, text = encode_text(f"{description}\n\n{len(postings)} messages in this digest:\n\n" + "\n".join(subjects) + "\n")
    whole = b"".join(postings)
    outer = inner = ""
    while not outer or outer.encode() in whole or inner.encode() in whole:
        outer, inner = secrets.token_hex(12), secrets.token_hex(12)
    domain = recipient.address.rpartition("@")[2]
    pieces: list[bytes] = [
        (
            fold("From", format_address(f"{recipient.name} digest", recipient.address))
            + fold("To", recipient.address)
            + fold("Subject", encode_header(f"{recipient.name} digest {issue}"))
            + fold("Date", rfc5322_date(now))
            + fold("Message-ID", make_message_id(domain if domain.isascii() else "localhost"))
            + f'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="{outer}"\r\n\r\n'
            f"--{outer}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        ).encode("utf-8"),
        text,
        f'\r\n--{outer}\r\nContent-Type: multipart/digest; boundary="{inner}"\r\n\r\n'.encode(),
    ]
    for octets in postings:
        kept = with_fields(octets, (b"return-path", b"list-unsubscribe", b"list-unsubscribe-post", b"x-list-request"))
        # In a digest the parts are messages by themselves (RFC 2046 section 5.1.5): an empty header of the part.
        pieces += [f"--{inner}\r\n\r\n".encode(), kept, b"" if kept.endswith(b"\n") else b"\r\n"]
    pieces.append(f"\r\n--{inner}--\r\n\r\n--{outer}--\r\n".encode())
    return b"".join(pieces)


class Digests:
    """Sends digests that are due, and what waits for the next one to whoever wants none any more."""

    def __init__(self, office: Office, publishing: Publishing) -> None:
        self._office = office
        self._publishing = publishing
        self._sending = asyncio.Lock()
        """Held while it is decided who gets a digest."""

    async def send_due(self, recipient: Recipient, now: float | None = None) -> bool:
        """Send a list's digest where it is full or old enough; whether one was sent. Raises MailboxError, Unavailable."""
        async with self._sending:
            return await self._send_due(recipient, time.time() if now is None else now)

    async def _send_due(self, recipient: Recipient, now: float) -> bool:
        office = self._office
        folder = await office.mailbox.folder(recipient.id, DIGEST)
        if folder is None:
            return False
        view = await office.mailbox.open(folder)
        try:
            uids = list(view.uids)
            if not uids:
                return False
            ((_, oldest),) = office.mailbox.rows(view, uids[:1], ("saved",))
            full = len(uids) >= int(office.value(recipient, "digestMessages"))
            if not full and now - oldest < int(office.value(recipient, "digestInterval")) * 3600:
                return False
            if await office.has_job(recipient, lambda job: job.path[2:] == (REST,)):
                return False
            taken, face, octets = await self._composed(recipient, view, uids, now)
        finally:
            view.release()
        archive = await office.folder(recipient, DIGESTS)
        front = b"Return-Path: <%b>\r\n" % face.bounces.encode("utf-8", "replace") + leaving(face)
        await self._publishing.submit(
            face.bounces, octets,
            [self._publishing.digest_job(recipient, octets), office.into(archive, front), office.removal(folder, taken)],
        )  # fmt: skip
        log.info("digest sent", list=recipient.address, messages=len(taken))
        return True

    async def switch(self, recipient: Recipient, address: str, *, digest: bool) -> None:
        """A member wants digests, or none any more; nothing where that is so already. Raises NotYet while mail of the list is being
        handed out, which he would not get, or get twice, if his wish changed meanwhile; DirectoryError."""
        office = self._office
        async with self._sending:
            member = office.directory.member(recipient.id, address)
            if member is None or member.digest == digest:
                return
            if await office.has_job(recipient, _to_all):
                raise NotYet("mail of the list is being handed out")
            await office.directory.update_member(recipient.id, address, digest=digest, actor=office.actor(recipient))

    async def give_rest(self, recipient: Recipient, member: Member, after: int, given: Callable[[int], Target]) -> int:
        """Send a member alone what waits behind the UID ``after``, as digests, each in one record with the target that notes the
        last UID it has. Gives the last UID of all. Raises MailboxError, Unavailable, OSError."""
        office = self._office
        folder = await office.mailbox.folder(recipient.id, DIGEST)
        if folder is None or member.nomail or member.state:
            return after
        view = await office.mailbox.open(folder)
        try:
            uids = [uid for uid in view.uids if uid > after]
            while uids:
                taken, face, octets = await self._composed(recipient, view, uids, time.time())
                job = self._publishing.digest_job(recipient, octets, member)
                after, uids = taken[-1], uids[len(taken) :]
                await self._publishing.submit(face.bounces, octets, [job, given(after)])
                log.info("digest sent to a member alone", list=recipient.address, to=member.address, messages=len(taken))
        finally:
            view.release()
        return after

    async def _composed(
        self, recipient: Recipient, view: FolderView, uids: Sequence[int], now: float
    ) -> tuple[Sequence[int], ListFace, bytes]:
        """A digest of the first postings: their UIDs, the list's face, and the octets as members get them."""
        office = self._office
        postings = await self._fitting(view, uids)
        status = await office.mailbox.status(await office.folder(recipient, DIGESTS))
        face = office.face(recipient)
        name = face.description or recipient.name
        octets = await asyncio.to_thread(compose, recipient, name, status.uidnext, postings, now)
        return uids[: len(postings)], face, await asyncio.to_thread(prepare, face, octets)

    async def _fitting(self, view: FolderView, uids: Sequence[int]) -> list[bytes]:
        """The first postings, as many as one digest holds; at least one."""
        mailbox = self._office.mailbox
        postings: list[bytes] = []
        size = 0
        for start in range(0, len(uids), 100):
            for _, location in mailbox.rows(view, uids[start : start + 100], ("location",)):
                if postings and size + location.size > MAX_OCTETS:
                    return postings
                postings.append(await mailbox.read_large(location))
                size += location.size
        return postings


def _to_all(job: ExpansionJob) -> bool:
    return job.kind in (JobKind.COPIES, JobKind.DIGEST) and not job.token
