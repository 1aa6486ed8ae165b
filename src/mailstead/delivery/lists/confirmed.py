"""What an administrator let through or refused: messages that appear in a list's ConfirmedRequests (LST-01).

Invariants: only what this list put into its mailbox itself counts, whoever moved it there; a posting goes out once, because
it goes from here in the step that sends it; who is let in or refused hears of it in that step, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from mailstead.delivery.lists.office import CONFIRMED, REFUSED, Answer, Office
from mailstead.delivery.lists.outgoing import has_passed
from mailstead.delivery.lists.publishing import Publishing
from mailstead.delivery.lists.requests import Requests
from mailstead.directory.model import DirectoryError, Recipient, RecipientKind
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.model import Folder
from mailstead.message.headers import header_end
from mailstead.message.rewrite import with_fields
from mailstead.observe.log import fault, get_logger
from mailstead.store.submission import Unavailable

log = get_logger("PROCESSING")

AT_ONCE = 100


class Confirmed:
    """Watches the folders in the background process."""

    def __init__(self, office: Office, publishing: Publishing, requests: Requests, wake: Callable[[], None]) -> None:
        self._office = office
        self._publishing = publishing
        self._requests = requests
        self._wake = wake
        self._folders: dict[int, int] = {}
        """Folder that is listened to, by list."""
        self._changed: set[int] = set()
        self._strange: set[tuple[int, int]] = set()

    def _heard(self, folder: int, _modseq: int, _origin: object | None) -> None:
        self._changed.add(folder)
        self._wake()

    async def watch(self) -> None:
        """Listen to the folders of all lists that have one, and forget those of lists that are gone."""
        directory, mailbox = self._office.directory, self._office.mailbox
        rows = directory.database.query("SELECT id FROM recipient WHERE kind = 'list'")
        lists = {int(row[0]) for row in rows}
        for gone in set(self._folders) - lists:
            self._office.store.unlisten(self._folders.pop(gone), self._heard)
        for number, list_id in enumerate(sorted(lists)):
            if number % 20 == 0:
                await asyncio.sleep(0)
            recipient = directory.recipient(list_id)
            if list_id in self._folders or recipient is None:
                continue
            if not self._office.store.mail_index(recipient.shard).has_account(list_id):
                continue
            folder = await mailbox.folder(list_id, CONFIRMED)
            if folder is not None:
                self._folders[list_id] = folder.id
                self._office.store.listen(folder.id, self._heard)
                self._changed.add(folder.id)

    async def work(self) -> None:
        """Carry out what was let through."""
        while self._changed:
            folder = self._changed.pop()
            list_id = next((one for one, known in self._folders.items() if known == folder), 0)
            recipient = self._office.directory.recipient(list_id) if list_id else None
            if recipient is None or recipient.kind is not RecipientKind.LIST or not recipient.enabled:
                continue
            try:
                if await self.take(recipient):
                    self._changed.add(folder)
            except (MailboxError, DirectoryError, Unavailable, OSError) as error:
                log.error("confirmed request put off", list=recipient.address, reason=str(error))
            except Exception as error:
                fault(log, "confirmed request not carried out", error, list=recipient.address)

    def look_again(self) -> None:
        """Look at every folder the next time; a hint may have been lost, or something put off."""
        self._changed |= set(self._folders.values())

    async def take(self, recipient: Recipient) -> bool:
        """Carry out what lies in a list's folder; whether there may be more."""
        mailbox = self._office.mailbox
        folder = await mailbox.folder(recipient.id, CONFIRMED)
        if folder is None:
            return False
        view = await mailbox.open(folder)
        try:
            uids = [uid for uid in view.uids if (folder.id, uid) not in self._strange][:AT_ONCE]
            rows = mailbox.rows(view, uids, ("location",)) if uids else []
            found = [(uid, await mailbox.read_large(location)) for uid, location in rows[:1]]
        finally:
            view.release()
        for uid, octets in found:
            values = self._office.read_mark(recipient, octets[: header_end(octets)])
            if values is None:
                log.warning("a message in ConfirmedRequests is none of the list's", list=recipient.address, uid=uid)
                self._strange.add((folder.id, uid))
            elif values["kind"] == "post":
                await self._post(recipient, folder, uid, octets)
            else:
                to = values["address"]
                if values["kind"] == REFUSED:
                    to, answer = values["sender"], self._refusal(recipient, values)
                else:
                    answer = await self._requests.carry_out(recipient, values["kind"], values["address"], values["name"])
                await self._office.send(recipient, to, answer, with_targets=[self._office.removal(folder, [uid])])
        return len(uids) > 1

    def _refusal(self, recipient: Recipient, values: Mapping[str, str]) -> Answer:
        texts = self._office.values(
            recipient, email=values["address"], name=values["name"], command=values["what"], reason=values["reason"]
        )
        name = "autoRejectResponse" if values["what"] == "post" else "subscribeDenied"
        return self._office.template(recipient, name, texts)

    async def _post(self, recipient: Recipient, folder: Folder, uid: int, octets: bytes) -> None:
        octets = with_fields(octets, (b"x-list-request",))
        if has_passed(octets[: header_end(octets)], recipient):
            log.warning("an approved message has been through the list", list=recipient.address, uid=uid)
            self._strange.add((folder.id, uid))
            return
        await self._publishing.publish(recipient, octets, (), (folder, uid))
