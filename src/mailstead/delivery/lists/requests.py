"""Subscribing and unsubscribing (LST-01).

Invariants
- Nobody becomes a member, or ceases to be one, by a mail that anybody could have written: a request waits in the list's
  mailbox until a signed address, known only to whoever reads the mail of the address concerned, is written to.
- A confirmation is good once and for a limited time: the request goes in the record that answers it. Confirming what is done
  already changes nothing, so that carrying it out again after a crash is the same.
- With `adminConfirm` a confirmed subscription waits for the administrator. Where the address to subscribe is not in use nobody
  becomes a member by himself, whichever way he asks; leaving is always possible.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping

from mailstead.delivery.expansion import Active, finish
from mailstead.delivery.lists.office import MAX_COUNTED, REQUESTS, Answer, Office
from mailstead.delivery.stored import StoredMail
from mailstead.directory.members import checked_member, checked_name
from mailstead.directory.model import InvalidNameError, Member, Recipient
from mailstead.mailbox.model import Folder
from mailstead.observe.log import get_logger
from mailstead.store.operations import Expunge, to_ranges
from mailstead.store.record import MessageHead, Target

log = get_logger("PROCESSING")

CONFIRM = "confirm"
LEAVING = "leaving"
"""Stage of a job of the list: the member whose number, address and name follow leaves."""


def leaving_stage(member: Member) -> tuple[str, ...]:
    """The stage in which a member leaves; see LEAVING."""
    return (LEAVING, str(member.id), member.address, member.name)


class Requests:
    """The verbs behind the addresses and commands."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._left: OrderedDict[tuple[int, str], None] = OrderedDict()
        """Memberships of which this process has said that they ended."""

    # -- asking -------------------------------------------------------------------------------------------------

    def settle(self, recipient: Recipient, kind: str, address: str, name: str) -> Answer | dict[str, str]:
        """What comes of a request (``kind``: subscribe or unsubscribe): the answer where nothing does, else what `ask` takes."""
        office = self._office
        values = office.values(recipient, email=address, name=name, command=kind)
        try:
            address = checked_member(address)
        except InvalidNameError:
            return office.template(recipient, "invalidUserName", values)
        known = office.directory.member_of(recipient.id, address)
        if kind == "subscribe" and known is not None:
            return office.template(recipient, "userAlreadySubscribed", values)
        if kind == "unsubscribe" and known is None:
            return office.template(recipient, "notAUser", values)
        if kind == "subscribe" and not self.open(recipient):
            return self.closed(recipient, address, name)
        return {"do": kind, "address": known or address, "name": checked_name(name), "mid": f"{office.store.new_id():x}"}

    def open(self, recipient: Recipient) -> bool:
        """Whether people may subscribe themselves: the address for it is in use (`enabledRcpts`)."""
        return bool(self._office.directory.list_address(recipient, "subscribe"))

    def closed(self, recipient: Recipient, address: str, name: str) -> Answer:
        """What whoever wants to subscribe to a list that is not open is told."""
        reason = "Nobody can subscribe to this list by mail; ask its administrator."
        values = self._office.values(recipient, email=address, name=name, command="subscribe", reason=reason)
        return self._office.template(recipient, "subscribeDenied", values)

    async def ask(self, recipient: Recipient, settled: Mapping[str, str], mail: StoredMail, *, again: bool = False) -> Answer:
        """Put a request away until it is confirmed, and say what its writer is told. ``again``: it may have been put away already.
        Raises MailboxError, Unavailable."""
        office = self._office
        kind, address, name, mid = (settled[key] for key in ("do", "address", "name", "mid"))
        values = office.values(recipient, email=address, name=name, command=kind)
        folder = await office.folder(recipient, REQUESTS)
        sender = mail.entry.sender
        uid = office.kept_at(recipient, folder, int(mid, 16)) if again else 0
        if not uid:
            target = office.into(folder, office.mark(recipient, kind, address, name, sender))
            target.mid = int(mid, 16)
            octets = mail.inline if not mail.external else mail.head + b"(the rest of this message is left out)\r\n"
            (outcome,) = await office.store.submit_message(MessageHead(sender, int(time.time()), [target]), octets, shown=True)
            if outcome.outcome:
                return office.template(recipient, "invalidFormat", {**values, "REASON": "the list cannot take requests now"})
            uid = outcome.uid
        confirm = office.with_token(recipient, "confirm", CONFIRM, uid)
        answer = office.template(recipient, "requestNeedsConfirmation", {**values, "CONFIRM": confirm})
        answer.reply_to = confirm
        return answer

    # -- confirming ---------------------------------------------------------------------------------------------

    async def confirmed(self, recipient: Recipient, token: str) -> tuple[Folder, int, dict[str, str], bytes]:
        """What a token confirms: (folder, UID, what its signed line says, octets). Raises LookupError, MailboxError."""
        office = self._office
        uid = office.signer.read_number(CONFIRM, recipient.id, token)
        folder = await office.folder(recipient, REQUESTS)
        found = await self._read(recipient, folder, uid) if uid is not None else None
        limit = int(office.value(recipient, "confirmInterval")) * 3600
        if uid is None or found is None or found[0] + limit < time.time():
            raise LookupError(token)
        return folder, uid, found[1], found[2]

    async def carry_out(self, recipient: Recipient, kind: str, address: str, name: str) -> Answer:
        """Make or end a membership, and what to say about it. Raises DirectoryError."""
        office = self._office
        texts = office.values(recipient, email=address, name=name, command=kind)
        actor = office.actor(recipient)
        if kind == "subscribe":
            await office.directory.add_members(recipient.id, {address: name}, actor=actor)
            log.info("subscribed to a list", list=recipient.address, member=address)
            return office.template(recipient, "welcome", texts)
        known = office.directory.member_of(recipient.id, address)
        await office.directory.remove_members(recipient.id, [known or address], actor=actor)
        log.info("unsubscribed from a list", list=recipient.address, member=address)
        return office.template(recipient, "goodbye", texts)

    def leaving(self, recipient: Recipient, member: Member) -> Target:
        """A target that ends a membership at once, and says so: a job of the list that has come to that stage."""
        return self._office.job_at(recipient, "confirm", *leaving_stage(member))

    async def leave(self, active: Active, recipient: Recipient) -> None:
        """The stage LEAVING: end the membership, unless that is done already, and say so. Raises DirectoryError, Unavailable."""
        _, number, address, name = active.job.path
        if (recipient.id, number) in self._left:  # the same link or address was used twice
            await finish(self._office.delivery, active.row)
            return
        member = self._office.directory.member_by_id(recipient.id, int(number))
        if member is not None:
            answer = await self.carry_out(recipient, "unsubscribe", member.address, member.name)
        else:
            texts = self._office.values(recipient, email=address, name=name, command="unsubscribe")
            answer = self._office.template(recipient, "goodbye", texts)
        await self._office.send(recipient, address, answer, with_targets=[active.progress(None)])
        self._left[recipient.id, number] = None
        while len(self._left) > MAX_COUNTED:
            self._left.popitem(last=False)

    # -- the folder of requests ---------------------------------------------------------------------------------

    async def _read(self, recipient: Recipient, folder: Folder, uid: int) -> tuple[int, dict[str, str], bytes] | None:
        """(arrival, what its signed line says, octets) of something that waits; None where it is not there."""
        mailbox = self._office.mailbox
        view = await mailbox.open(folder)
        try:
            for _, location, saved in mailbox.rows(view, [uid], ("location", "saved")):
                octets = await mailbox.read_large(location)
                values = self._office.read_mark(recipient, octets[:8192])
                return (int(saved), values, octets) if values is not None else None
        finally:
            view.release()
        return None

    async def remove(self, folder: Folder, uids: list[int]) -> None:
        """Take what is done with out of a folder. Raises Unavailable."""
        if uids:
            operation = Expunge(folder.shard, folder.id, to_ranges(sorted(uids)), True, int(time.time()))
            await self._office.store.change([operation])

    async def expire(self, recipient: Recipient) -> None:
        """Forget requests that nobody confirmed in time."""
        mailbox = self._office.mailbox
        folder = await mailbox.folder(recipient.id, REQUESTS)
        if folder is None:
            return
        before = time.time() - int(self._office.value(recipient, "confirmInterval")) * 3600
        view = await mailbox.open(folder)
        try:
            uids = list(view.uids)[:500]
            old = [uid for uid, saved in mailbox.rows(view, uids, ("saved",)) if saved < before] if uids else []
        finally:
            view.release()
        await self.remove(folder, old)
