"""An account's rows in its shard: made when first needed, with the folders every account has.

Invariants: an account's row carries its exact use (octets, messages) and is changed in the same transactions as
its messages; UIDVALIDITY values of an account rise strictly, so a folder made again under an old name is a new one.
"""

from __future__ import annotations

import hashlib

from mailstead.store.ids import id_time
from mailstead.store.shard import Shard

DEFAULT_FOLDERS: tuple[tuple[str, str | None], ...] = (
    ("INBOX", None),
    ("Drafts", "\\Drafts"),
    ("Sent", "\\Sent"),
    ("Trash", "\\Trash"),
    ("Spam", "\\Junk"),
    ("Archive", "\\Archive"),
)


def default_folder_id(account: int, number: int) -> int:
    """The id of an account's n-th folder from the start: the same in every replay, and no other folder's."""
    digest = hashlib.blake2b(b"%d/%d" % (account, number), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def create_account(shard: Shard, account: int, validity: int) -> int:
    """Make an account's row and the folders every account has; returns the INBOX's id."""
    inbox = default_folder_id(account, 0)
    shard.execute("INSERT INTO account VALUES(?, 0, 0, ?, ?)", (account, inbox, validity))
    shard.noted.append(["account", "create", account, validity])
    rows = [
        (default_folder_id(account, n), account, name, use, 1, "mail", validity, 1, 1, 0, 0, 0, 0, validity)
        for n, (name, use) in enumerate(DEFAULT_FOLDERS)
    ]
    shard.executemany("INSERT INTO folder VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    shard.executemany("INSERT OR IGNORE INTO subscription VALUES(?, ?)", [(account, name) for name, _ in DEFAULT_FOLDERS])
    return inbox


def ensure_account(shard: Shard, account: int, id: int) -> int:
    """The INBOX's folder id; creates account and folders where missing. ``id`` is the record's: its time becomes
    their UIDVALIDITY."""
    inbox = shard.inboxes.get(account)
    if inbox is not None:
        return inbox
    row = shard.row("SELECT inbox FROM account WHERE id = ?", (account,))
    if row is None:
        inbox = create_account(shard, account, int(id_time(id)))
    else:
        inbox = int(row[0])
    if len(shard.inboxes) > 200_000:
        shard.inboxes.clear()
    shard.inboxes[account] = inbox
    return inbox
