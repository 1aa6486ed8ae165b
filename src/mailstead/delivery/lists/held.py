"""What waits for a list's administrator: held postings and confirmed subscriptions, and how both sides hear of them (LST-01).

Invariants
- What waits lies in PendingRequests in the record that takes it from where it came from: no crash loses or doubles it.
- Whoever asked hears once that it waits, or that it cannot; then the administrator hears once. Each is one record with the stage
  that the job has come to.

How: the job of the mail stays, with a stage in its ``path``: ("held", mid, kind, address, name, reason) when the record that puts
it away is written, ("told", number or "yes" or "no", ...) when whoever asked has been told: the number under which it waits, "yes"
where it does no more, "no" where it never did. Whether it was put away is asked of the index, for the mailbox may be full.
"""

from __future__ import annotations

from mailstead.delivery.expansion import Active
from mailstead.delivery.lists.office import CONFIRMED, PENDING, Answer, Office
from mailstead.delivery.lists.posting import Judged
from mailstead.delivery.lists.sender import Writer
from mailstead.directory.model import Recipient
from mailstead.mailbox.model import Folder
from mailstead.message.decode import decode_header
from mailstead.message.headers import field_value
from mailstead.message.rewrite import with_fields
from mailstead.store.record import MessageHead

HELD, TOLD = "held", "told"
_NO_ROOM = "it would have to wait for the moderator, and the mailbox of the list is full"
_MOVE = """{} it in the list's mailbox from PendingRequests to ConfirmedRequests to let it through,
or delete it there.
"""


class Held:
    """Puts away what waits, and tells."""

    def __init__(self, office: Office) -> None:
        self._office = office

    # -- putting away -------------------------------------------------------------------------------------------

    async def post(self, active: Active, recipient: Recipient, writer: Writer, judged: Judged) -> None:
        """A posting waits for the moderator. Raises MailboxError, Unavailable."""
        office, mail = self._office, active.mail
        folder = await self._folder(recipient)
        target = office.into(folder, office.mark(recipient, "post", writer.address, writer.name, mail.entry.sender))
        stage = active.stage(HELD, f"{target.mid:x}", "post", writer.address, writer.name, judged.reason)
        await office.delivery.store_copies(mail, [target, stage], mail.entry.sender)

    async def request(
        self, active: Active, recipient: Recipient, values: dict[str, str], place: tuple[int, int], octets: bytes
    ) -> None:
        """A confirmed subscription, at ``place`` (folder, UID) of the list's mailbox with what its signed line says, waits for the
        administrator instead. Raises MailboxError, Unavailable."""
        office = self._office
        folder = await self._folder(recipient)
        kind, address, name, sender = (values[key] for key in ("kind", "address", "name", "sender"))
        target = office.into(folder, office.mark(recipient, kind, address, name, sender))
        target.quota_size = target.quota_messages = 0  # it takes up what it took up before
        target.replaces_folder, target.replaces_uid = place
        stage = active.stage(HELD, f"{target.mid:x}", kind, address, name, "")
        head = MessageHead(sender, active.mail.entry.received, [target, stage])
        await office.store.submit_message(head, with_fields(octets, (b"x-list-request",)))

    async def _folder(self, recipient: Recipient) -> Folder:
        await self._office.folder(recipient, CONFIRMED)
        return await self._office.folder(recipient, PENDING)

    # -- telling ------------------------------------------------------------------------------------------------

    async def go_on(self, active: Active, recipient: Recipient, writer: Writer) -> bool:
        """The next stage; True when it was the last. Raises MailboxError, Unavailable."""
        stage, first, kind, address, name, reason = active.job.path
        if stage == HELD:
            kept = self._office.was_kept(recipient, int(first, 16))
            over = not kept and kind != "post"  # somebody else took the request away: there is nothing for the administrator
            number = await self._number(recipient, int(first, 16)) if kept else "no"
            told = active.progress(None) if over else active.stage(TOLD, number, kind, address, name, reason)
            to = address
            if kind == "post":
                to = "" if writer.automatic else active.mail.entry.sender
            values = self._office.values(recipient, email=address, name=name, command=kind, reason=reason)
            await self._office.send(recipient, to, self._answer(active, recipient, kind, kept, values), with_targets=[told])
            return over
        subject, body = self._notice(active, recipient, first, kind, address, name, reason)
        await self._office.tell_owner(recipient, subject, body, with_targets=[active.progress(None)])
        return True

    async def _number(self, recipient: Recipient, mid: int) -> str:
        """The number under which something waits; "yes" where it was dealt with already."""
        folder = await self._office.mailbox.folder(recipient.id, PENDING)
        uid = self._office.kept_at(recipient, folder, mid) if folder is not None else 0
        return str(uid) if uid else "yes"

    def _answer(self, active: Active, recipient: Recipient, kind: str, kept: bool, values: dict[str, str]) -> Answer:
        office = self._office
        if kind == "post":
            if not kept:
                return office.template(recipient, "autoRejectResponse", {**values, "REASON": _NO_ROOM})
            values["COMMAND"] = f"post the message \u201c{self._subject(active)}\u201d from"
        return office.template(recipient, "requestNeedsAdminConfirmation" if kept else "badConfirmation", values)

    def _notice(
        self, active: Active, recipient: Recipient, number: str, kind: str, address: str, name: str, reason: str
    ) -> tuple[str, str]:
        if number == "no":
            words = f"A message from {address} to {recipient.address} was refused: {_NO_ROOM}.\n"
            return f"{recipient.name}: the list's mailbox is full", words
        who, how = f"{name} <{address}>" if name else address, self._how(recipient, number)
        if kind == "post":
            return (
                f"{recipient.name}: a message waits",
                f"A message from {who} to {recipient.address} waits, because {reason}.\nSubject: {self._subject(active)}\n\n{how}",
            )
        return (
            f"{recipient.name}: {address} wants to subscribe",
            f"{who} confirmed the wish to become a member of {recipient.address}.\n\n{how}",
        )

    def _how(self, recipient: Recipient, number: str) -> str:
        """How to decide: by mail where the list takes commands, and in its mailbox."""
        request = self._office.directory.list_address(recipient, "request")
        if not request:
            return _MOVE.format("Move")
        if number.isdigit():
            aim, line, more = (
                "To let it through",
                f"approve {number}",
                f'To refuse it, send "reject {number} why" in place of the last one.',
            )
        else:
            aim, line, more = "To see what waits", "pending", 'It shows the numbers that "approve" and "reject" take.'
        told = f"{aim}, send these two lines to {request}:\n\n  password <the list's password>\n  {line}\n\n{more}\n"
        return told + "\n" + _MOVE.format("Or move")

    @staticmethod
    def _subject(active: Active) -> str:
        return decode_header(field_value(active.mail.head, b"subject") or b"")[:200]
