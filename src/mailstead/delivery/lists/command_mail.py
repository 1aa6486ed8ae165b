"""Carrying out the commands of a mail, one after the other, with one answer (LST-01).

Invariants
- However often the server is killed meanwhile, each command is carried out once, and the answer says of each what it would have
  said without.
- A machine is never answered; whoever is, not more often than the list allows.
- Of several wishes for the same of one member the last one is carried out and told, and those before it are not: each would be
  done with its effect, which the next one cannot take back.
- The password of a list opens its commands for the mail that has it, and for no other; wrong ones are counted. Without it a mail
  concerns its writer alone.

How: what a command is about to do is settled first (`_settled`), and is a stage of the job, with the answers so far, before it is
done. After a crash the job goes on with doing that, which looks whether it was done already; nothing is settled a second time.
Commands that change nothing have no stage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from mailstead.delivery.expansion import Active, finish
from mailstead.delivery.lists.administration import Administration
from mailstead.delivery.lists.commands import Command, parse_commands
from mailstead.delivery.lists.digest import REST, Digests
from mailstead.delivery.lists.office import Answer, Office
from mailstead.delivery.lists.requests import Requests
from mailstead.delivery.lists.sender import Writer
from mailstead.delivery.stored import octets_of
from mailstead.directory.address import address_key
from mailstead.directory.model import Recipient
from mailstead.message.decode import decode_header, text_of, walk
from mailstead.message.headers import field_value
from mailstead.message.html_text import html_to_text
from mailstead.message.sections import load_parts
from mailstead.observe.log import get_logger
from mailstead.store.record import Target

log = get_logger("PROCESSING")

COMMANDS = "commands"
"""Stage of a job of the list: how far the commands of its mail are follows."""
MAX_BODY = 64 * 1024
_BETWEEN = frozenset({"add", "remove", "password"})
_NO_MAIL = "no mail until it is switched on again"
_NOT_ACCEPTED = "The password was not accepted. It is the rest of its line; commands stand on lines of their own.\n"


class Progress(msgspec.Struct, array_like=True):
    """How far a mail is: ``settled`` is what its command number ``at`` does, ``answers`` (subject, body, reply-to) are those of
    the commands before. ``rest`` in ``settled`` is the last UID of what waits for the next digest that the member has had, where
    he is to get it."""

    at: int
    trusted: bool
    settled: dict[str, str]
    answers: list[tuple[str, str, str]]


class CommandMail:
    """Carries out the mails to a list's request, subscribe and unsubscribe addresses."""

    def __init__(self, office: Office, requests: Requests, administration: Administration, digests: Digests) -> None:
        self._office = office
        self._requests = requests
        self._administration = administration
        self._digests = digests

    async def work(self, active: Active, recipient: Recipient, writer: Writer) -> None:
        """The whole mail, or what a crash left of it. Raises MailboxError, DirectoryError, Unavailable, NotYet."""
        progress = Progress(0, False, {}, [])
        if active.job.path:
            progress = msgspec.json.decode(active.job.path[1], type=Progress)
        elif await self._dropped(active, recipient, writer):
            return
        answers = [Answer(*one) for one in progress.answers]
        trusted, at = progress.trusted, progress.at
        commands = await self._commands(active)
        if progress.settled:
            answers.append(await self._done(active, recipient, progress, again=True))
            at += 1
        for number, command in enumerate(commands[at:], at):
            if command.name == "password":
                trusted = await self._administration.opens(recipient, command.words)
                if not trusted:
                    answers.append(Answer(f"{recipient.name}: password not accepted", _NOT_ACCEPTED))
                    break
                continue
            if not trusted and (command.guarded or self._about_another(recipient, writer, command)):
                answers.append(Answer(f"{recipient.name}: password needed", f'"{command.line}" needs the list\'s password.\n'))
                break
            if self._overtaken(recipient, writer, command, commands[number + 1 :], trusted):
                continue
            settled = await self._settled(recipient, writer, command)
            if not isinstance(settled, Answer):
                told = [(one.subject, one.body, one.reply_to) for one in answers]
                progress = Progress(number, trusted, dict(settled), told)
                await self._office.submit([_stage(active, progress)], b"")
                settled = await self._done(active, recipient, progress)
            answers.append(settled)
        await self.answer(active, recipient, writer, _joined(answers))

    async def _commands(self, active: Active) -> list[Command]:
        role = active.job.role
        if role in ("subscribe", "unsubscribe"):
            return [Command(role, (), role)]
        octets = await octets_of(self._office.store, active.mail)
        subject = decode_header(field_value(active.mail.head, b"subject") or b"")
        text = await asyncio.to_thread(first_text, octets, active.mail.index.parts)
        return parse_commands(subject, text) or [Command("help", (), "help")]

    async def answer(self, active: Active, recipient: Recipient, writer: Writer, answer: Answer) -> None:
        """Answer whoever sent the job's mail, and end the job. Raises Unavailable."""
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

    # -- one command --------------------------------------------------------------------------------------------

    async def _settled(self, recipient: Recipient, writer: Writer, command: Command) -> Answer | Mapping[str, str]:
        """What a command does, or the answer of one that does nothing."""
        office = self._office
        values = office.values(recipient, email=writer.address, name=writer.name)
        texts = {**values, "COMMAND": command.line, "REASON": command.reason}
        match command.name:
            case "unknown":
                return office.template(recipient, "unknownCommand", texts)
            case "invalid":
                return office.template(recipient, "invalidFormat", texts)
            case "subscribe" | "unsubscribe":
                name = " ".join(command.words) or writer.name
                return self._requests.settle(recipient, command.name, writer.address, name)
            case "set":
                address = _whose(command, writer)
                known = office.directory.member_of(recipient.id, address)
                if known is None:
                    return office.template(recipient, "notAUser", {**values, "EMAIL": address})
                settled = {"do": "set", "address": known, "option": command.words[0].lower(), "value": command.words[1].lower()}
                member = office.directory.member(recipient.id, known)
                if (settled["option"], settled["value"]) == ("digest", "off") and member is not None and member.digest:
                    settled["rest"] = "0"
                return settled
            case "info":
                return _info(recipient, values)
            case _ if command.guarded:
                return await self._administration.settle(recipient, command)
            case _:
                return _help(recipient, office.template(recipient, "unknownCommand", texts))

    def _about_another(self, recipient: Recipient, writer: Writer, command: Command) -> bool:
        """Whether a command is about an address that is not the writer's, in any spelling of his here."""
        address = _whose(command, writer)
        if command.name != "set" or address_key(address) == address_key(writer.address):
            return False
        member_of = self._office.directory.member_of
        known = member_of(recipient.id, address)
        return known is None or known != member_of(recipient.id, writer.address)

    def _overtaken(
        self, recipient: Recipient, writer: Writer, command: Command, later: Sequence[Command], trusted: bool
    ) -> bool:
        """Whether a later command of the mail says anew what a wish says, with nothing between them that decides who is a member
        or where the reading ends."""
        if command.name != "set":
            return False
        for one in later:
            if one.name in _BETWEEN or (one.guarded and not trusted):
                return False
            if one.name != "set":
                continue
            if not trusted and self._about_another(recipient, writer, one):
                return False
            if one.words[0].lower() == command.words[0].lower() and self._same_member(recipient, writer, one, command):
                return True
        return False

    def _same_member(self, recipient: Recipient, writer: Writer, *commands: Command) -> bool:
        """Whether they are about one member, in whatever spellings."""
        addresses = {_whose(command, writer) for command in commands}
        known = {self._office.directory.member_of(recipient.id, address) or address_key(address) for address in addresses}
        return len(known) == 1

    async def _done(self, active: Active, recipient: Recipient, progress: Progress, again: bool = False) -> Answer:
        """Do what was settled, and what to say of it. ``again``: it may have been done already."""
        settled = progress.settled
        match settled["do"]:
            case "subscribe" | "unsubscribe":
                return await self._requests.ask(recipient, settled, active.mail, again=again)
            case "set" if (settled["option"], settled["value"]) == ("digest", "off"):
                return await self._digest_off(active, recipient, progress)
            case "set":
                return await self._set(recipient, settled)
            case _:
                return await self._administration.carry_out(recipient, settled, again=again)

    async def _set(self, recipient: Recipient, settled: Mapping[str, str]) -> Answer:
        """A member's wishes; his own harm nobody, so the address a mail comes from is believed."""
        office, known, on = self._office, settled["address"], settled["value"] == "on"
        if settled["option"] == "digest":
            await self._digests.switch(recipient, known, digest=on)
        elif office.directory.member(recipient.id, known) is not None:
            await office.directory.update_member(recipient.id, known, nomail=not on, actor=office.actor(recipient))
        return self._told(recipient, settled)

    def _told(self, recipient: Recipient, settled: Mapping[str, str], more: str = "") -> Answer:
        """What a member gets now."""
        known = settled["address"]
        member = self._office.directory.member(recipient.id, known)
        if member is None:
            return self._office.template(recipient, "notAUser", self._office.values(recipient, email=known))
        if settled["option"] == "digest":
            told = f"{known} gets {'digests instead of single messages' if member.digest else 'single messages'}.\n{more}"
            told += f"{known} gets {_NO_MAIL}.\n" if member.nomail else ""
        elif member.nomail:
            told = f"{known} gets {_NO_MAIL}.\n"
        else:
            told = f"{known} gets the list's mail{', in digests' if member.digest else ''}.\n"
        return Answer(f"{recipient.name}: set", told)

    async def _digest_off(self, active: Active, recipient: Recipient, progress: Progress) -> Answer:
        """Single messages from now on, and what waits for the next digest, which is none of his. The wish comes first: what is
        published meanwhile comes by itself."""
        settled, known = progress.settled, progress.settled["address"]
        await self._digests.switch(recipient, known, digest=False)
        more = ""
        member = self._office.directory.member(recipient.id, known)
        if "rest" in settled and member is not None:

            def given(uid: int) -> Target:
                settled["rest"] = str(uid)
                return _stage(active, progress)

            if await self._digests.give_rest(recipient, member, int(settled["rest"]), given):
                more = "What waited for the next digest is sent as well.\n"
        return self._told(recipient, settled, more)


def _whose(command: Command, writer: Writer) -> str:
    """The address that a `set` is about."""
    return command.words[2] if len(command.words) > 2 else writer.address


def _stage(active: Active, progress: Progress) -> Target:
    words = (REST,) if "rest" in progress.settled else ()
    return active.stage(COMMANDS, msgspec.json.encode(progress).decode(), *words)


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
