"""From outcomes of an attempt to what is recorded and whom to tell (SMO-06, 08, 09, 10).

Invariants: a recipient is given up only after the report about it is accepted; it is recorded as delivered before
anything else is done about it; an administrator's word to return it, given meanwhile, is not overwritten by
a deferral.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mailstead.queue.entry import DELAY_NOTIFIED, GIVE_UP, REPORT_OWED, Entry, Recipient
from mailstead.queue.outcome import Kind, Outcome
from mailstead.queue.queue_index import QueueIndex
from mailstead.queue.report import Fate, wanted
from mailstead.queue.schedule import exhausted, last_try, retry_delay
from mailstead.store.apply_folders import DEFERRED, DONE

Row = tuple[int, int, int, int, int, str, bytes]
KEPT_STATUS = 500
REPORT_RETRY = 60
"""Seconds until a report that could not be handed over is tried again."""


@dataclass(slots=True)
class Settlement:
    """``rows`` are recorded first; then the reports are handed over, and what depends on them is recorded."""

    rows: list[Row] = field(default_factory=list)
    failed: list[Fate] = field(default_factory=list)
    delayed: list[Fate] = field(default_factory=list)
    relayed: list[Fate] = field(default_factory=list)


def words(outcome: Outcome) -> str:
    """What is kept of an outcome: status, host, and its words."""
    where = f"{outcome.host}[{outcome.address}]: " if outcome.host and outcome.host != outcome.address else ""
    if not where and outcome.address and not outcome.text.startswith(outcome.address):
        where = f"[{outcome.address}]: "
    return f"{outcome.status} {where}{outcome.text}"[:KEPT_STATUS]


def split_words(status: str) -> tuple[str, str]:
    """``(enhanced status, text)`` of what is kept."""
    code, _, text = status.partition(" ")
    return (code, text) if code[:2] in ("2.", "4.", "5.") else ("5.0.0", status)


def row_of(recipient: Recipient, state: int, *, due: int = 0, notified: int | None = None, status: str = "") -> Row:
    """A row of an outcome record; the recipient's wishes stay with it while it waits."""
    detail = recipient.detail if state == DEFERRED else b""
    mark = recipient.notified if notified is None else notified
    return recipient.number, state, due, recipient.attempts, mark, status, detail


def settle(
    entry: Entry,
    outcomes: list[tuple[Recipient, Outcome]],
    now: int,
    index: QueueIndex,
    processing: Any,
    outgoing: Any,
) -> Settlement:
    """What follows from the outcomes (none of them AGAIN). ``processing`` and ``outgoing`` are settings contexts."""
    result = Settlement()
    for recipient, outcome in outcomes:
        status = words(outcome)
        if outcome.kind is Kind.DELIVERED:
            if not outcome.dsn and outgoing.sendNdr and wanted(entry, recipient, "SUCCESS"):
                owed = recipient.notified | REPORT_OWED
                result.rows.append(row_of(recipient, DEFERRED, due=now, notified=owed, status=status))
                result.relayed.append(Fate(recipient, outcome.status, outcome.text, outcome.host))
            else:
                result.rows.append(row_of(recipient, DONE, status=status))
        elif outcome.kind is Kind.FAILED:
            result.failed.append(Fate(recipient, outcome.status, outcome.text, outcome.host))
        else:
            _defer(result, entry, recipient, outcome, now, index, processing, outgoing)
    return result


def _defer(
    result: Settlement,
    entry: Entry,
    recipient: Recipient,
    outcome: Outcome,
    now: int,
    index: QueueIndex,
    processing: Any,
    outgoing: Any,
) -> None:
    current = index.mark(recipient.mid, recipient.number)
    if current is None:
        return  # removed by an administrator meanwhile
    if current[0] & GIVE_UP:
        code, text = split_words(current[1])
        result.failed.append(Fate(recipient, code, text))
        return
    first, longest, retries = processing.schedInterval, processing.maxSchedInterval, processing.maxRetryCount
    attempts = recipient.attempts + 1
    if exhausted(attempts, retries):
        text = f"given up after {attempts} attempts; the last one: {outcome.text}"
        result.failed.append(Fate(recipient, "5.4.7", text, outcome.host if outcome.code else ""))
        return
    due = now + retry_delay(attempts, first, longest)
    row = (recipient.number, DEFERRED, due, attempts, recipient.notified, words(outcome), recipient.detail)
    result.rows.append(row)
    told = recipient.notified & DELAY_NOTIFIED
    if outgoing.sendDelayNdr and not told and attempts >= outgoing.ndrRetryCount and wanted(entry, recipient, "DELAY"):
        until = last_try(now, attempts, first, longest, retries)
        remote = outcome.host if outcome.code else ""
        result.delayed.append(Fate(recipient, outcome.status, outcome.text, remote, until))


def after_report(fates: list[Fate], accepted: bool, state: int, bit: int, now: int) -> list[Row]:
    """Rows for recipients whose report was (not) accepted: gone with ``state``, or to be reported again later."""
    rows: list[Row] = []
    for fate in fates:
        status = f"{fate.status} {fate.text}"[:KEPT_STATUS]
        if accepted:
            rows.append(row_of(fate.recipient, state, status=status))
        else:
            mark = fate.recipient.notified | bit
            rows.append(row_of(fate.recipient, DEFERRED, due=now + REPORT_RETRY, notified=mark, status=status))
    return rows


def told_of_delay(rows: list[Row], fates: list[Fate]) -> list[Row]:
    """The deferral rows of ``fates`` again, with the mark that the sender knows."""
    numbers = {fate.recipient.number for fate in fates}
    return [
        (number, state, due, attempts, notified | DELAY_NOTIFIED, status, detail)
        for number, state, due, attempts, notified, status, detail in rows
        if number in numbers
    ]
