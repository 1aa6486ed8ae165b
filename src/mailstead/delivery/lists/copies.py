"""A list's copies on their way to the members, chunk by chunk (LST-01, RFC 8058).

Invariants
- Each member gets one copy; one that wants digests, no mail, or whose mail comes back, gets none. A copy for one member alone
  goes to nobody else.
- A copy to another server has an envelope sender of its own (VERP), so that a bounce says whose it is, and the member's own
  links to leave; copies to mailboxes here share one body, and their fields too where there are no links.
- A member who cannot be reached here counts as a bounce, as one elsewhere does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec

from mailstead.delivery.expansion import CHUNK, Active, Expander
from mailstead.delivery.lists.bounces import HARD, SOFT, Bounces
from mailstead.delivery.lists.office import Office
from mailstead.delivery.lists.outgoing import ListFace, leaving
from mailstead.delivery.model import AcceptedMessage, EnvelopeRecipient
from mailstead.delivery.targets import Plan
from mailstead.directory.model import Member
from mailstead.observe.log import get_logger
from mailstead.queue.detail import QueueDetail
from mailstead.store.apply_delivery import OVER_QUOTA
from mailstead.store.record import Target, TargetKind

log = get_logger("PROCESSING")

LINK = "leave by link"
LEAVE = "leave"
BOUNCE = "bounce"
YIELD_EVERY = 20


@dataclass(slots=True)
class _Run:
    """What one run of copies keeps between chunks: the list's face and what all mailboxes here share. ``alone``: it is for one
    member, whatever he wants from now on."""

    face: ListFace
    base: str
    digest: bool
    alone: bool = False
    front: bytes = b""
    variants: dict[int, bytes] = field(default_factory=dict)


class Copies:
    """Handler of the jobs COPIES and DIGEST; see `expansion.Expander`."""

    def __init__(self, office: Office, bounces: Bounces) -> None:
        self._office = office
        self._bounces = bounces
        self.expander: Expander

    def link(self, list_id: int, member: Member) -> str:
        """The link by which a member leaves with one click; "" where the server has no address for it."""
        base = str(self._office.settings.peek("server").listUnsubscribeUrl).rstrip("/")
        if not base:
            return ""
        return f"{base}/{self._office.signer.text(LINK, list_id, {'member': str(member.id), 'address': member.address})}"

    async def step(self, active: Active) -> bool:
        """One chunk."""
        office = self._office
        recipient = office.directory.recipient(active.job.object_id)
        if recipient is None:
            await self.expander.submit(active, Plan(), None)
            return True
        run = active.state
        if not isinstance(run, _Run):
            face = office.face(recipient)
            run = active.state = _Run(face, str(office.settings.peek("server").listUnsubscribeUrl), active.job.kind == "digest")
            run.front = b"Return-Path: <%b>\r\n" % face.bounces.encode("utf-8", "replace") + leaving(face)
            run.alone = bool(active.job.token)
            if run.alone:
                member = office.directory.member_by_id(recipient.id, int(active.job.token))
                active.walk = office.directory.walk_member(recipient.id, member)
            else:
                active.walk = office.directory.walk(recipient.id, active.job.path)
            active.message = self._message(active, face)
        message, walk = active.message, active.walk
        assert message is not None and walk is not None
        plan, path = Plan(), active.job.path
        members: dict[int, Member | None] = {}
        lost: list[Member | None] = []
        shared = office.store.new_id()
        async with office.delivery.planner.planning(plan):
            for count, one in enumerate(walk, 1):
                path = one.path
                member = one.member
                if self._wants(member, run):
                    message.recipients[0].address = one.address
                    message.recipients[0].orcpt = ""
                    before, gone = len(plan.targets), len(plan.lost)
                    await office.delivery.planner.route(plan, message, 0, one.resolution, message.recipients[0])
                    for place in range(before, len(plan.targets)):
                        members[place] = member
                        self._personal(plan.targets[place], run, recipient.id, member, shared)
                    lost += [member] * (len(plan.lost) - gone)
                if len(plan.targets) >= CHUNK or count >= CHUNK * 20:
                    break
                if count % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            else:
                path = ()
        outcomes = await self.expander.submit(active, plan, path or None)
        for place, outcome in enumerate(outcomes):
            if outcome.outcome:
                points = SOFT if outcome.outcome == OVER_QUOTA else HARD
                await self._bounces.count(recipient, members.get(place), points, "the mailbox here is full or gone")
        for member, address in zip(lost, plan.lost, strict=True):
            await self._bounces.count(recipient, member, HARD, address.reason)
        if not path:
            log.info("list mail given out", list=recipient.address, message=active.row.mid, copies=active.given)
        return not path

    @staticmethod
    def _wants(member: Member | None, run: _Run) -> bool:
        if member is None:
            return not run.digest
        return not member.nomail and not member.state and (run.alone or member.digest == run.digest)

    def _message(self, active: Active, face: ListFace) -> AcceptedMessage:
        """The message as the planner sees it: its sender is the list's."""
        message = self.expander.message_of(active)
        message.sender = face.bounces
        message.recipients = [EnvelopeRecipient(face.recipient.address, message.recipients[0].resolution, "FAILURE")]
        return message

    def _personal(self, target: Target, run: _Run, list_id: int, member: Member | None, shared: int) -> None:
        """What is a member's own in his copy."""
        office, face = self._office, run.face
        url = self.link(list_id, member) if member is not None and run.base else ""
        if target.kind == TargetKind.FOLDER:
            if url and member is not None:
                token = office.signer.number(LEAVE, list_id, member.id)
                path = b"Return-Path: <%b>\r\n" % face.bounces.encode("utf-8", "replace")
                target.overlay, target.mid = path + leaving(face, token, url), office.store.new_id()
            else:
                target.overlay, target.mid = run.front, shared
        elif target.kind == TargetKind.QUEUE:
            target.mid = office.store.new_id()
            if member is None:
                target.overlay = leaving(face)
                return
            target.overlay = leaving(face, office.signer.number(LEAVE, list_id, member.id), url)
            local, _, domain = face.bounces.rpartition("@")
            sender = f"{local}+{office.signer.number(BOUNCE, list_id, member.id)}@{domain}"
            target.detail = msgspec.structs.replace(QueueDetail.decode(target.detail), sender=sender).encode()


__all__ = ["BOUNCE", "LEAVE", "LINK", "Copies"]
