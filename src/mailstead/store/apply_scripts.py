"""Change records become rows: Sieve scripts of an account.

Invariants: as in apply_changes.py; at most one script of an account is active; the active one is not deleted.
"""

from __future__ import annotations

from mailstead.store.accounts import ensure_account
from mailstead.store.operations import ChangeScripts
from mailstead.store.results import Refused, Result
from mailstead.store.shard import Shard


def change_scripts(shard: Shard, op: ChangeScripts, id: int) -> Result:
    """Put, delete, rename or activate a script. Raises Refused: missing, exists, invalid (deleting the active one)."""
    account, name = op.account, op.name
    row = shard.row("SELECT active FROM script WHERE account = ? AND name = ?", (account, name))
    if row is None and (op.verb in ("delete", "rename") or (op.verb == "activate" and name)):
        raise Refused("missing", "there is no script of that name")
    if op.verb == "put":
        ensure_account(shard, account, id)
        shard.execute("INSERT OR REPLACE INTO script VALUES(?, ?, ?, ?)", (account, name, op.value, row[0] if row else 0))
    elif op.verb == "delete":
        assert row is not None
        if row[0]:
            raise Refused("invalid", "the active script cannot be deleted")
        shard.execute("DELETE FROM script WHERE account = ? AND name = ?", (account, name))
    elif op.verb == "rename":
        if shard.row("SELECT 1 FROM script WHERE account = ? AND name = ?", (account, op.value)):
            raise Refused("exists", "a script of that name exists already")
        shard.execute("UPDATE script SET name = ? WHERE account = ? AND name = ?", (op.value, account, name))
    else:
        shard.execute("UPDATE script SET active = (name = ?) WHERE account = ?", (name, account))
    return Result(effects=[["script", account, op.verb, name, op.value]])
