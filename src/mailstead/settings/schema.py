"""The tables of `index/system.db`, as numbered migrations.

Invariants:
- A migration that has been released never changes; a new need is a new number.
- Numbers rise by one; each migration runs in one transaction together with its row in `migration`.
- The SQL is portable: no rowid tricks, no SQLite functions, integers for booleans and microseconds for times.

Settings and directory share this one database, because a change of either must be atomic with its history row.
"""

from __future__ import annotations

from dataclasses import dataclass

APPLICATION_ID = 0x4D535401
"""Written into the database header, so that a foreign SQLite file is refused."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: `number` rises by one, `statements` run in one transaction."""

    number: int
    name: str
    statements: tuple[str, ...]


_BASE = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # Author, object and verb of every change; old and new are JSON without secrets.
    """CREATE TABLE history (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, author TEXT NOT NULL,
        kind TEXT NOT NULL, object_id INTEGER NOT NULL, verb TEXT NOT NULL, old TEXT, new TEXT)""",
    "CREATE INDEX history_object ON history (kind, object_id)",
    """CREATE TABLE setting (
        scope TEXT NOT NULL, scope_id INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (scope, scope_id, name))""",
    """CREATE TABLE listener (
        id INTEGER PRIMARY KEY, service TEXT NOT NULL, host TEXT NOT NULL, port INTEGER NOT NULL,
        attributes TEXT NOT NULL, UNIQUE (host, port))""",
    # listener_id 0 is the service's own set.
    """CREATE TABLE access_rule (
        id INTEGER PRIMARY KEY, service TEXT NOT NULL, listener_id INTEGER NOT NULL, action TEXT NOT NULL,
        ip_set TEXT NOT NULL, enable INTEGER NOT NULL, priority INTEGER NOT NULL, attributes TEXT NOT NULL,
        UNIQUE (service, listener_id, action, ip_set))""",
    "CREATE TABLE shard (number INTEGER PRIMARY KEY, accounts INTEGER NOT NULL)",
    """CREATE TABLE domain (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, enabled INTEGER NOT NULL, version INTEGER NOT NULL,
        created INTEGER NOT NULL)""",
    # Every name a domain answers to, as A-labels: its own (main = 1) and its aliases.
    """CREATE TABLE domain_name (
        key TEXT PRIMARY KEY, name TEXT NOT NULL, domain_id INTEGER NOT NULL, main INTEGER NOT NULL)""",
    "CREATE INDEX domain_name_domain ON domain_name (domain_id)",
    """CREATE TABLE account_class (
        id INTEGER PRIMARY KEY, domain_id INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
        UNIQUE (domain_id, name))""",
    """CREATE TABLE account (
        id INTEGER PRIMARY KEY, domain_id INTEGER NOT NULL, name TEXT NOT NULL, shard INTEGER NOT NULL,
        class_id INTEGER NOT NULL, enabled INTEGER NOT NULL, full_name TEXT NOT NULL, password TEXT NOT NULL,
        scram TEXT NOT NULL, recoverable TEXT NOT NULL, must_change INTEGER NOT NULL,
        password_changed INTEGER NOT NULL, auth_version INTEGER NOT NULL, created INTEGER NOT NULL)""",
    "CREATE INDEX account_domain ON account (domain_id, name)",
    "CREATE INDEX account_by_class ON account (class_id)",
    # Every local name of a domain; the primary key keeps accounts, aliases, groups, lists and folder recipients apart.
    """CREATE TABLE address (
        domain_id INTEGER NOT NULL, local TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
        object_id INTEGER NOT NULL, main INTEGER NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (domain_id, local))""",
    "CREATE INDEX address_object ON address (object_id)",
    """CREATE TABLE password_history (
        account_id INTEGER NOT NULL, time INTEGER NOT NULL, password TEXT NOT NULL, PRIMARY KEY (account_id, time))""",
    """CREATE TABLE login (
        account_id INTEGER NOT NULL, service TEXT NOT NULL, time INTEGER NOT NULL, peer TEXT NOT NULL,
        PRIMARY KEY (account_id, service))""",
    # Groups, mailing lists and folder recipients: what only some of them have is in attributes (JSON).
    """CREATE TABLE recipient (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, domain_id INTEGER NOT NULL, name TEXT NOT NULL,
        enabled INTEGER NOT NULL, password TEXT NOT NULL, attributes TEXT NOT NULL, created INTEGER NOT NULL)""",
    "CREATE INDEX recipient_domain ON recipient (domain_id, kind, name)",
    """CREATE TABLE member (
        recipient_id INTEGER NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL,
        PRIMARY KEY (recipient_id, address))""",
    "CREATE INDEX member_address ON member (address)",
    """CREATE TABLE admin (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL, enabled INTEGER NOT NULL,
        password TEXT NOT NULL, scram TEXT NOT NULL, super INTEGER NOT NULL, auth_version INTEGER NOT NULL)""",
    "CREATE TABLE admin_group (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL)",
    """CREATE TABLE admin_member (
        group_id INTEGER NOT NULL, member_id INTEGER NOT NULL, PRIMARY KEY (group_id, member_id))""",
    # domain_id 0 is the server itself; effect is grant or deny.
    """CREATE TABLE admin_permission (
        holder_id INTEGER NOT NULL, domain_id INTEGER NOT NULL, permission TEXT NOT NULL, effect TEXT NOT NULL,
        PRIMARY KEY (holder_id, domain_id, permission))""",
)

# Named objects under an owner (settings.objects), and texts too long for a setting (settings.edits).
_OBJECTS = (
    """CREATE TABLE object (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, scope TEXT NOT NULL, scope_id INTEGER NOT NULL, key TEXT NOT NULL,
        attributes TEXT NOT NULL, UNIQUE (scope, scope_id, kind, key))""",
    """CREATE TABLE content (
        scope TEXT NOT NULL, scope_id INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (scope, scope_id, name))""",
)

# Lists have a mailbox and a login (LST-01); members have an id, a form to be compared by, and the wishes and troubles of list
# members. The names of lists beside their own are reserved; `local` keys of old lists are ASCII, as their names were folded.
_LISTS = (
    "ALTER TABLE recipient ADD COLUMN shard INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE recipient ADD COLUMN scram TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE recipient ADD COLUMN recoverable TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE recipient ADD COLUMN auth_version INTEGER NOT NULL DEFAULT 1",
    """CREATE TABLE member_4 (
        id INTEGER PRIMARY KEY AUTOINCREMENT, recipient_id INTEGER NOT NULL, address TEXT NOT NULL, key TEXT NOT NULL,
        name TEXT NOT NULL, digest INTEGER NOT NULL DEFAULT 0, nomail INTEGER NOT NULL DEFAULT 0,
        score REAL NOT NULL DEFAULT 0, bounced INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT '',
        UNIQUE (recipient_id, key))""",
    """INSERT INTO member_4 (recipient_id, address, key, name)
        SELECT recipient_id, address, lower(address), name FROM member WHERE true ON CONFLICT DO NOTHING""",
    "DROP TABLE member",
    "ALTER TABLE member_4 RENAME TO member",
    "CREATE INDEX member_key ON member (key)",
    "CREATE INDEX member_state ON member (state) WHERE state <> ''",
    "CREATE INDEX member_digest ON member (recipient_id) WHERE digest = 1",
    *(
        f"""INSERT INTO address (domain_id, local, name, kind, object_id, main, expires)
        SELECT domain_id, lower(name) || '-{role}', name || '-{role}', 'list-{role}', id, 0, 0 FROM recipient
        WHERE kind = 'list' ON CONFLICT DO NOTHING"""
        for role in ("subscribe", "unsubscribe", "request", "bounces", "owner", "confirm")
    ),
)

# What was deleted and can be brought back: rows of any table as JSON, and whose mail is still to be removed.
_DELETED = (
    """CREATE TABLE deleted (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, domain_id INTEGER NOT NULL, name TEXT NOT NULL, time INTEGER NOT NULL,
        author TEXT NOT NULL, state INTEGER NOT NULL)""",
    "CREATE INDEX deleted_domain ON deleted (domain_id)",
    """CREATE TABLE deleted_row (
        deleted_id INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL,
        PRIMARY KEY (deleted_id, number))""",
    """CREATE TABLE deleted_mailbox (owner INTEGER PRIMARY KEY, deleted_id INTEGER NOT NULL, shard INTEGER NOT NULL)""",
    "CREATE INDEX deleted_mailbox_object ON deleted_mailbox (deleted_id)",
)

# Migrations of mailboxes (package migration): jobs, their folders, which messages were taken, what was said about it.
_MAIL_MIGRATION = (
    """CREATE TABLE migration_job (
        id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL, options TEXT NOT NULL,
        secret TEXT NOT NULL, state TEXT NOT NULL, wanted TEXT NOT NULL, author TEXT NOT NULL, created INTEGER NOT NULL,
        started INTEGER NOT NULL, ended INTEGER NOT NULL, next_at INTEGER NOT NULL, rounds INTEGER NOT NULL,
        failures INTEGER NOT NULL, there INTEGER NOT NULL, taken INTEGER NOT NULL, reason TEXT NOT NULL)""",
    "CREATE INDEX migration_job_account ON migration_job (account_id)",
    # remote is the name as the server spells it, one character for each octet.
    """CREATE TABLE migration_folder (
        job_id INTEGER NOT NULL, number INTEGER NOT NULL, remote TEXT NOT NULL, local TEXT NOT NULL, validity INTEGER NOT NULL,
        modseq INTEGER NOT NULL, there INTEGER NOT NULL, taken INTEGER NOT NULL, PRIMARY KEY (job_id, number))""",
    # state 0: about to be appended to the folder, whose next UID was mark or more; 1: appended.
    """CREATE TABLE migration_batch (
        job_id INTEGER NOT NULL, folder INTEGER NOT NULL, number INTEGER NOT NULL, state INTEGER NOT NULL, mark INTEGER NOT NULL,
        content BLOB NOT NULL, PRIMARY KEY (job_id, folder, number))""",
    """CREATE TABLE migration_line (
        job_id INTEGER NOT NULL, number INTEGER NOT NULL, time INTEGER NOT NULL, line TEXT NOT NULL,
        PRIMARY KEY (job_id, number))""",
)

# Figures of each domain and day (UTC, days since 1970): what is received, sent or logins.
_ACCOUNTING = (
    """CREATE TABLE accounting (
        domain_id INTEGER NOT NULL, day INTEGER NOT NULL, what TEXT NOT NULL, number INTEGER NOT NULL, octets INTEGER NOT NULL,
        PRIMARY KEY (domain_id, day, what))""",
)

# What accounts have sent in the present interval (QTA-04), when they were last told of something, and up to which history row
# new accounts were welcomed (ACC-05): accounts that are older than this are not. Times are unix seconds.
_SENDING = (
    """CREATE TABLE sent_quota (
        account_id INTEGER PRIMARY KEY, started INTEGER NOT NULL, messages INTEGER NOT NULL, recipients INTEGER NOT NULL,
        size INTEGER NOT NULL, told INTEGER NOT NULL)""",
    """CREATE TABLE notice (
        account_id INTEGER NOT NULL, kind TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (account_id, kind))""",
    "INSERT INTO meta (key, value) SELECT 'welcomed', coalesce(max(seq), 0) FROM history",
)

# Members that an entry of the history has no room for, as they were before (side 0) and after it (side 1).
_MEMBERS_OF_HISTORY = (
    """CREATE TABLE history_member (
        seq INTEGER NOT NULL, side INTEGER NOT NULL, member_id INTEGER NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL,
        digest INTEGER NOT NULL, nomail INTEGER NOT NULL, PRIMARY KEY (seq, side, member_id))""",
)

_SETTINGS_BY_NAME = "CREATE INDEX setting_of_domains ON setting (name) WHERE scope = 'domainConfig'"

MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "settings and directory", _BASE),
    # Public folders lie in a shard as accounts do.
    Migration(2, "shards of domains", ("ALTER TABLE domain ADD COLUMN shard INTEGER NOT NULL DEFAULT 0",)),
    Migration(3, "named objects and long texts", _OBJECTS),
    Migration(4, "mailing lists", _LISTS),
    Migration(5, "deleted accounts and domains", _DELETED),
    Migration(6, "migrations of mailboxes", _MAIL_MIGRATION),
    Migration(8, "figures of domains by day", _ACCOUNTING),
    Migration(9, "sending limits and notices", _SENDING),
    # Which domains limit what is sold apart is asked at every change (directory.mailbox_counts).
    Migration(10, "settings of domains by name", (_SETTINGS_BY_NAME,)),
    Migration(11, "members of changes of many", _MEMBERS_OF_HISTORY),
)
