"""The mailing lists of a process: verbs for every face, and the duties of the background process (LST-01).

Invariants: verbs check their actor; they work in every process; the duties run in one.
"""

from __future__ import annotations

import asyncio
import secrets

from mailstead.delivery.expansion import Expander
from mailstead.delivery.jobs import JobKind
from mailstead.delivery.lists.administration import Administration
from mailstead.delivery.lists.bounces import Bounces
from mailstead.delivery.lists.confirmed import Confirmed
from mailstead.delivery.lists.copies import LINK, Copies
from mailstead.delivery.lists.desk import Desk
from mailstead.delivery.lists.digest import Digests
from mailstead.delivery.lists.office import DIGEST, REQUESTS, Office, Waiting
from mailstead.delivery.lists.publishing import Publishing
from mailstead.delivery.lists.requests import Requests
from mailstead.delivery.service import Delivery
from mailstead.directory.model import DirectoryError, Member, NotFoundError, Recipient, RecipientKind
from mailstead.directory.service import Directory
from mailstead.mailbox.errors import MailboxError
from mailstead.observe.log import fault, get_logger
from mailstead.settings.actor import Actor
from mailstead.settings.database import SystemDatabaseError, Transaction
from mailstead.store.submission import Unavailable

log = get_logger("PROCESSING")

UPKEEP_SECONDS = 30.0
LOOK_SECONDS = 1.0
_SECRET = "tokenSecret"
_MANAGE = "manageMailListsMembers"


def token_secret(directory: Directory) -> bytes:
    """The secret of tokens: serverSecretKey, else one that is drawn once for a node. Blocking the first time."""
    chosen = str(directory.settings.peek("server").serverSecretKey)
    if chosen:
        return chosen.encode()
    row = directory.database.query_row("SELECT value FROM meta WHERE key = ?", (_SECRET,))
    if row is None:

        def draw(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", (_SECRET, secrets.token_hex(32))
            )

        directory.database.write_sync(draw)
        row = directory.database.query_row("SELECT value FROM meta WHERE key = ?", (_SECRET,))
    assert row is not None
    return str(row[0]).encode()


class Lists:
    """One per process."""

    def __init__(self, delivery: Delivery) -> None:
        self._directory = delivery.directory
        office = Office(delivery, token_secret(delivery.directory))
        self._requests = Requests(office)
        self._publishing = Publishing(office)
        self._bounces = Bounces(office)
        self._copies = Copies(office, self._bounces)
        self._administration = Administration(office)
        self._digests = Digests(office, self._publishing)
        self._desk = Desk(office, self._publishing, self._requests, self._bounces, self._administration, self._digests)
        self._wake = asyncio.Event()
        self._confirmed = Confirmed(office, self._publishing, self._requests, self._wake.set)
        self._delivery = delivery
        self._office = office

    # -- verbs --------------------------------------------------------------------------------------------------

    def _need(self, list_id: int, actor: Actor) -> Recipient:
        recipient = self._directory.recipient(list_id)
        if recipient is None or recipient.kind is not RecipientKind.LIST:
            raise NotFoundError(f"mailing list {list_id} does not exist")
        if actor.account_id != list_id:  # who has logged in as the list may do what its mailbox lets him do anyway
            actor.require(_MANAGE, recipient.domain_id)
        return recipient

    async def pending_posts(self, list_id: int, *, actor: Actor) -> list[Waiting]:
        """Postings and subscriptions that wait for the administrator. Raises NotFoundError, MailboxError."""
        return await self._administration.pending(self._need(list_id, actor))

    async def approve(self, list_id: int, uid: int, *, actor: Actor) -> Waiting:
        """Let through what waits; it is sent, or the member added, in the background. Raises NotFoundError, MessageMissing."""
        return await self._administration.approve(self._need(list_id, actor), uid)

    async def reject(self, list_id: int, uid: int, reason: str = "", *, actor: Actor) -> Waiting:
        """Refuse what waits, and say so to whoever asked. Raises NotFoundError, MessageMissing, Unavailable."""
        return await self._administration.reject(self._need(list_id, actor), uid, reason)

    def read_unsubscribe_token(self, token: str) -> tuple[Recipient, str] | None:
        """(list, member's address) of a link of a copy; None where it is not good, or its member has left."""
        found = self._read_token(token)
        return (found[0], found[1].address) if found is not None and found[1] is not None else None

    def _read_token(self, token: str) -> tuple[Recipient, Member | None, str] | None:
        """(list, its member where there still is one, the address the link was sent to). Whoever came back to the list under that
        address may use it again."""
        found = self._office.signer.read_text(LINK, token)
        if found is None:
            return None
        recipient = self._directory.recipient(found[0])
        number, address = found[1].get("member", ""), found[1].get("address", "")
        if recipient is None or recipient.kind is not RecipientKind.LIST or not number.isdigit():
            return None
        member = self._directory.member_by_id(recipient.id, int(number)) or self._directory.member(recipient.id, address)
        return recipient, member, address

    async def unsubscribe_with_token(self, token: str) -> str | None:
        """Unsubscribe the member of a link (RFC 8058); its address, or None where the link is not good. Providers may ask again, so
        who has left already is told the same."""
        found = self._read_token(token)
        if found is None:
            return None
        recipient, member, address = found
        if member is None:
            return address
        try:
            # The background process says goodbye, and ends the membership should this process not come to it.
            await self._office.submit([self._requests.leaving(recipient, member)], b"")
        except Unavailable as error:
            log.error("goodbye not sent", list=recipient.address, reason=str(error))
        await self._requests.carry_out(recipient, "unsubscribe", member.address, member.name)
        return member.address

    # -- duties -------------------------------------------------------------------------------------------------

    def expander(self) -> Expander:
        """Who carries out the jobs of lists and large groups; one process runs it."""
        made = Expander(
            self._delivery,
            {JobKind.LIST: self._desk.step, JobKind.COPIES: self._copies.step, JobKind.DIGEST: self._copies.step},
        )
        self._copies.expander = self._desk.expander = made
        return made

    async def run(self) -> None:
        """What is let through, digests, requests that expire, probes: until cancelled."""
        loop = asyncio.get_running_loop()
        upkeep = 0.0
        while True:
            self._wake.clear()
            try:
                if self._office.made_folder:
                    self._office.made_folder = False
                    await self._confirmed.watch()
                await self._confirmed.work()
                if loop.time() >= upkeep:
                    await self.upkeep()
                    upkeep = loop.time() + UPKEEP_SECONDS
            except (SystemDatabaseError, MailboxError, DirectoryError, Unavailable, OSError) as error:
                log.error("upkeep of mailing lists put off", reason=str(error))
            except Exception as error:
                fault(log, "upkeep of mailing lists failed", error)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def upkeep(self, now: float | None = None) -> None:
        """One round of everything that has its time."""
        await self._confirmed.watch()
        self._confirmed.look_again()
        await self._bounces.upkeep(None if now is None else int(now))
        rows = self._directory.database.query("SELECT id FROM recipient WHERE kind = 'list' AND enabled = 1")
        for (list_id,) in rows:
            recipient = self._directory.recipient(list_id)
            if recipient is None or not self._delivery.store.mail_index(recipient.shard).has_account(list_id):
                continue
            if await self._office.count(recipient, REQUESTS):
                await self._requests.expire(recipient)
            if await self._office.count(recipient, DIGEST):
                for _ in range(100):  # a digest has its largest size
                    if not await self._digests.send_due(recipient, now):
                        break
            await asyncio.sleep(0)
