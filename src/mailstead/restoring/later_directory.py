"""After a restore to a time between two backups: what the directory of the backup before lacks comes from the one after.

Invariants: only what was made before that time comes; what the backup before has stays as it has it. So no mail that was restored
lies in an account that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mailstead.directory.model import DirectoryError
from mailstead.directory.object_rows import ObjectRow
from mailstead.directory.service import Directory
from mailstead.restoring.source import SourceDirectory
from mailstead.settings.actor import Actor
from mailstead.store.backup.repository import Manifest, Repository
from mailstead.store.backup.view import fetch

ACTOR = Actor.system("restore")


def later_of(repository: Repository, base: Manifest, until: float) -> Manifest | None:
    """The first backup that ends at or after a time, where it is not ``base``."""
    from mailstead.store.backup.create import id_at

    found = next((one for one in repository.manifests() if one.horizon >= id_at(until)), None)
    return found if found is not None and found.label != base.label else None


async def bring_what_is_missing(
    repository: Repository, later: Manifest, data_dir: Path, until: float, told: Callable[[str], None]
) -> None:
    """Domains, accounts, groups and lists made before ``until``. Raises Damaged, OSError, SystemDatabaseError."""
    entry = later.by_path().get("index/system.db")
    if entry is None:
        return
    copy = data_dir / "tmp" / "later-system.db"
    fetch(repository, entry, copy)
    source, directory = SourceDirectory(copy), Directory.open(data_dir)
    before = int(until * 1_000_000)
    try:
        for id, name in source.read("SELECT id, name FROM domain WHERE created <= ? ORDER BY created", (before,)):
            owner = source.domain(name)
            assert owner is not None
            rows = [row for row in source.rows(owner) if _made_before(row, before)]
            try:
                if directory.domain(id) is None:
                    if any(one.id == id for one in directory.deleted_domains()):
                        continue
                    await directory.bring_domain(_of_kept(rows), actor=ACTOR)
                    told(f"the domain {name} was made after the backup before")
                    continue
                for text in await directory.bring_missing(_of_kept(rows), id, actor=ACTOR):
                    told(f"{name}: {text}")
                gone = {one.id for one in directory.deleted_accounts(id)}
                for account in source.accounts(owner):
                    made = source.read("SELECT created FROM account WHERE id = ?", (account.id,))[0][0]
                    if made <= before and directory.account(account.id) is None and account.id not in gone:
                        await directory.bring_account(source.rows(account), id, actor=ACTOR)
                        told(f"the account {account.address} was made after the backup before")
            except DirectoryError as error:
                told(f"{name}: {error}")
    finally:
        source.close()
        directory.close()
        copy.unlink()


def _made_before(row: ObjectRow, before: int) -> bool:
    return row[0] not in ("account", "recipient") or int(row[1]["created"]) <= before


def _of_kept(rows: list[ObjectRow]) -> list[ObjectRow]:
    """Rows without those of accounts and recipients that are left out."""
    kept = {int(row["id"]) for table, row in rows if table in ("domain", "account", "account_class", "recipient")}
    names = ("object_id", "scope_id", "account_id", "recipient_id")
    return [(table, row) for table, row in rows if all(row[name] in kept for name in names if name in row)]
