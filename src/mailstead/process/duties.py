"""What the background process does for the node.

Invariants: each duty belongs to exactly one process; a duty that is interrupted begins again at the next start and
does no harm by doing something twice; none of them works in the event loop for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from mailstead.directory.service import Directory
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.service import Mailbox
from mailstead.observe.log import get_logger
from mailstead.settings import Settings, SystemDatabaseError
from mailstead.settings.history import purge_history
from mailstead.store.checkpoint import Checkpointer
from mailstead.store.expiry import Expiry
from mailstead.store.service import Store

log = get_logger("SERVER")

#: How often what was deleted long enough ago is forgotten.
EXPIRY_SECONDS = 3600.0
#: How often deleted accounts and domains are looked through.
REMOVAL_SECONDS = 600.0
#: How often the history of changes is looked at.
HISTORY_SECONDS = 3600.0
#: How often figures of domains are written.
ACCOUNTING_SECONDS = 60.0
DAY = 86_400


async def checkpoints(data_dir: Path) -> None:
    """Keep the write-ahead logs of the index files small, until cancelled."""
    # system.db is small and written rarely, search files by a process of their own, which may replace them: SQLite's own
    # checkpoints are enough for those.
    index = data_dir / "index"
    paths = [path for path in sorted(index.glob("*.db")) if path.name != "system.db" and not path.name.startswith("search-")]
    checkpointer = Checkpointer(paths)
    try:
        await checkpointer.run()
    finally:
        await _close(checkpointer.close)


async def expiry(data_dir: Path, store: Store, settings: Settings) -> None:
    """Forget deleted messages after the retention time, until cancelled."""
    duty = Expiry(data_dir / "index", list(store.shards), 0)
    try:
        while True:
            duty.retention = int(settings.service("server").retentionDays) * DAY
            forgotten = await duty.run_once()
            if forgotten:
                log.info("deleted messages forgotten", messages=forgotten)
            await asyncio.sleep(EXPIRY_SECONDS)
    finally:
        await _close(duty.close)


async def history(settings: Settings) -> None:
    """Forget changes older than the history is kept, until cancelled."""
    while True:
        try:
            forgotten = await purge_history(settings.database, time.time_ns() // 1000)
            if forgotten:
                log.info("old changes forgotten", entries=forgotten)
        except SystemDatabaseError as exc:  # the next round tries again
            log.error("old changes not forgotten", reason=str(exc))
        await asyncio.sleep(HISTORY_SECONDS)


async def _close(close: Callable[[], None]) -> None:
    """Close connections that a thread may still be using: a cancelled duty does not stop its thread's last step."""
    for _attempt in range(200):
        try:
            close()
            return
        except apsw.ThreadingViolationError:
            await asyncio.sleep(0.05)
    log.warning("a connection to the index stays open at the end of its duty")


async def accounting(directory: Directory) -> None:
    """Make figures of domains durable every minute, until cancelled, and once more then."""
    try:
        while True:
            await asyncio.sleep(ACCOUNTING_SECONDS)
            try:
                await directory.accounting.flush()
            except SystemDatabaseError as exc:  # the next round has them, too
                log.error("figures of domains not written", reason=str(exc))
    finally:
        with contextlib.suppress(SystemDatabaseError):
            await directory.accounting.flush()


async def removal(directory: Directory, store: Store, mailbox: Mailbox) -> None:
    """Remove the mail of deleted accounts and domains when their retention time ends, or at once where no copy is kept."""
    changed = asyncio.Event()
    directory.on_account_change(lambda _account: changed.set())
    await _remove_forgotten(directory, store, mailbox)
    while True:
        changed.clear()
        try:
            for one in await directory.claim_deleted_mailboxes():
                if await _remove_mail(store, mailbox, one.owner, one.shard, one.time // 1_000_000):
                    await directory.mailbox_removed(one.owner)
        except SystemDatabaseError as exc:
            log.error("mail of deleted accounts not removed", reason=str(exc))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REMOVAL_SECONDS):
                await changed.wait()


async def _remove_forgotten(directory: Directory, store: Store, mailbox: Mailbox) -> None:
    """What an earlier release deleted without a copy and did not come to remove."""
    rows = directory.database.query(
        "SELECT DISTINCT object_id, old FROM history WHERE kind IN ('account', 'domain') AND verb = 'delete'"
    )
    for owner, old in rows:
        if directory.owner(int(owner)) is None and not directory.is_deleted(int(owner)):
            shard = json.loads(old or "{}").get("shard")
            await _remove_mail(store, mailbox, int(owner), shard if isinstance(shard, int) else None)


async def _remove_mail(store: Store, mailbox: Mailbox, owner: int, shard: int | None, at: int | None = None) -> bool:
    """Whether it is gone; ``shard`` None: wherever it lies."""
    done = True
    for number in store.shards if shard is None else [shard]:
        if number not in store.shards or not store.mail_index(number).has_account(owner):
            continue
        try:
            await mailbox.remove_account(owner, number, at)
            log.info("mail of a deleted account removed", account=owner)
        except MailboxError as exc:  # the next round tries again
            log.error("mail of a deleted account not removed", account=owner, reason=str(exc))
            done = False
    return done
