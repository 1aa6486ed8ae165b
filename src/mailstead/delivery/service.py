"""From an accepted message to mailboxes and queue.

Invariants
- One log record per message, whatever the number of recipients; its receipt is written with it.
- STORED is reported only when the store has the message durably for every recipient, or, for those that failed while
  others did not, when a report to the sender is durable as well (a face has one answer for all of them).
- Where every recipient failed nothing is kept, and the face refuses the message.
- The null sender hears nothing; a report is itself from the null sender, so reports never breed.
- A message never reports more than once about one recipient.

How: a message without groups, reports or a spool takes the short way: targets, one submission, one callback; no task.
Everything else runs in a task of its own.

Return-Path (RFC 5321 section 4.4) goes in front of what mailboxes get, not of what is relayed.  A message for both
has it as the mailboxes' overlay; where the body is spooled it has it for all, which relays may leave in place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from mailstead.delivery.account_mail import AccountMail
from mailstead.delivery.host import host_name
from mailstead.delivery.model import AcceptedMessage, EnvelopeRecipient, Outcome, Result, Verdict
from mailstead.delivery.notices import failures, report, successes, wants_success
from mailstead.delivery.quota_alert import QuotaAlerts
from mailstead.delivery.receipts import receipt_of
from mailstead.delivery.restrictions import permits
from mailstead.delivery.sending_quota import Refusal, SendingQuota
from mailstead.delivery.stored import StoredMail
from mailstead.delivery.targets import Plan, Planner
from mailstead.directory.accounting import RECEIVED, SENT
from mailstead.directory.address import domain_key
from mailstead.directory.model import Account, RecipientKind, Resolution
from mailstead.directory.service import Directory
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.service import Mailbox
from mailstead.message.dsn import DsnRecipient
from mailstead.message.headers import header_end
from mailstead.message.index import MessageIndex
from mailstead.migration.callout import Answer, RemoteRecipients
from mailstead.observe.log import fault, get_logger
from mailstead.observe.metrics import bounces, deliveries
from mailstead.settings.database import SystemDatabaseError
from mailstead.store.apply_delivery import FOLDER_GONE, OK, OVER_QUOTA
from mailstead.store.record import MessageHead, Target, TargetKind
from mailstead.store.service import RESERVE, Store
from mailstead.store.spool import INLINE_LIMIT, Spool
from mailstead.store.submission import TargetOutcome, Unavailable

log = get_logger("PROCESSING")

#: Large messages made durable and indexed at the same time: each needs its size in memory meanwhile.
LARGE_AT_ONCE = 1

#: Octets from which a declared size is compared with the space left.
ASK_DISK = 1 << 20

_DELIVERED = deliveries.labels("delivered")
_QUEUED = deliveries.labels("queued")
_OVER_QUOTA = deliveries.labels("over quota")
_FAILED = deliveries.labels("failed")
_BOUNCES = bounces.labels("bounce")
_SUCCESSES = bounces.labels("success")

_VERDICTS = {
    RecipientKind.UNKNOWN_USER: Verdict.UNKNOWN,
    RecipientKind.DISABLED: Verdict.DISABLED,
    RecipientKind.NOT_PERMITTED: Verdict.NOT_PERMITTED,
}
Done = Callable[[Outcome], None]


def _entry(plan: Plan, outcomes: list[TargetOutcome]) -> int:
    return next((found.mid for found in outcomes if not found.account), 0) if plan.queued or plan.expansions else 0


class Delivery:
    """Takes messages for one process; its parts are shared by all faces of it."""

    def __init__(
        self,
        store: Store,
        directory: Directory,
        mailbox: Mailbox,
        settings: Any = None,
        elsewhere: RemoteRecipients | None = None,
    ) -> None:
        """`elsewhere` knows users of local domains who are still at another server (MIG-01)."""
        self.store = store
        self.directory = directory
        self.mailbox = mailbox
        self.settings = settings if settings is not None else directory.settings
        self.elsewhere = elsewhere
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self.account_mail = AccountMail(directory, mailbox, store.data_dir)
        self.alerts = QuotaAlerts(directory, mailbox, self.account_mail, self._spawn)
        self.sending = SendingQuota(directory, mailbox, self.account_mail, self.send_system_mail)
        self.planner = Planner(store, directory, mailbox, self.sending, elsewhere)

    async def close(self) -> None:
        """Wait for the messages in hand."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def full(self) -> bool:
        """Whether the disk has no room for mail."""
        return self.store.full

    def has_room(self, size: int) -> bool:
        """Whether the disk has room for a message of ``size`` octets (0: not known)."""
        if self.store.full:
            return False
        return size < ASK_DISK or self.store.free_space() - RESERVE > size

    def spool(self) -> Spool:
        """Takes a large message while it arrives; hand it over in ``AcceptedMessage.spool``."""
        return self.store.spool()

    # ---- recipients --------------------------------------------------------------------------------------------

    def resolve(
        self, address: str, *, sender: str, login: Account | None, size: int = 0, relay: bool = False, local: bool = True
    ) -> tuple[Verdict, Resolution | None]:
        """Whether mail of ``size`` octets (0: not known) from ``sender`` to ``address`` is taken, and where it goes.

        ``relay`` and ``local``: the client may send to other servers, to local recipients.
        """
        try:
            if login is not None and login.rules is not None and not self._may_send(login, address):
                return Verdict.MAY_NOT_SEND, None
            found = self.directory.resolve(address, sender=sender, login=login)
            kind = found.kind
            if kind is RecipientKind.LOCAL:
                account = found.account
                assert account is not None
                if not local and not _is_postmaster(address):
                    return Verdict.NO_LOCAL, found
                if account.rules is not None and not permits(self.directory, account, account.rules.receive, sender):
                    return Verdict.MAY_NOT_RECEIVE, found
                if account.quota_bytes or account.quota_messages:
                    return self._check_quota(account, size), found
                return Verdict.ACCEPTED, found
            if kind is RecipientKind.FOLDER:
                return self._check_public(found, size), found
        except (SystemDatabaseError, MailboxError) as error:
            log.error("recipient not resolved", reason=str(error))
            return Verdict.TEMPORARY, None
        if kind is RecipientKind.REMOTE:
            return (Verdict.ACCEPTED if relay else Verdict.NO_RELAY), found
        refused = _VERDICTS.get(kind)
        if refused is not None:
            return refused, found
        return (Verdict.ACCEPTED if local else Verdict.NO_LOCAL), found

    def may_be_elsewhere(self, found: Resolution) -> bool:
        """Whether `resolve_elsewhere` may know an unknown recipient."""
        return self.elsewhere is not None and self.elsewhere.concerns(found.address)

    async def resolve_elsewhere(self, found: Resolution) -> tuple[Verdict, Resolution]:
        """Ask the server that the domain's users come from; where it takes the mail, it goes there through the queue."""
        assert self.elsewhere is not None
        answer = await self.elsewhere.ask(found.address)
        if answer is Answer.TAKEN:
            local, _, domain = found.address.rpartition("@")
            return Verdict.ACCEPTED, Resolution(RecipientKind.REMOTE, f"{local}@{domain_key(domain) or domain}", found.original)
        return (Verdict.UNKNOWN if answer is Answer.UNKNOWN else Verdict.TEMPORARY), found

    def _may_send(self, login: Account, address: str) -> bool:
        """RST-01; the postmaster of this server may always be written to."""
        assert login.rules is not None
        return "@" not in address or permits(self.directory, login, login.rules.send, address)

    def _check_quota(self, account: Account, size: int) -> Verdict:
        if account.quota_bytes and size > account.quota_bytes:
            return Verdict.TOO_LARGE
        have, messages = self.mailbox.usage(account.id)
        if account.quota_bytes and have + max(size, 1) > account.quota_bytes:
            return Verdict.OVER_QUOTA
        if account.quota_messages and messages + 1 > account.quota_messages:
            return Verdict.OVER_QUOTA
        return Verdict.ACCEPTED

    def _check_public(self, found: Resolution, size: int) -> Verdict:
        """Whether a public folder takes mail of that size (PUB-02, QTA-01)."""
        folder = self.planner.public_folder(found)
        if folder is None:
            return Verdict.NOT_POSSIBLE
        limit, most = self.mailbox.quota_limits(folder.account)
        if not limit and not most:
            return Verdict.ACCEPTED
        have, messages = self.mailbox.usage(folder.account)
        over = (limit and have + max(size, 1) > limit) or (most and messages + 1 > most)
        return Verdict.OVER_QUOTA if over else Verdict.ACCEPTED

    def overstepped(self, account: Account, refusal: Refusal) -> None:
        """An account was refused for its sending limits before there was a message: tell whoever is to hear of it."""
        self._spawn(self.sending.overstepped(account, refusal))

    # ---- messages ----------------------------------------------------------------------------------------------

    async def accept(self, message: AcceptedMessage) -> Outcome:
        """`deliver`, awaited."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.deliver(message, lambda outcome: None if future.done() else future.set_result(outcome))
        return await future

    def deliver(self, message: AcceptedMessage, done: Done) -> None:
        """Deliver a message and call ``done`` once, in a later turn of the event loop. The spool is this method's from
        here on, whatever happens."""
        done = partial(self._counted, message, done)
        if message.spool is not None or not self.planner.is_simple(message) or wants_success(message):
            self._spawn(self._deliver_slowly(message, done))
            return
        try:
            plan = self.planner.plan(message)
        except Exception as error:
            fault(log, "message not delivered", error, message=message.id)
            self.store.loop.call_soon(done, Outcome(Result.TEMPORARY))
            return
        future = self._submit(message, plan, message.body, None)
        future.add_done_callback(partial(self._stored, message, plan, done))

    def _counted(self, message: AcceptedMessage, done: Done, outcome: Outcome) -> None:
        """Count it for the domains of sender and recipients (SHOW AccountingStatistics), and answer."""
        if outcome.result is Result.STORED:
            count = self.directory.accounting.count
            for number, recipient in enumerate(message.recipients):
                found = recipient.resolution
                if found.kind is RecipientKind.REMOTE or (outcome.results and outcome.results[number] is not Result.STORED):
                    continue
                if found.account is not None:
                    count(found.account.domain_id, RECEIVED, octets=message.size)
                elif (domain := self.directory.domain_by_name(found.address.rpartition("@")[2])) is not None:
                    count(domain.id, RECEIVED, octets=message.size)
            if message.auth is not None:
                sender = self.directory.account_by_address(message.auth.account)
                if sender is not None:
                    count(sender.domain_id, SENT, octets=message.size)
        done(outcome)

    def _submit(
        self, message: AcceptedMessage, plan: Plan, body: bytes, index: MessageIndex | None, folder_gone: bool = False
    ) -> asyncio.Future[list[TargetOutcome]]:
        spool = message.spool
        head = MessageHead(message.sender, message.arrival, plan.targets, receipt_of(message))
        parts = [message.trace, body]
        if plan.folders:
            path = b"Return-Path: <%b>\r\n" % message.sender.encode("utf-8", "replace")
            if not plan.queued and not plan.expansions:
                parts = [path, message.trace, body]
            elif not folder_gone:
                variant = self.store.new_id()
                for target in plan.targets:
                    if target.kind == TargetKind.FOLDER:
                        target.overlay, target.mid = path, variant
        if spool is not None and spool.external:
            # The body came out of `spool.finish` with all that goes in front of the octets in the file.
            head.external, head.external_size, head.external_hash = spool.external, spool.size, spool.digest
            parts = [body]
            for target in plan.targets:
                target.overlay, target.mid = b"", 0
        return self.store.submit_message(head, b"".join(parts), index=index)

    def _stored(self, message: AcceptedMessage, plan: Plan, done: Done, future: asyncio.Future[list[TargetOutcome]]) -> None:
        """The short way's second half."""
        error = future.exception()
        if error is not None:
            done(self._unavailable(message, error))
            return
        for outcome in future.result():
            if outcome.outcome:
                self._spawn(self._finish(message, plan, future.result(), done))
                return
        if plan.lost:
            self._spawn(self._finish(message, plan, future.result(), done))
            return
        _DELIVERED.inc(plan.folders)
        if plan.queued:
            _QUEUED.inc(plan.queued)
        for account in plan.watched:
            self.alerts.look(account)
        done(Outcome(Result.STORED, (), plan.folders, plan.queued, _entry(plan, future.result())))

    def _unavailable(self, message: AcceptedMessage, error: BaseException) -> Outcome:
        if not isinstance(error, Unavailable | OSError):
            fault(log, "message not delivered", error, message=message.id)
        else:
            log.error("message not stored", message=message.id, reason=str(error))
        _FAILED.inc(len(message.recipients))
        return Outcome(Result.FULL if self.store.full else Result.TEMPORARY)

    # ---- the long way ------------------------------------------------------------------------------------------

    async def _deliver_slowly(self, message: AcceptedMessage, done: Done) -> None:
        spool = message.spool
        plan = Plan()
        try:
            plan = await self.planner.expand(message)
            if not plan.targets:
                await self._finish(message, plan, [], done)
                await self._release(spool, kept=False)
                return
            body, index = message.body, None
            if spool is not None:
                body, index = await self._finish_spool(message, plan, spool)
                plan.index = index
            outcomes = await self._submit(message, plan, body, index)
        except Exception as error:
            await self._release(spool, kept=False)
            await self.planner.give_back(plan)
            done(self._unavailable(message, error))
            return
        await self._finish(message, plan, outcomes, done)
        # Where the folder was gone, it is a second record that names the file.
        await self._release(spool, kept=plan.rehoused or any(outcome.outcome == OK for outcome in outcomes))

    async def _finish_spool(self, message: AcceptedMessage, plan: Plan, spool: Spool) -> tuple[bytes, MessageIndex | None]:
        prefix = message.trace
        if spool.size <= INLINE_LIMIT and not spool.external:
            octets, index = await spool.finish(b"")
            return octets, index
        if plan.folders or plan.expansions:
            prefix = b"Return-Path: <%b>\r\n%b" % (message.sender.encode("utf-8", "replace"), prefix)
        async with self._large:
            return await spool.finish(prefix)

    async def _release(self, spool: Spool | None, *, kept: bool) -> None:
        """Give the spool's file back, or away. Where the log broke, its record may still count: the file stays."""
        if spool is None:
            return
        try:
            if kept or self.store.broken.is_set():
                spool.close()
            else:
                await asyncio.to_thread(spool.abandon)  # a large file takes its time to go
        except OSError as error:
            log.warning("spool not removed", reason=str(error))  # the maintenance finds it

    async def _finish(self, message: AcceptedMessage, plan: Plan, outcomes: list[TargetOutcome], done: Done) -> None:
        """Sort out refused targets, tell the sender, answer the face."""
        try:
            done(await self.settle(message, plan, outcomes))
        except Exception as error:  # whatever it was, the face must hear something
            fault(log, "message not settled", error, message=message.id)
            done(Outcome(Result.TEMPORARY))

    async def settle(self, message: AcceptedMessage, plan: Plan, outcomes: list[TargetOutcome], *, late: bool = False) -> Outcome:
        """What became of a message whose record is durable: what was refused is tried elsewhere or told to the sender.

        ``late``: the sender has had its answer, so that whatever failed is told by a report.
        """
        refused = [(number, Result.OVER_QUOTA) for number, found in enumerate(outcomes) if found.outcome == OVER_QUOTA]
        gone = [number for number, found in enumerate(outcomes) if found.outcome == FOLDER_GONE]
        refused += await self._into_inbox(message, plan, gone)
        stored = len(plan.targets) - len(refused) + len(plan.discarded)
        _OVER_QUOTA.inc(sum(1 for _, result in refused if result is Result.OVER_QUOTA))
        results = self._results(message, plan, refused)
        if not stored:
            await self.planner.give_back(plan)
        if not stored and not late:
            # A recipient without a target of its own (its mailbox was another's, too) is as refused as that one.
            worst = next((result for result in results if result is not Result.STORED), Result.TEMPORARY)
            return Outcome(Result.TEMPORARY if Result.TEMPORARY in results else worst, tuple(results))
        for account in plan.watched:
            self.alerts.look(account)
        folders = plan.folders - len(refused)
        _DELIVERED.inc(folders)
        _QUEUED.inc(plan.queued)
        rows = failures(message, plan, refused)
        if rows:
            _BOUNCES.inc()
            if not await self._notify(message, rows):
                # Better twice for some than lost for others without a word (RFC 5321 section 6.1).
                return Outcome(Result.TEMPORARY)
        rows = [] if late else successes(message, results)
        if rows:
            _SUCCESSES.inc()
            await self._notify(message, rows)
        return Outcome(Result.STORED, tuple(results), folders, plan.queued, _entry(plan, outcomes))

    @staticmethod
    def _results(message: AcceptedMessage, plan: Plan, refused: list[tuple[int, Result]]) -> list[Result]:
        """Per recipient: stored when any of its targets was."""
        worst = dict(plan.failed)
        bad = dict(refused)
        good = {origin for index, origin in enumerate(plan.origins) if index not in bad} | plan.discarded
        for index, result in refused:
            worst.setdefault(plan.origins[index], result)
        for lost in plan.lost:
            worst.setdefault(lost.origin, lost.result)
        return [Result.STORED if number in good else worst.get(number, Result.STORED) for number in range(len(message.recipients))]

    async def _into_inbox(self, message: AcceptedMessage, plan: Plan, gone: list[int]) -> list[tuple[int, Result]]:
        """The folder of a subaddress was deleted meanwhile: INBOX it is. A public folder has none."""
        homes = {number: self.directory.account(plan.homes[number]) if plan.homes[number] else None for number in gone}
        failed = [(number, Result.TEMPORARY) for number in gone if homes[number] is None]
        again = Plan()
        moved: list[int] = []
        have = {home for home, target in zip(plan.homes, plan.targets, strict=True) if home == target.account and not target.folder}
        for number in gone:
            # Not that of whoever shared the folder, but that of the account whose mail it is.
            home, old = homes[number], plan.targets[number]
            if home is None or home.id in have:
                continue  # what INBOX got itself, or was refused, counts
            have.add(home.id)
            moved.append(number)
            again.origins.append(plan.origins[number])
            again.folders += 1
            again.targets.append(
                Target(
                    old.kind, home.shard, home.id, recipient=old.recipient, quota_size=home.quota_bytes,
                    quota_messages=home.quota_messages,
                )
            )  # fmt: skip
        if not moved:
            return failed
        try:
            if message.spool is not None and message.spool.external:
                prefix = b"Return-Path: <%b>\r\n%b" % (message.sender.encode("utf-8", "replace"), message.trace)
                found = await self._submit(message, again, prefix, plan.index, folder_gone=True)
            else:
                body = message.body if message.spool is None else await asyncio.to_thread(message.spool.octets)
                found = await self._submit(message, again, body, None, folder_gone=True)
        except (Unavailable, OSError) as error:
            log.error("message not stored", message=message.id, reason=str(error))
            return failed + [(number, Result.TEMPORARY) for number in moved]
        plan.rehoused = any(outcome.outcome == OK for outcome in found)
        return failed + [
            (number, Result.OVER_QUOTA if outcome.outcome == OVER_QUOTA else Result.TEMPORARY)
            for number, outcome in zip(moved, found, strict=True)
            if outcome.outcome
        ]

    # ---- stored messages ---------------------------------------------------------------------------------------

    async def store_copies(self, mail: StoredMail, targets: list[Target], sender: str, receipt: bytes = b"") -> list[TargetOutcome]:
        """Deliver a message of the queue's index again, in one record with what else is among ``targets``. Raises
        Unavailable."""
        entry = mail.entry
        head = MessageHead(sender, entry.received, targets, receipt)
        if entry.external:
            head.external, head.external_size, head.external_hash = entry.external, entry.external_size, mail.digest
        outcomes = await self.store.submit_message(head, mail.inline, index=mail.index)
        folders = sum(target.kind == TargetKind.FOLDER for target in targets)
        _DELIVERED.inc(folders)
        _QUEUED.inc(sum(target.kind == TargetKind.QUEUE for target in targets))
        return outcomes

    # ---- mail of our own ---------------------------------------------------------------------------------------

    async def send_system_mail(self, to: str, octets: bytes, *, sender: str = "") -> Outcome | None:
        """Deliver a message the server itself wrote, from the null sender unless told otherwise. None where ``to`` leads
        nowhere."""
        found = self.directory.resolve(to)
        if found.kind in _VERDICTS:
            log.info("system mail not deliverable", recipient=to, reason=found.kind.value)
            return None
        blank = b"" if header_end(octets) or octets.startswith((b"\r\n", b"\n")) else b"\r\n"
        now = int(time.time())
        message = AcceptedMessage(
            f"system-{self.store.new_id():x}", sender, [EnvelopeRecipient(to, found, "NEVER")], blank, octets, len(octets), now,
            body_type="7BIT" if octets.isascii() else "8BITMIME", utf8=not to.isascii(), system=True,
        )  # fmt: skip
        return await self.accept(message)

    async def _notify(self, message: AcceptedMessage, rows: list[DsnRecipient]) -> bool:
        """Send a report; False where it could not be stored for now. Never raises: the mail itself is safe where it is."""
        try:
            outcome = await self.send_system_mail(message.sender, report(message, rows, host_name(self.settings)))
        except Exception as error:
            fault(log, "report not sent", error, message=message.id)
            return False
        if outcome is None or outcome.result is Result.STORED:
            return True
        log.error("report not stored", message=message.id, sender=message.sender, result=outcome.result.value)
        return outcome.result not in (Result.TEMPORARY, Result.FULL)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.store.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_postmaster(address: str) -> bool:
    return address.partition("@")[0].strip('"').lower() == "postmaster"
