"""Tables of an index shard and of a queue index, and the numbered steps that lead there.

Invariants: a step runs in one transaction with the row that says so; a file whose version is newer than ours is not
opened; every number shown to a client (uid, modseq) is given in these tables, under the write lock, by ``folder``'s
counters, so that it rises without gaps in the order of commits.

``message`` is the small row clustered by (folder, uid), ``wide`` the large one in the order of arrival (clustered
fat rows insert more than three times slower); flags need no index on modseq, because ``change`` tells which uids
changed at which modseq.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apsw

SHARD_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 0), commit_seq INTEGER NOT NULL, shard INTEGER NOT NULL);
    INSERT INTO state VALUES(0, 0, 0);
    CREATE TABLE applied(writer INTEGER NOT NULL, stream INTEGER NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY(writer, stream)) WITHOUT ROWID;
    CREATE TABLE account(id INTEGER PRIMARY KEY, size INTEGER NOT NULL, messages INTEGER NOT NULL, inbox INTEGER NOT NULL,
        uidvalidity INTEGER NOT NULL);
    CREATE TABLE folder(id INTEGER PRIMARY KEY, account INTEGER NOT NULL, name TEXT NOT NULL, special_use TEXT,
        subscribed INTEGER NOT NULL, kind TEXT NOT NULL, uidvalidity INTEGER NOT NULL, uidnext INTEGER NOT NULL,
        modseq INTEGER NOT NULL, messages INTEGER NOT NULL, unseen INTEGER NOT NULL, deleted INTEGER NOT NULL,
        size INTEGER NOT NULL, created INTEGER NOT NULL, UNIQUE(account, name));
    CREATE TABLE subscription(account INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY(account, name)) WITHOUT ROWID;
    CREATE TABLE keyword(account INTEGER NOT NULL, bit INTEGER NOT NULL, name TEXT NOT NULL,
        PRIMARY KEY(account, bit)) WITHOUT ROWID;
    CREATE TABLE message(folder INTEGER NOT NULL, uid INTEGER NOT NULL, modseq INTEGER NOT NULL, flags INTEGER NOT NULL,
        mid INTEGER NOT NULL, size INTEGER NOT NULL, date INTEGER NOT NULL, saved INTEGER NOT NULL, thread INTEGER NOT NULL,
        PRIMARY KEY(folder, uid)) WITHOUT ROWID;
    CREATE TABLE wide(mid INTEGER PRIMARY KEY, file INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
        overlay BLOB, external INTEGER NOT NULL, external_size INTEGER NOT NULL,
        header_size INTEGER NOT NULL, sent INTEGER NOT NULL, message_id TEXT NOT NULL, subject_base TEXT NOT NULL,
        sort_from TEXT NOT NULL, sort_to TEXT NOT NULL, sort_cc TEXT NOT NULL, preview TEXT NOT NULL,
        parts BLOB NOT NULL, body BLOB NOT NULL, bodystructure BLOB NOT NULL, envelope BLOB NOT NULL, fields BLOB NOT NULL);
    CREATE TABLE copies(mid INTEGER PRIMARY KEY, references_left INTEGER NOT NULL);
    CREATE TABLE thread(account INTEGER NOT NULL, hash INTEGER NOT NULL, thread INTEGER NOT NULL,
        PRIMARY KEY(account, hash)) WITHOUT ROWID;
    CREATE TABLE change(folder INTEGER NOT NULL, modseq INTEGER NOT NULL, kind INTEGER NOT NULL, uids BLOB NOT NULL,
        PRIMARY KEY(folder, modseq, kind)) WITHOUT ROWID;
    CREATE TABLE expunged(at INTEGER NOT NULL, folder INTEGER NOT NULL, uid INTEGER NOT NULL, account INTEGER NOT NULL,
        flags INTEGER NOT NULL, mid INTEGER NOT NULL, size INTEGER NOT NULL, date INTEGER NOT NULL, thread INTEGER NOT NULL,
        PRIMARY KEY(at, folder, uid)) WITHOUT ROWID;
    CREATE TABLE dead(file INTEGER PRIMARY KEY, octets INTEGER NOT NULL, since INTEGER NOT NULL);
    CREATE TABLE job(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, account INTEGER NOT NULL, mid INTEGER NOT NULL);
    """,
    """
    CREATE TABLE epoch(start INTEGER PRIMARY KEY, after INTEGER NOT NULL, id INTEGER NOT NULL);
    """,
    """
    CREATE TABLE acl(account INTEGER NOT NULL, folder INTEGER NOT NULL, identifier TEXT NOT NULL, rights TEXT NOT NULL,
        PRIMARY KEY(account, folder, identifier)) WITHOUT ROWID;
    CREATE INDEX acl_identifier ON acl(identifier, account);
    CREATE TABLE metadata(account INTEGER NOT NULL, folder INTEGER NOT NULL, reader INTEGER NOT NULL, entry TEXT NOT NULL,
        value BLOB NOT NULL, PRIMARY KEY(account, folder, reader, entry)) WITHOUT ROWID;
    CREATE TABLE reader_flags(folder INTEGER NOT NULL, reader INTEGER NOT NULL, uid INTEGER NOT NULL, flags INTEGER NOT NULL,
        modseq INTEGER NOT NULL, PRIMARY KEY(folder, reader, uid)) WITHOUT ROWID;
    CREATE TABLE reader_change(folder INTEGER NOT NULL, modseq INTEGER NOT NULL, reader INTEGER NOT NULL, uids BLOB NOT NULL,
        PRIMARY KEY(folder, modseq, reader)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE uidl(folder INTEGER NOT NULL, uid INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY(folder, uid)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE url_key(reader INTEGER NOT NULL, folder INTEGER NOT NULL, key BLOB NOT NULL,
        PRIMARY KEY(reader, folder)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE script(account INTEGER NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL, active INTEGER NOT NULL,
        PRIMARY KEY(account, name)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE keyword_set(account INTEGER NOT NULL, number INTEGER NOT NULL, members TEXT NOT NULL,
        PRIMARY KEY(account, number), UNIQUE(account, members)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE deleted_folder(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, account INTEGER NOT NULL, name TEXT NOT NULL,
        special_use TEXT, kind TEXT NOT NULL, content BLOB NOT NULL);
    CREATE INDEX deleted_folder_account ON deleted_folder(account);
    """,
    """
    ALTER TABLE change ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
    """,
)

QUEUE_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 0), commit_seq INTEGER NOT NULL, shard INTEGER NOT NULL);
    INSERT INTO state VALUES(0, 0, 0);
    CREATE TABLE applied(writer INTEGER NOT NULL, stream INTEGER NOT NULL, seq INTEGER NOT NULL,
        PRIMARY KEY(writer, stream)) WITHOUT ROWID;
    CREATE TABLE entry(mid INTEGER PRIMARY KEY, file INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
        overlay BLOB, external INTEGER NOT NULL, external_size INTEGER NOT NULL, sender TEXT NOT NULL,
        received INTEGER NOT NULL, size INTEGER NOT NULL, detail BLOB NOT NULL);
    CREATE TABLE recipient(mid INTEGER NOT NULL, number INTEGER NOT NULL, address TEXT NOT NULL, route TEXT NOT NULL,
        due INTEGER NOT NULL, attempts INTEGER NOT NULL, state INTEGER NOT NULL, claimed_by INTEGER NOT NULL,
        claimed_until INTEGER NOT NULL, notified INTEGER NOT NULL, status TEXT NOT NULL, detail BLOB NOT NULL,
        PRIMARY KEY(mid, number)) WITHOUT ROWID;
    CREATE INDEX recipient_due ON recipient(state, due);
    CREATE INDEX recipient_route ON recipient(route, state, due);
    CREATE TABLE dead(file INTEGER PRIMARY KEY, octets INTEGER NOT NULL, since INTEGER NOT NULL);
    """,
)


class SchemaTooNew(Exception):
    """The file was written by a newer release; opening it here would damage it."""


def _version(connection: apsw.Connection) -> int:
    row = connection.execute("SELECT coalesce(max(number), 0) FROM version").fetchone()
    return int(row[0]) if row else 0


def migrate(connection: apsw.Connection, steps: tuple[str, ...]) -> None:
    """Bring the file to the newest version, a step per transaction. Raises SchemaTooNew."""
    connection.execute("CREATE TABLE IF NOT EXISTS version(number INTEGER NOT NULL)")
    version = _version(connection)
    if version > len(steps):
        raise SchemaTooNew(f"schema version {version} is newer than {len(steps)}, the newest this release knows")
    for number in range(version, len(steps)):
        connection.execute("BEGIN IMMEDIATE")
        if _version(connection) <= number:
            connection.execute(steps[number])
            connection.execute("INSERT INTO version VALUES(?)", (number + 1,))
        connection.execute("COMMIT")
