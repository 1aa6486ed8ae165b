"""Statistics: accounting by domain and day, and how processing is doing.

Invariants: figures are sums over all processes of the node; an administrator sees those of its domains.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from typing import Any

from mailstead.admin_cli.context import CliContext, Command, Result, make, needs
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import quoted, show, table
from mailstead.admin_cli.syntax import Arguments
from mailstead.directory.accounting import Accounting
from mailstead.migration.service import MigrationService, progress
from mailstead.observe.metrics import totals
from mailstead.queue.queue_index import QueueIndex

_FORMS = ("%d %b %Y", "%Y-%m-%d", "%d/%m/%Y", "%a, %d %b %Y", "%a, %d %b %Y %H:%M:%S %z")


def day_of(text: str) -> int:
    """A day as `20 Jun 2018` or `2018-06-20`, in days since 1970. Raises CommandError."""
    for form in _FORMS:
        try:
            return (datetime.datetime.strptime(text, form).date() - datetime.date(1970, 1, 1)).days
        except ValueError:
            continue
    raise CommandError(f"{text[:40]!r} is no day; write it as 20 Jun 2018")


def accounting_commands(permission: str) -> list[Command]:
    """For the root (all domains) or a domain."""
    return [
        make("SHOW AccountingStatistics [since <date>] [until <date>]", "shows mail and logins by day", _accounting,
             allowed=needs(permission))
    ]  # fmt: skip


async def _accounting(context: CliContext, arguments: Arguments) -> Result:
    directory = context.session.services.directory
    since = day_of(arguments["since"]) if "since" in arguments else 0
    until = day_of(arguments["until"]) if "until" in arguments else 2**31
    accounting = Accounting(directory.database)
    rows = []
    for row in await asyncio.to_thread(accounting.days, context.domain_id, since, until):
        domain = directory.domain(row.domain_id)
        name = domain.name if domain is not None else f"({row.domain_id})"
        day = (datetime.date(1970, 1, 1) + datetime.timedelta(row.day)).strftime("%d %b %Y")
        rows.append((
            day, name, str(row.received), str((row.received_octets + 1023) // 1024), str(row.sent),
            str((row.sent_octets + 1023) // 1024), str(row.logins),
        ))  # fmt: skip
    return table("The accounting statistics:", ("day", "domain", "received", "receivedKB", "sent", "sentKB", "logins"), rows)


def processing_commands() -> list[Command]:
    """For PROCESSING."""
    return [
        make("SHOW Statistics", "shows how mail is doing", _processing),
        make("SHOW SearchIndexJobs", "shows what the search index has yet to take in", _jobs("")),
        make("SHOW CalendarSearchIndexJobs", "the same of calendars", _jobs("events are found by the search index of mail")),
        make("SHOW ContactSearchIndexJobs", "the same of contacts", _jobs("contacts are found by the search index of mail")),
        make("SHOW SortIndexJobs", "the same of sorting", _jobs("what mail is sorted by is stored when it arrives")),
        make("SHOW ConversationIndexJobs", "the same of conversations", _jobs("conversations are stored when mail arrives")),
        make("SHOW UserJobStats [detailed]", "shows jobs by account", _user_jobs),
    ]


async def _processing(context: CliContext, arguments: Arguments) -> Result:
    services = context.session.services
    waiting, due, expansions = QueueIndex(services.store.queue_index).counts(int(time.time()))
    found = await asyncio.to_thread(totals, services.data_dir / "run" / "metrics")

    def count(name: str, **labels: str) -> str:
        return str(int(sum(value for one, given, value in found if one == name and labels.items() <= given.items())))

    return show(
        [
            ("queue.waiting", str(waiting)), ("queue.due", str(due)), ("queue.other", str(expansions)),
            ("messages.accepted", count("mailstead_smtp_messages_total", result="accepted")),
            ("deliveries.local", count("mailstead_deliveries_total", result="delivered")),
            ("deliveries.queued", count("mailstead_deliveries_total", result="queued")),
            ("deliveries.failed", count("mailstead_deliveries_total", result="failed")),
            ("attempts", count("mailstead_queue_attempts_total")), ("bounces", count("mailstead_bounces_total")),
            ("log.syncs", count("mailstead_store_commits_total")), ("log.octets", count("mailstead_store_bytes_total")),
            ("errors", count("mailstead_faults_total")),
        ],
        "Processing statistics:",
    )  # fmt: skip


def _waiting(context: Any) -> list[tuple[int, int, str]]:
    """(account, jobs, kind)."""
    store = context.session.services.store
    found: list[tuple[int, int, str]] = []
    for number in store.shards:
        rows = store.reader(number).execute("SELECT account, count(*), kind FROM job GROUP BY account, kind LIMIT 10000").fetchall()
        found += [(int(account), int(count), str(kind)) for account, count, kind in rows]
    return found


def _jobs(note: str) -> Any:
    def handler(context: CliContext, arguments: Arguments) -> Result:
        if note:
            return show([("waiting", "0"), ("note", quoted(note))], "Jobs:")
        found = _waiting(context)
        single = sum(count for _account, count, kind in found if kind == "index")
        whole = sum(count for _account, count, kind in found if kind == "reindex")
        pairs = [("waiting", str(single + whole)), ("messages", str(single)), ("accounts", str(whole))]
        return show(pairs, "Jobs:")

    return handler


def _user_jobs(context: CliContext, arguments: Arguments) -> Result:
    services = context.session.services
    rows = []
    by_account: dict[int, int] = {}
    for account, count, kind in _waiting(context):
        by_account[account] = by_account.get(account, 0) + count
        if "detailed" in arguments.flags:
            rows.append((_name(context, account), kind, str(count), ""))
    if "detailed" not in arguments.flags:
        rows = [(_name(context, account), "search index", str(count), "") for account, count in sorted(by_account.items())]
    for job in MigrationService(services.directory, services.data_dir).list(actor=context.session.actor, live=True):
        rows.append((_name(context, job.account_id), "migration", "1", progress(job)))
    return table("The list of jobs by account:", ("account", "kind", "jobs", "progress"), rows)


def _name(context: CliContext, account: int) -> str:
    found = context.session.services.directory.account(account)
    return found.address if found is not None else str(account)


