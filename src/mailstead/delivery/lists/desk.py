"""What happens to mail for a list's addresses (LST-01): one job of the queue's index after the other.

Invariants
- A job ends in the record that carries out what it leads to, or with nothing where that is nothing. What cannot be one record goes
  by stages, each written with the record that reaches it, so that a crash neither loses nor repeats a word.
"""

from __future__ import annotations

from mailstead.delivery.expansion import Active, Expander, finish
from mailstead.delivery.lists.administration import Administration
from mailstead.delivery.lists.bounces import Bounces
from mailstead.delivery.lists.command_mail import COMMANDS, CommandMail
from mailstead.delivery.lists.copies import LEAVE
from mailstead.delivery.lists.digest import Digests
from mailstead.delivery.lists.held import Held
from mailstead.delivery.lists.office import Office
from mailstead.delivery.lists.posting import Decision, judge
from mailstead.delivery.lists.publishing import Publishing
from mailstead.delivery.lists.requests import LEAVING, Requests, leaving_stage
from mailstead.delivery.lists.sender import Writer, writer_of
from mailstead.delivery.stored import octets_of
from mailstead.directory.address import address_key
from mailstead.directory.model import DirectoryError, Recipient, RecipientKind
from mailstead.message.sections import load_parts
from mailstead.observe.log import get_logger

log = get_logger("PROCESSING")


class Desk:
    """Handler of the jobs LIST; see `expansion.Expander`."""

    def __init__(
        self, office: Office, publishing: Publishing, requests: Requests, bounces: Bounces, administration: Administration,
        digests: Digests,
    ) -> None:  # fmt: skip
        self._office = office
        self._publishing = publishing
        self._requests = requests
        self._bounces = bounces
        self._command_mail = CommandMail(office, requests, administration, digests)
        self._held = Held(office)
        self.expander: Expander

    async def step(self, active: Active) -> bool:
        """A job, or the next stage of one."""
        recipient = self._office.directory.recipient(active.job.object_id)
        if recipient is None or recipient.kind is not RecipientKind.LIST or not recipient.enabled:
            log.info("mail of a list that is gone or disabled refused", message=active.row.mid)
            await self.expander.refuse(active)
            return True
        writer = writer_of(active.mail.head, active.mail.entry.sender)
        if active.job.path[:1] == (LEAVING,):
            await self._requests.leave(active, recipient)
            return True
        if active.job.path[:1] == (COMMANDS,):
            await self._command_mail.work(active, recipient, writer)
            return True
        if active.job.path and active.job.role == "bounces":
            await self._bounces.act(active, recipient)
            return True
        if active.job.path:
            return await self._held.go_on(active, recipient, writer)
        match active.job.role:
            case "":
                await self._post(active, recipient, writer)
            case "bounces":
                octets = await octets_of(self._office.store, active.mail)
                done, stage = await self._bounces.take(
                    recipient, active.job.token, octets, active.mail.head, active.mail.entry.sender
                )
                log.info("bounce of a list", list=recipient.address, done=done)
                if stage:
                    await self._office.submit([active.stage(*stage)], b"")
                else:
                    await finish(self._office.delivery, active.row)
            case "confirm":
                await self._confirm(active, recipient, writer)
            case _:
                await self._command_mail.work(active, recipient, writer)
                return True
        return not active.job.path

    # -- posting ------------------------------------------------------------------------------------------------

    async def _post(self, active: Active, recipient: Recipient, writer: Writer) -> None:
        office, mail, job = self._office, active.mail, active.job
        login = office.directory.account_by_address(job.login) if job.login else None
        sender = mail.entry.sender
        may_send = office.directory.may_send_to(recipient, sender, login) or (
            login is None and office.directory.may_send_to(recipient, writer.address, None)
        )
        admin = str(office.value(recipient, "adminEmail"))
        judged = judge(
            mail.head,
            load_parts(mail.index.parts),
            mail.index.size,
            sender,
            writer,
            recipient,
            member=office.directory.is_member(recipient, writer.address),
            may_send=may_send,
            trusted=login is not None and bool(admin) and address_key(admin) == address_key(login.address),
        )
        log.info("posting to a list", list=recipient.address, decision=judged.decision.value, reason=judged.reason, sender=sender)
        match judged.decision:
            case Decision.SEND:
                octets = await octets_of(office.store, mail)
                await self._publishing.publish(recipient, octets, [active.progress(None)], utf8=job.utf8)
            case Decision.HOLD:
                await self._held.post(active, recipient, writer, judged)
            case Decision.REJECT:
                values = office.values(recipient, email=writer.address, name=writer.name, reason=judged.reason)
                await self._command_mail.answer(active, recipient, writer, office.template(recipient, "autoRejectResponse", values))
            case Decision.DROP:
                await finish(office.delivery, active.row)

    # -- requests -----------------------------------------------------------------------------------------------

    async def _confirm(self, active: Active, recipient: Recipient, writer: Writer) -> None:
        office, token = self._office, active.job.token
        number = office.signer.read_number(LEAVE, recipient.id, token)
        if number is not None:
            # The link of a member's own copy; mail programs and providers write to it by themselves.
            member = office.directory.member_by_id(recipient.id, number)
            if member is None:
                await finish(office.delivery, active.row)
            else:
                await office.submit([active.stage(*leaving_stage(member))], b"")
            return
        if writer.automatic:
            await finish(office.delivery, active.row)
            return
        try:
            await self._confirmed_request(active, recipient, token)
        except (LookupError, DirectoryError):
            values = office.values(recipient, email=writer.address, name=writer.name)
            await self._command_mail.answer(active, recipient, writer, office.template(recipient, "badConfirmation", values))

    async def _confirmed_request(self, active: Active, recipient: Recipient, token: str) -> None:
        """Do what a token confirms. Raises LookupError where it is not good, DirectoryError."""
        office = self._office
        folder, uid, values, octets = await self._requests.confirmed(recipient, token)
        if values["kind"] == "subscribe" and not self._requests.open(recipient):  # it was closed meanwhile
            answer = self._requests.closed(recipient, values["address"], values["name"])
        elif values["kind"] == "subscribe" and office.value(recipient, "adminConfirm"):
            await self._held.request(active, recipient, values, (folder.id, uid), octets)
            return
        else:
            answer = await self._requests.carry_out(recipient, values["kind"], values["address"], values["name"])
        done = [active.progress(None), office.removal(folder, [uid])]
        await office.send(recipient, values["address"], answer, with_targets=done)
