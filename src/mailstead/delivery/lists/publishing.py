"""Sending a posting on: the copy that all members share, the archive, the job that hands it out (LST-01).

Invariants: archive, job, and the end of what led here (the posting's own job, or the approved message in the list's mailbox)
are one record, so a posting goes out once whatever happens; a large message is written once, to a file of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from mailstead.delivery.jobs import ExpansionJob, JobKind
from mailstead.delivery.lists.office import DIGEST, INBOX, Office
from mailstead.delivery.lists.outgoing import leaving, prepare
from mailstead.directory.model import Member, Recipient
from mailstead.mailbox.model import Folder
from mailstead.observe.log import get_logger
from mailstead.store.apply_delivery import REPLACED_GONE
from mailstead.store.record import MessageHead, Target, TargetKind
from mailstead.store.service import QUEUE
from mailstead.store.spool import INLINE_LIMIT
from mailstead.store.submission import TargetOutcome

log = get_logger("PROCESSING")

SMALL = 32 * 1024
"""Octets of a message that is prepared in the event loop."""


class Publishing:
    """Makes the records."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def publish(
        self, recipient: Recipient, octets: bytes, with_targets: Sequence[Target] = (), replaces: tuple[Folder, int] | None = None,
        *, utf8: bool = False,
    ) -> bool:  # fmt: skip
        """Send a message to the members. ``replaces``: (folder, uid) of the list's mailbox that it takes the place of in the
        archive, or that goes where there is none; False where that was gone. Raises MailboxError, Unavailable, OSError."""
        office = self._office
        face = office.face(recipient)
        copy = prepare(face, octets) if len(octets) <= SMALL else await asyncio.to_thread(prepare, face, octets)
        utf8 = utf8 or not face.bounces.isascii()
        targets = [self._job(recipient, JobKind.COPIES, copy, utf8)]
        front = b"Return-Path: <%b>\r\n" % face.bounces.encode("utf-8", "replace") + leaving(face)
        if replaces and not office.value(recipient, "archive"):
            targets.append(office.removal(replaces[0], [replaces[1]]))
        elif office.value(recipient, "archive"):
            target = office.into(await office.folder(recipient, INBOX), front)
            if replaces:
                # Whatever the quota: while it lay there, it would be sent again and again.
                target.quota_size = target.quota_messages = 0
                target.replaces_folder, target.replaces_uid = replaces[0].id, replaces[1]
            targets.append(target)
        if office.directory.wants_digest(recipient.id):
            targets.append(office.into(await office.folder(recipient, DIGEST), front))
        targets += with_targets
        outcomes = await self.submit(face.bounces, copy, targets)
        places = dict(enumerate(targets))
        for place, outcome in enumerate(outcomes):
            if outcome.outcome == REPLACED_GONE:
                return False
            if outcome.outcome and places[place].kind == TargetKind.FOLDER:
                log.warning("list's own copy not kept", list=recipient.address, outcome=outcome.outcome)
        log.info("list mail accepted", list=recipient.address, size=len(copy))
        return True

    def _job(self, recipient: Recipient, kind: JobKind, copy: bytes, utf8: bool, token: str = "") -> Target:
        job = ExpansionJob(
            kind, recipient.id, recipient.address, token=token, notify="FAILURE", utf8=utf8,
            body="7BIT" if copy.isascii() else "8BITMIME",
        )  # fmt: skip
        return Target(TargetKind.EXPANSION, QUEUE, date=int(time.time()), recipient=recipient.address, detail=job.encode())

    def digest_job(self, recipient: Recipient, octets: bytes, member: Member | None = None) -> Target:
        """The job that hands a digest out; to one member alone where that is given."""
        return self._job(recipient, JobKind.DIGEST, octets, False, str(member.id) if member is not None else "")

    async def submit(self, sender: str, octets: bytes, targets: list[Target]) -> list[TargetOutcome]:
        """One record; a large message goes to a file of its own. Raises Unavailable, OSError."""
        store = self._office.store
        head = MessageHead(sender, int(time.time()), targets)
        if len(octets) <= INLINE_LIMIT:
            return await store.submit_message(head, octets, shown=True)
        spool = store.spool()
        submitted = False
        try:
            await spool.write(octets)
            body, index = await spool.finish(b"")
            head.external, head.external_size, head.external_hash = spool.external, spool.size, spool.digest
            future = store.submit_message(head, body, index=index, shown=True)
            submitted = True
            outcomes = await future
        except BaseException as error:
            # The record of whoever is only broken off (the process stops) is written all the same, and names the file.
            if submitted and (not isinstance(error, Exception) or store.broken.is_set()):
                spool.close()
            else:
                await asyncio.to_thread(spool.abandon)
            raise
        spool.close()
        return outcomes
