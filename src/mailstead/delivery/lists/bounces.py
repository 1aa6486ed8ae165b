"""Mail of a list that comes back (LST-01): whose it is, how bad it is, and when a member gets no more.

Invariants
- Only the signed number in the address says which member a bounce is about; what a report claims is not believed without.
- A day counts once, and a refusal for good counts more than one for now; without news for a month all is forgotten.
- Nobody is removed before a message to ask (a probe) came back as well; the administrator hears of each step once: what is to be
  done is a stage of a job, and that he was told is another.
"""

from __future__ import annotations

import time

from mailstead.delivery.expansion import Active, finish
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
DISABLE, REMOVE = "disable", "remove"
_TOLD = {DISABLE: "disable, told", REMOVE: "remove, told"}
Stage = tuple[str, ...]
"""What is to be done, the member's number and address, and why; empty for nothing."""
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

    async def take(self, recipient: Recipient, token: str, octets: bytes, head: bytes, sender: str) -> tuple[str, Stage]:
        """A message to the bounces address with what stood behind its plus sign; in words what was done, and what is to be done."""
        directory, signer = self._office.directory, self._office.signer
        probe = signer.read_number(PROBE, recipient.id, token)
        number = probe if probe is not None else signer.read_number("bounce", recipient.id, token)
        member = directory.member_by_id(recipient.id, number) if number is not None else None
        if member is None:
            return "no member's", ()
        reports = read_report(octets)
        points = points_of(reports)
        if not reports:
            if sender or auto_submitted(head) == "auto-replied":
                return "an automatic answer", ()
            points = SOFT  # some mail systems still write their bounces as they like
        if not points:
            return "nothing failed", ()
        reason = next((f"{one.status} {one.diagnostic}".strip() for one in reports if one.action == "failed"), "it came back")
        if probe is not None and member.state == "probed":
            return "it came back to the probe", (REMOVE, str(member.id), member.address, reason[:500])
        return f"counted {points}", await self._counted(recipient, member, points, reason)

    async def count(self, recipient: Recipient, member: Member | None, points: float, reason: str) -> None:
        """Count a bounce of a member, and disable it where that is one too many."""
        stage = await self._counted(recipient, member, points, reason) if member is not None else ()
        if stage:
            await self._office.submit([self._office.job_at(recipient, "bounces", *stage)], b"")

    async def _counted(self, recipient: Recipient, member: Member, points: float, reason: str) -> Stage:
        found = await self._office.directory.note_bounce(recipient.id, member.id, points, int(time.time()), forget=FORGET)
        threshold = int(self._office.value(recipient, "bounceThreshold"))
        log.info("list mail came back", list=recipient.address, member=member.address, points=points, reason=reason[:200])
        if found is None or found.state or not threshold or found.score < threshold:
            return ()
        return (DISABLE, str(member.id), found.address, reason[:500])

    async def act(self, active: Active, recipient: Recipient) -> None:
        """The stages of a job: tell the administrator, then do it; nothing where it was done by another. Raises Unavailable."""
        directory = self._office.directory
        stage, number, address, reason = active.job.path
        member = directory.member_by_id(recipient.id, int(number))
        if stage in (DISABLE, REMOVE) and member is not None and (stage == REMOVE or not member.state):
            subject, body = self._notice(recipient, stage, address, reason)
            stage = _TOLD[stage]
            told = active.stage(stage, number, address, reason)
            await self._office.tell_owner(recipient, subject, body, with_targets=[told])
        if stage == _TOLD[DISABLE]:
            await directory.set_member_state(recipient.id, int(number), "disabled")
        elif stage == _TOLD[REMOVE] and member is not None:
            await directory.remove_members(recipient.id, [member.address], actor=self._office.actor(recipient))
        await finish(self._office.delivery, active.row)

    def _notice(self, recipient: Recipient, stage: str, address: str, reason: str) -> tuple[str, str]:
        if stage == DISABLE:
            return (
                f"{recipient.name}: mail to {address} comes back",
                f"Mail of the list {recipient.address} to its member {address} came back too often.\n"
                f"It gets no more mail, and will be asked once before it is removed.\n\nThe last reason: {reason}\n",
            )
        return (
            f"{recipient.name}: {address} was removed",
            f"The message that asked {address} whether it still gets mail came back,\n"
            f"so it is no longer a member of {recipient.address}.\n\nThe reason: {reason}\n",
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
