"""What happens to mail for a list's addresses (LST-01): one job of the queue's index after the other.

Invariants
- A job ends in the record that carries out what it leads to, or with nothing where that is nothing. What cannot be one record goes
  by stages, each written with the record that reaches it, so that a crash neither loses nor repeats a word.
- A machine is never answered; whoever is, not more often than the list allows.
- The password of a list opens its commands for the mail that has it, and for no other; wrong ones are counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mailstead.delivery.expansion import Active, Expander, finish
from mailstead.delivery.lists.administration import Administration
from mailstead.delivery.lists.bounces import Bounces
from mailstead.delivery.lists.commands import Command, parse_commands
from mailstead.delivery.lists.copies import LEAVE
from mailstead.delivery.lists.held import Held
from mailstead.delivery.lists.office import Answer, Office
from mailstead.delivery.lists.posting import Decision, judge
from mailstead.delivery.lists.publishing import Publishing
from mailstead.delivery.lists.requests import LEAVING, Requests, leaving_stage
from mailstead.delivery.lists.sender import Writer, writer_of
from mailstead.delivery.stored import octets_of
from mailstead.directory.address import address_key
from mailstead.directory.model import DirectoryError, Recipient, RecipientKind
from mailstead.message.decode import decode_header, text_of, walk
from mailstead.message.headers import field_value
from mailstead.message.html_text import html_to_text
from mailstead.message.sections import load_parts
from mailstead.observe.log import get_logger

log = get_logger("PROCESSING")

MAX_BODY = 64 * 1024


class Desk:
    """Handler of the jobs LIST; see `expansion.Expander`."""

    def __init__(
        self, office: Office, publishing: Publishing, requests: Requests, bounces: Bounces, administration: Administration
    ) -> None:
        self._office = office
        self._publishing = publishing
        self._requests = requests
        self._bounces = bounces
        self._administration = administration
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
            case "subscribe" | "unsubscribe":
                await self._ask(active, recipient, writer, active.job.role)
            case _:
                await self._commands(active, recipient, writer)
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
                await self._answer(active, recipient, writer, office.template(recipient, "autoRejectResponse", values))
            case Decision.DROP:
                await finish(office.delivery, active.row)

    # -- requests -----------------------------------------------------------------------------------------------

    async def _answer(self, active: Active, recipient: Recipient, writer: Writer, answer: Answer) -> None:
        """Answer whoever sent the job's mail, and end the job."""
        office = self._office
        if writer.automatic:
            log.info("list does not answer a machine", list=recipient.address, reason=writer.automatic)
            await finish(office.delivery, active.row)
            return
        sent = await office.send(
            recipient, writer.address, answer, with_targets=[active.progress(None)], headers=_in_reply_to(active.mail.head)
        )
        if not sent:
            log.info("list answer not sent", list=recipient.address, to=writer.address)

    async def _dropped(self, active: Active, recipient: Recipient, writer: Writer) -> bool:
        """End a job whose writer is not answered: a machine, or somebody who has had all answers of the day."""
        if writer.automatic:
            log.info("mail of a machine dropped", list=recipient.address, reason=writer.automatic)
        elif not self._office.answers_left(recipient, writer.address):
            log.warning("list takes no more requests today", list=recipient.address, to=writer.address)
        else:
            return False
        await finish(self._office.delivery, active.row)
        return True

    async def _ask(self, active: Active, recipient: Recipient, writer: Writer, kind: str) -> None:
        if await self._dropped(active, recipient, writer):
            return
        answer = await self._requests.ask(recipient, kind, writer.address, writer.name, active.mail, active.mail.entry.sender)
        await self._answer(active, recipient, writer, answer)

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
            await self._answer(active, recipient, writer, office.template(recipient, "badConfirmation", values))

    async def _confirmed_request(self, active: Active, recipient: Recipient, token: str) -> None:
        """Do what a token confirms. Raises LookupError where it is not good, DirectoryError."""
        office = self._office
        folder, uid, values, octets = await self._requests.confirmed(recipient, token)
        if values["kind"] == "subscribe" and office.value(recipient, "adminConfirm"):
            await self._held.request(active, recipient, values, (folder.id, uid), octets)
            return
        answer = await self._requests.carry_out(recipient, values["kind"], values["address"], values["name"])
        done = [active.progress(None), office.removal(folder, [uid])]
        await office.send(recipient, values["address"], answer, with_targets=done)

    # -- commands -----------------------------------------------------------------------------------------------

    async def _commands(self, active: Active, recipient: Recipient, writer: Writer) -> None:
        if await self._dropped(active, recipient, writer):
            return
        octets = await octets_of(self._office.store, active.mail)
        subject = decode_header(field_value(active.mail.head, b"subject") or b"")
        text = await asyncio.to_thread(first_text, octets, active.mail.index.parts)
        commands = parse_commands(subject, text) or [Command("help", (), "help")]
        answers = await self._carry_out(active, recipient, writer, commands)
        await self._answer(active, recipient, writer, _joined(answers))

    async def _carry_out(self, active: Active, recipient: Recipient, writer: Writer, commands: Sequence[Command]) -> list[Answer]:
        office = self._office
        answers: list[Answer] = []
        trusted = False
        values = office.values(recipient, email=writer.address, name=writer.name)
        for command in commands:
            texts = {**values, "COMMAND": command.line, "REASON": command.reason}
            if command.name == "password":
                trusted = await self._administration.opens(recipient, command.words[0])
                if not trusted:
                    answers.append(Answer(f"{recipient.name}: password not accepted", "The password was not accepted.\n"))
                    break
            elif command.name == "unknown":
                answers.append(office.template(recipient, "unknownCommand", texts))
            elif command.name == "invalid":
                answers.append(office.template(recipient, "invalidFormat", texts))
            elif command.guarded:
                if not trusted:
                    answers.append(Answer(f"{recipient.name}: password needed", f'"{command.line}" needs the list\'s password.\n'))
                    break
                answers.append(await self._administration.carry_out(recipient, command))
            elif command.name in ("subscribe", "unsubscribe"):
                name = " ".join(command.words) or writer.name
                answers.append(
                    await self._requests.ask(recipient, command.name, writer.address, name, active.mail, active.mail.entry.sender)
                )
            elif command.name == "set":
                answers.append(await self._set(recipient, writer, command, values))
            elif command.name == "info":
                answers.append(_info(recipient, values))
            else:
                answers.append(_help(recipient, office.template(recipient, "unknownCommand", texts)))
        return answers

    async def _set(self, recipient: Recipient, writer: Writer, command: Command, values: dict[str, str]) -> Answer:
        """A member's wishes; they harm nobody, so the address a mail comes from is believed."""
        office = self._office
        known = office.directory.member_of(recipient.id, writer.address)
        if known is None:
            return office.template(recipient, "notAUser", values)
        on = command.words[1].lower() == "on"
        actor = office.actor(recipient)
        if command.words[0].lower() == "digest":
            await office.directory.update_member(recipient.id, known, digest=on, actor=actor)
            done = "digests instead of single messages" if on else "single messages"
        else:
            await office.directory.update_member(recipient.id, known, nomail=not on, actor=actor)
            done = "the list's mail" if on else "no mail until you switch it on again"
        return Answer(f"{recipient.name}: set", f"{known} gets {done}.\n")


def _info(recipient: Recipient, values: dict[str, str]) -> Answer:
    lines = [recipient.address, values["DESCRIPTION"], ""]
    lines += [f"{word.capitalize() + ':':13}{values[word.upper()]}" for word in ("subscribe", "unsubscribe", "request", "owner")]
    return Answer(f"{recipient.name}: about the list", "\n".join(lines) + "\n")


def _help(recipient: Recipient, unknown: Answer) -> Answer:
    """What the answer to an unknown command says of the known ones."""
    return Answer(f"{recipient.name}: help", unknown.body.partition("\n\n")[2] or unknown.body)


def first_text(octets: bytes, parts: bytes) -> str:
    """The first plain text of a message, else of its HTML; at most MAX_BODY octets of it."""
    found = ""
    for part in walk(load_parts(parts)):
        if part.type == "text" and part.subtype == "plain" and part.disposition != "attachment":
            return text_of(octets, part, MAX_BODY)
        if part.type == "text" and part.subtype == "html" and not found:
            found = html_to_text(text_of(octets, part, MAX_BODY))
    return found


def _joined(answers: Sequence[Answer]) -> Answer:
    if len(answers) == 1:
        return answers[0]
    confirming = [answer.reply_to for answer in answers if answer.reply_to]
    body = f"\n{'-' * 40}\n\n".join(answer.body for answer in answers)
    return Answer(answers[0].subject if answers else "", body, confirming[0] if len(confirming) == 1 else "")


def _in_reply_to(head: bytes) -> list[tuple[str, str]]:
    value = field_value(head, b"message-id")
    text = value.decode("ascii", "replace").strip() if value is not None else ""
    return [("In-Reply-To", text)] if text.startswith("<") and len(text) < 500 else []
