"""From recipients to the targets of a log record: duplicates removed, groups and lists expanded.

Invariants
- A mailbox folder gets a message once, however many of its addresses are recipients; so does a remote address.
- ``origins[i]`` names the recipient that target ``i`` stands for, so that a refusal finds its sender.
- Expansion yields to the event loop; it ends whatever members point at whom (the directory sees to it).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from mailstead.delivery.model import AcceptedMessage, EnvelopeRecipient, Result
from mailstead.directory.model import RecipientKind, Resolution
from mailstead.directory.service import Directory
from mailstead.mailbox.model import Folder
from mailstead.mailbox.names import canonical
from mailstead.mailbox.service import Mailbox
from mailstead.message.index import MessageIndex
from mailstead.queue.detail import QueueDetail
from mailstead.store.record import Target, TargetKind
from mailstead.store.service import QUEUE, Store

MAX_TARGETS = 200_000
"""Targets of one record: beyond it a group is refused (its members would not fit into a record's head)."""
YIELD_EVERY = 100

_EXPANDED = (RecipientKind.GROUP, RecipientKind.LIST)
_NO_FOLDER = "550 5.3.3 there is no such folder"
_LOST = "550 5.1.1 no such user"


@dataclass(slots=True)
class Lost:
    """An address that a group led to and that leads nowhere."""

    origin: int
    address: str
    reason: str


@dataclass(slots=True)
class Plan:
    """Targets, whom each stands for, and what could not become one. ``rehoused``: some went to an INBOX after all."""

    targets: list[Target] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    folders: int = 0
    queued: int = 0
    lost: list[Lost] = field(default_factory=list)
    failed: dict[int, Result] = field(default_factory=dict)
    seen: set[object] = field(default_factory=set)
    index: MessageIndex | None = None
    rehoused: bool = False


class Planner:
    """Makes plans for the messages of one process."""

    def __init__(self, store: Store, directory: Directory, mailbox: Mailbox) -> None:
        self._store = store
        self._directory = directory
        self._mailbox = mailbox

    def is_simple(self, message: AcceptedMessage) -> bool:
        """Whether `plan` needs no expansion."""
        return all(recipient.resolution.kind not in _EXPANDED for recipient in message.recipients)

    def plan(self, message: AcceptedMessage) -> Plan:
        """The plan of a message without groups, at once."""
        plan = Plan()
        for number, recipient in enumerate(message.recipients):
            self._add(plan, message, number, recipient.resolution, recipient)
        return plan

    async def expand(self, message: AcceptedMessage) -> Plan:
        """The plan of any message."""
        plan = Plan()
        for number, recipient in enumerate(message.recipients):
            if recipient.resolution.kind not in _EXPANDED:
                self._add(plan, message, number, recipient.resolution, recipient)
        for number, recipient in enumerate(message.recipients):
            if recipient.resolution.kind in _EXPANDED:
                await self._expand(plan, message, number, recipient)
        return plan

    async def _expand(self, plan: Plan, message: AcceptedMessage, number: int, recipient: EnvelopeRecipient) -> None:
        before, members = len(plan.targets), 0
        for address in self._directory.expand(recipient.resolution.object_id):
            members += 1
            if members % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            self._add(plan, message, number, self._directory.resolve(address), recipient)
            if len(plan.targets) > MAX_TARGETS:
                del plan.targets[before:], plan.origins[before:]
                plan.failed[number] = Result.TOO_MANY
                return
        if not members:
            plan.failed[number] = Result.NO_MEMBERS

    def _add(self, plan: Plan, message: AcceptedMessage, number: int, found: Resolution, recipient: EnvelopeRecipient) -> None:
        kind = found.kind
        if kind is RecipientKind.LOCAL:
            account = found.account
            assert account is not None
            folder = self.detail_folder(account.shard, account.id, found.detail) if found.detail else 0
            key: object = (account.id, folder)
            if key in plan.seen:
                return
            plan.seen.add(key)
            plan.folders += 1
            target = Target(
                TargetKind.FOLDER,
                account.shard,
                account.id,
                folder,
                recipient=recipient.address,
                quota_size=account.quota_bytes,
                quota_messages=account.quota_messages,
            )
        elif kind is RecipientKind.FOLDER:
            public = self.public_folder(found)
            if public is None:
                plan.lost.append(Lost(number, found.address, _NO_FOLDER))
                return
            if (public.account, public.id) in plan.seen:
                return
            plan.seen.add((public.account, public.id))
            plan.folders += 1
            target = Target(TargetKind.FOLDER, public.shard, public.account, public.id, recipient=recipient.address)
        elif kind is RecipientKind.REMOTE:
            if found.address in plan.seen:
                return
            plan.seen.add(found.address)
            plan.queued += 1
            detail = QueueDetail(recipient.notify, recipient.orcpt, message.envid, message.ret, message.utf8, message.body_type)
            target = Target(TargetKind.QUEUE, QUEUE, date=int(time.time()), recipient=found.address, detail=detail.encode())
        else:
            reason = _LOST if kind is RecipientKind.UNKNOWN_USER else f"550 5.2.1 {kind.value}"
            plan.lost.append(Lost(number, found.address, reason))
            return
        plan.targets.append(target)
        plan.origins.append(number)

    def public_folder(self, found: Resolution) -> Folder | None:
        """The public folder that a resolution of kind FOLDER means (PUB-02, DOM-06)."""
        recipient = self._directory.recipient(found.object_id)
        domain_id = recipient.domain_id if recipient is not None else found.object_id
        return self._mailbox.public_folder(domain_id, found.folder)

    def detail_folder(self, shard: int, account: int, detail: str) -> int:
        """The id of the account's folder that a subaddress names (in any case), 0 for INBOX or none."""
        return self._store.mail_index(shard).folder_in_any_case(account, canonical(detail))
