"""What an administrator does with a list, by verbs or by mail with the list's password (LST-01).

Invariants
- Approving moves what waits from PendingRequests to ConfirmedRequests, as an administrator may by IMAP; refusing puts a refusal
  there in its place. Either takes it from PendingRequests in its step, so of several administrators, in whatever processes, one
  acts and the others hear that it was dealt with. The background process does the rest.
- A wrong password is counted, and after MAX_WRONG of a day none is looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from mailstead.delivery.lists.commands import Command
from mailstead.delivery.lists.office import CONFIRMED, MAX_HEAD, PENDING, REFUSED, Answer, Office, Waiting
from mailstead.directory.members import checked_member
from mailstead.directory.model import DirectoryError, Recipient
from mailstead.identity.passwords import verify
from mailstead.mailbox.errors import MailboxError, MessageMissing
from mailstead.message.decode import decode_header
from mailstead.message.headers import field_value, header_end

MAX_WRONG = 20
SHOWN = 200
WHO = 2000
DAY = 86_400
CLOCK = 3600
"""Seconds by which the clock may have been set back."""


class Administration:
    """Verbs on what waits."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._wrong: OrderedDict[int, tuple[int, int]] = OrderedDict()

    # -- verbs --------------------------------------------------------------------------------------------------

    async def pending(self, recipient: Recipient, limit: int = SHOWN) -> list[Waiting]:
        """What waits for the administrator, the oldest first. Raises MailboxError."""
        return await self._waiting(recipient, limit)

    async def _waiting(self, recipient: Recipient, limit: int, uid: int = 0) -> list[Waiting]:
        """The first things that wait, or the one with that UID."""
        mailbox = self._office.mailbox
        folder = await mailbox.folder(recipient.id, PENDING)
        if folder is None:
            return []
        view = await mailbox.open(folder)
        found: list[Waiting] = []
        try:
            uids = [uid] if uid else list(view.uids)[:limit]
            for number, location, size, saved in mailbox.rows(view, uids, ("location", "size", "saved")) if uids else ():
                octets = await mailbox.read_large(location, 0, min(location.size, MAX_HEAD))
                head = octets[: header_end(octets)]
                values = self._office.read_mark(recipient, head)
                if values is not None:
                    subject = decode_header(field_value(head, b"subject") or b"")[:500]
                    found.append(
                        Waiting(number, values["kind"], values["address"], values["name"], values["sender"], subject, saved, size)
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
            raise _dealt_with(uid)
        return waiting

    async def reject(self, recipient: Recipient, uid: int, reason: str = "", mid: int = 0) -> Waiting:
        """Refuse what waits; whoever it came from hears of it in the background. ``mid``: id of the refusal. Raises
        MessageMissing, MailboxError, Unavailable."""
        office = self._office
        waiting = await self._one(recipient, uid)
        folder = await office.folder(recipient, PENDING)
        reason = reason or "the administrator of the list refused it"
        to = waiting.sender if waiting.kind == "post" else waiting.address
        mark = office.mark(recipient, REFUSED, waiting.address, waiting.name, to, what=waiting.kind, reason=reason[:1000])
        target = office.into(await office.folder(recipient, CONFIRMED), mark)
        target.mid = mid or target.mid
        target.quota_size = target.quota_messages = 0  # it takes up less than what it replaces
        target.replaces_folder, target.replaces_uid = folder.id, uid
        (refused,) = await office.submit([target], b"Subject: refused\r\n\r\n")
        if refused.outcome:
            raise _dealt_with(uid)
        return waiting

    async def _one(self, recipient: Recipient, uid: int) -> Waiting:
        for waiting in await self._waiting(recipient, 1, uid) if uid else ():
            return waiting
        folder = await self._office.mailbox.folder(recipient.id, PENDING)
        if folder is not None and 0 < uid < (await self._office.mailbox.status(folder)).uidnext:
            raise _dealt_with(uid)
        raise MessageMissing(f"nothing waits under the number {uid}")

    # -- by mail ------------------------------------------------------------------------------------------------

    async def opens(self, recipient: Recipient, readings: Sequence[str]) -> bool:
        """Whether a password, in one of the ways to read it, is the list's."""
        today = int(time.time()) // DAY
        day, wrong = self._wrong.get(recipient.id, (today, 0))
        if day == today and wrong >= MAX_WRONG:
            return False
        credentials = self._office.directory.credentials(recipient.id)
        stored = credentials.password if credentials is not None else ""
        for password in readings if stored else ():
            right: bool = await asyncio.to_thread(verify, password, stored)
            if right:
                return True
        self._wrong[recipient.id] = (today, wrong + 1 if day == today else 1)
        while len(self._wrong) > 10_000:
            self._wrong.popitem(last=False)
        return False

    async def settle(self, recipient: Recipient, command: Command) -> Answer | dict[str, str]:
        """What a command of the administrator, whose password was right, does; the answer of one that does nothing."""
        try:
            settled = await self._settled(recipient, command)
        except (DirectoryError, MailboxError) as error:
            return _failed(recipient, command.name, command.line, error)
        return Answer(f"{recipient.name}: {command.name}", settled) if isinstance(settled, str) else settled

    async def _settled(self, recipient: Recipient, command: Command) -> str | dict[str, str]:
        directory, words = self._office.directory, command.words
        settled = {"do": command.name, "line": command.line, "at": str(int(time.time()))}
        match command.name:
            case "who":
                after = words[0] if words else ""
                members = directory.member_page(recipient.id, after, WHO)
                lines = [f"{member.address}  {member.name}".rstrip() for member in members]
                more = f"\nFor those behind: who {members[-1].address}\n" if len(members) == WHO else ""
                return f"{directory.member_count(recipient.id)} members\n\n" + "\n".join(lines) + "\n" + more
            case "add":
                return {**settled, "address": checked_member(words[0]), "shown": words[0], "name": " ".join(words[1:])}
            case "remove":
                known = directory.member_of(recipient.id, checked_member(words[0]))
                if known is None:
                    return f"{words[0]} was no member.\n"
                return {**settled, "address": known, "shown": words[0]}
            case "pending":
                found = await self.pending(recipient)
                return "".join(f"{one.uid}  {one.kind}  {one.address}  {one.subject}\n" for one in found) or "Nothing waits.\n"
            case _:
                waiting = await self._one(recipient, int(words[0]))
                settled |= {"uid": str(waiting.uid), "kind": waiting.kind, "address": waiting.address}
                return {**settled, "reason": " ".join(words[1:]), "mid": f"{self._office.store.new_id():x}"}

    async def carry_out(self, recipient: Recipient, settled: Mapping[str, str], *, again: bool = False) -> Answer:
        """Do what was settled, and what to say of it. ``again``: it may have been done already. Raises Unavailable."""
        try:
            told = await self._done(recipient, settled, again)
        except (DirectoryError, MailboxError) as error:
            return _failed(recipient, settled["do"], settled["line"], error)
        return Answer(f"{recipient.name}: {settled['do']}", told)

    async def _done(self, recipient: Recipient, settled: Mapping[str, str], again: bool) -> str:
        directory, actor = self._office.directory, self._office.actor(recipient)
        match settled["do"]:
            case "add":
                await directory.add_members(recipient.id, {settled["address"]: settled["name"]}, actor=actor)
                return f"{settled['shown']} is a member.\n"
            case "remove":
                await directory.remove_members(recipient.id, [settled["address"]], actor=actor)
                return f"{settled['shown']} is no member any more.\n"
            case "approve":
                if not again or not await self._was_approved(recipient, settled):
                    await self.approve(recipient, int(settled["uid"]))
                return f"approved: {settled['kind']} of {settled['address']}\n"
            case _:
                mid = int(settled["mid"], 16)
                if not again or not self._office.was_kept(recipient, mid):
                    await self.reject(recipient, int(settled["uid"]), settled["reason"], mid)
                return f"rejected: {settled['kind']} of {settled['address']}\n"

    async def _was_approved(self, recipient: Recipient, settled: Mapping[str, str]) -> bool:
        """Whether what waited was let through since that was settled; only what was refused or thrown away was removed."""
        uid, since = int(settled["uid"]), int(settled["at"]) - CLOCK
        folder = await self._office.folder(recipient, PENDING)
        if await self._waiting(recipient, 1, uid):
            return False
        return not self._office.was_removed(recipient, folder, uid, since)


def _dealt_with(uid: int) -> MessageMissing:
    return MessageMissing(f"what waited under the number {uid} was dealt with already")


def _failed(recipient: Recipient, name: str, line: str, error: Exception) -> Answer:
    return Answer(f"{recipient.name}: {name}", f'"{line}": {error}\n')
