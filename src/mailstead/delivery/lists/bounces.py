"""Mail of a list that comes back (LST-01): whose it is, how bad it is, and when a member gets no more.

Invariants
- Only the signed number in the address says which member a bounce is about; what a report claims is not believed without.
- A day counts once, and a refusal for good counts more than one for now; without news for a month all is forgotten.
- Nobody is removed before a message to ask (a probe) came back as well; the administrator hears of each step.
"""

from __future__ import annotations

import time

from mailstead.delivery.lists.office import Answer, Office
from mailstead.delivery.lists.sender import auto_submitted
from mailstead.directory.model import Member, Recipient
from mailstead.message.bounce import ReportedRecipient, read_report
from mailstead.observe.log import get_logger

log = get_logger("PROCESSING")

HARD, SOFT = 1.0, 0.5
FORGET = 30 * 86_400
PROBE_AFTER = 3 * 86_400
"""Seconds a member is disabled before it is asked."""
PROBE_WAIT = 7 * 86_400
"""Seconds in which a probe may come back."""
PROBE = "probe"
_FULL = ("5.2.2", "5.2.3", "5.3.4", "5.7.")


def points_of(reports: list[ReportedRecipient]) -> float:
    """How bad a report is: 0 where nothing failed."""
    worst = 0.0
    for report in reports:
        if report.action == "failed":
            soft = report.status.startswith(("4.", *_FULL))
            worst = max(worst, SOFT if soft else HARD)
    return worst


class Bounces:
    """Counts bounces and acts on them."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def take(self, recipient: Recipient, token: str, octets: bytes, head: bytes, sender: str) -> str:
        """A message to the bounces address with what stood behind its plus sign; in words what was done."""
        directory, signer = self._office.directory, self._office.signer
        probe = signer.read_number(PROBE, recipient.id, token)
        number = probe if probe is not None else signer.read_number("bounce", recipient.id, token)
        member = directory.member_by_id(recipient.id, number) if number is not None else None
        if member is None:
            return "no member's"
        reports = read_report(octets)
        points = points_of(reports)
        if not reports:
            if sender or auto_submitted(head) == "auto-replied":
                return "an automatic answer"
            points = SOFT  # some mail systems still write their bounces as they like
        if not points:
            return "nothing failed"
        reason = next((f"{one.status} {one.diagnostic}".strip() for one in reports if one.action == "failed"), "it came back")
        if probe is not None and member.state == "probed":
            await self._remove(recipient, member, reason)
            return "removed"
        await self.count(recipient, member, points, reason)
        return f"counted {points}"

    async def count(self, recipient: Recipient, member: Member | None, points: float, reason: str) -> None:
        """Count a bounce of a member, and disable it where that is one too many."""
        if member is None:
            return
        now = int(time.time())
        found = await self._office.directory.note_bounce(recipient.id, member.id, points, now, forget=FORGET)
        threshold = int(self._office.value(recipient, "bounceThreshold"))
        log.info("list mail came back", list=recipient.address, member=member.address, points=points, reason=reason[:200])
        if found is None or found.state or not threshold or found.score < threshold:
            return
        await self._office.directory.set_member_state(recipient.id, member.id, "disabled")
        await self._office.tell_owner(
            recipient,
            f"{recipient.name}: mail to {found.address} comes back",
            f"Mail of the list {recipient.address} to its member {found.address} came back too often.\n"
            f"It gets no more mail, and will be asked once before it is removed.\n\nThe last reason: {reason[:500]}\n",
        )

    async def _remove(self, recipient: Recipient, member: Member, reason: str) -> None:
        await self._office.directory.remove_members(recipient.id, [member.address], actor=self._office.actor(recipient))
        await self._office.tell_owner(
            recipient,
            f"{recipient.name}: {member.address} was removed",
            f"The message that asked {member.address} whether it still gets mail came back,\n"
            f"so it is no longer a member of {recipient.address}.\n\nThe reason: {reason[:500]}\n",
        )

    async def upkeep(self, now: int | None = None) -> None:
        """Ask members who have been disabled for a while; those who were asked and did not bounce are members again."""
        now = int(time.time()) if now is None else now
        directory = self._office.directory
        for list_id, member in list(directory.members_in_state("disabled")):
            recipient = directory.recipient(list_id)
            if recipient is None or not recipient.enabled or now - member.bounced < PROBE_AFTER:
                continue
            await self._probe(recipient, member)
            await directory.set_member_state(list_id, member.id, "probed", at=now)
        for list_id, member in list(directory.members_in_state("probed")):
            if now - member.bounced >= PROBE_WAIT:
                await directory.set_member_state(list_id, member.id, "", score=0.0)

    async def _probe(self, recipient: Recipient, member: Member) -> None:
        body = (
            f"Mail of the list {recipient.address} to you came back for a while, so you got none.\n"
            f"As this message has reached you, you will get it again in a few days; there is nothing you have to do.\n"
        )
        sender = self._office.with_token(recipient, "bounces", PROBE, member.id)
        answer = Answer(f"{recipient.name}: does this reach you?", body)
        await self._office.send(recipient, member.address, answer, counted=False, sender=sender)
