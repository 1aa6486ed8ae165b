"""What an administrator does with a list, by verbs or by mail with the list's password (LST-01).

Invariants: approving moves what waits from PendingRequests to ConfirmedRequests, as an administrator may by IMAP, and the
background process does the rest; a wrong password is counted, and after MAX_WRONG of a day none is looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

from mailstead.delivery.lists.commands import Command
from mailstead.delivery.lists.office import CONFIRMED, MAX_HEAD, PENDING, Answer, Office, Waiting
from mailstead.delivery.lists.requests import Requests
from mailstead.directory.model import DirectoryError, Recipient
from mailstead.identity.passwords import verify
from mailstead.mailbox.errors import MailboxError, MessageMissing
from mailstead.message.decode import decode_header
from mailstead.message.headers import field_value, header_end

MAX_WRONG = 20
SHOWN = 200
WHO = 2000
DAY = 86_400


class Administration:
    """Verbs on what waits."""

    def __init__(self, office: Office, requests: Requests) -> None:
        self._office = office
        self._requests = requests
        self._wrong: OrderedDict[int, tuple[int, int]] = OrderedDict()

    # -- verbs --------------------------------------------------------------------------------------------------

    async def pending(self, recipient: Recipient, limit: int = SHOWN) -> list[Waiting]:
        """What waits for the administrator, the oldest first. Raises MailboxError."""
        mailbox = self._office.mailbox
        folder = await mailbox.folder(recipient.id, PENDING)
        if folder is None:
            return []
        view = await mailbox.open(folder)
        found: list[Waiting] = []
        try:
            uids = list(view.uids)[:limit]
            for uid, location, size, saved in mailbox.rows(view, uids, ("location", "size", "saved")) if uids else ():
                octets = await mailbox.read_large(location, 0, min(location.size, MAX_HEAD))
                head = octets[: header_end(octets)]
                values = self._office.read_mark(recipient, head)
                if values is not None:
                    subject = decode_header(field_value(head, b"subject") or b"")[:500]
                    found.append(
                        Waiting(uid, values["kind"], values["address"], values["name"], values["sender"], subject, saved, size)
                    )
        finally:
            view.release()
        return found

    async def approve(self, recipient: Recipient, uid: int) -> Waiting:
        """Let through what waits. Raises MessageMissing, MailboxError."""
        waiting = await self._one(recipient, uid)
        mailbox = self._office.mailbox
        target = await self._office.folder(recipient, CONFIRMED)
        view = await mailbox.open(await self._office.folder(recipient, PENDING))
        try:
            moved = await mailbox.move(view, [uid], target)
        finally:
            view.release()
        if not moved.source_uids:
            raise MessageMissing("it does not wait any more")
        return waiting

    async def reject(self, recipient: Recipient, uid: int, reason: str = "") -> Waiting:
        """Refuse what waits, and tell whoever it came from. Raises MessageMissing, MailboxError, Unavailable."""
        office = self._office
        waiting = await self._one(recipient, uid)
        folder = await office.folder(recipient, PENDING)
        reason = reason or "the administrator of the list refused it"
        values = office.values(recipient, email=waiting.address, name=waiting.name, command=waiting.kind, reason=reason)
        name = "autoRejectResponse" if waiting.kind == "post" else "subscribeDenied"
        to = waiting.sender if waiting.kind == "post" else waiting.address
        plan, octets = await office.answering(recipient, to, office.template(recipient, name, values))
        removed, *_ = await office.submit([office.removal(folder, [uid])], octets, plan=plan)
        if removed.outcome:
            raise MessageMissing("it does not wait any more")
        return waiting

    async def _one(self, recipient: Recipient, uid: int) -> Waiting:
        for waiting in await self.pending(recipient, 100_000):
            if waiting.uid == uid:
                return waiting
        raise MessageMissing(f"nothing waits under the number {uid}")

    # -- by mail ------------------------------------------------------------------------------------------------

    async def opens(self, recipient: Recipient, password: str) -> bool:
        """Whether a password is the list's."""
        today = int(time.time()) // DAY
        day, wrong = self._wrong.get(recipient.id, (today, 0))
        if day == today and wrong >= MAX_WRONG:
            return False
        credentials = self._office.directory.credentials(recipient.id)
        stored = credentials.password if credentials is not None else ""
        if stored:
            right: bool = await asyncio.to_thread(verify, password, stored)
            if right:
                return True
        self._wrong[recipient.id] = (today, wrong + 1 if day == today else 1)
        while len(self._wrong) > 10_000:
            self._wrong.popitem(last=False)
        return False

    async def carry_out(self, recipient: Recipient, command: Command) -> Answer:
        """A command of the administrator, whose password was right."""
        try:
            return Answer(f"{recipient.name}: {command.name}", await self._done(recipient, command))
        except (DirectoryError, MailboxError) as error:
            return Answer(f"{recipient.name}: {command.name}", f'"{command.line}": {error}\n')

    async def _done(self, recipient: Recipient, command: Command) -> str:
        directory, words = self._office.directory, command.words
        actor = self._office.actor(recipient)
        match command.name:
            case "who":
                after = words[0] if words else ""
                members = directory.member_page(recipient.id, after, WHO)
                lines = [f"{member.address}  {member.name}".rstrip() for member in members]
                more = f"\nFor those behind: who {members[-1].address}\n" if len(members) == WHO else ""
                return f"{directory.member_count(recipient.id)} members\n\n" + "\n".join(lines) + "\n" + more
            case "add":
                await directory.add_members(recipient.id, {words[0]: " ".join(words[1:])}, actor=actor)
                return f"{words[0]} is a member.\n"
            case "remove":
                known = directory.member_of(recipient.id, words[0])
                count = await directory.remove_members(recipient.id, [known or words[0]], actor=actor)
                return f"{words[0]} is no member any more.\n" if count else f"{words[0]} was no member.\n"
            case "pending":
                found = await self.pending(recipient)
                return "".join(f"{one.uid}  {one.kind}  {one.address}  {one.subject}\n" for one in found) or "Nothing waits.\n"
            case "approve":
                waiting = await self.approve(recipient, int(words[0]))
                return f"approved: {waiting.kind} of {waiting.address}\n"
            case _:
                waiting = await self.reject(recipient, int(words[0]), " ".join(words[1:]))
                return f"rejected: {waiting.kind} of {waiting.address}\n"
