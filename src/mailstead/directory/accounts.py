"""Verbs of accounts: create, import, delete, rename, enable, passwords, aliases, classes, limits, last logins.

Invariants:
- An account's shard is chosen once, from the stored shard map (least filled), never computed from its id.
- Every change of a password or right raises `auth_version`, and is seen by all processes before the verb returns.
- A bulk import writes at most 1000 accounts in a transaction; a refused line never stops the others.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mailstead.directory.account_rows import (
    ImportLine,
    import_lines,
    import_password,
)
from mailstead.directory.account_steps import AccountSteps
from mailstead.directory.address import checked_local
from mailstead.directory.model import (
    Account,
    ImportResult,
    InvalidNameError,
    NewAccount,
    NotFoundError,
    PasswordRefusedError,
)
from mailstead.directory.password_policy import check_history, check_rules
from mailstead.directory.room import ACCOUNTS
from mailstead.settings.actor import Actor, PermissionDeniedError
from mailstead.settings.database import Transaction
from mailstead.settings.declarations import ACCOUNT

BULK = 1000


def account_permission(name: str) -> str:
    """The domain permission that changing an account's setting, or a long text of it, needs."""
    return ACCOUNT.permission_by_name(name)


class AccountVerbs(AccountSteps):
    """Verbs on accounts."""

    def _need_account(self, account_id: int) -> Account:
        account = self.account(account_id)
        if account is None:
            raise NotFoundError(f"account {account_id} does not exist")
        return account

    # -- creation -------------------------------------------------------------------------------------------

    async def create_account(
        self,
        domain: str,
        name: str,
        password: str | None = None,
        *,
        actor: Actor,
        hash: str | None = None,
        full_name: str = "",
        class_id: int = 0,
        enforce: bool = False,
    ) -> Account:
        """Create an enabled account with a clear `password` or a ready `hash`; with neither nobody can log in.

        With `enforce` the domain's password rules hold (an administrator may otherwise set anything).
        Raises NotFoundError, AlreadyExistsError, InvalidNameError, LimitReachedError, PasswordRefusedError.
        """
        owner = self._need_domain(domain)
        actor.require("createAccounts", owner.id)
        name = checked_local(name)
        if password is not None and enforce:
            self.check_new_password(password, owner.id, 0, class_id)
        stored = await self.stored_password(password, hash)
        account_id = self.ids.next()
        step = self.account_creation(
            account_id, owner.id, name, stored, actor=actor, full_name=full_name, class_id=class_id
        )
        await self._change(step.operation)
        return self._need_account(account_id)

    async def import_accounts(
        self,
        accounts: Sequence[NewAccount],
        *,
        actor: Actor,
        enforce: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> ImportResult:
        """Create many accounts; clear passwords are hashed on all cores. `progress(done, total)` after each batch.

        What is refused (bad name, unknown domain, taken name, bad hash) is reported by index; the rest is created.
        With `enforce` clear passwords are held to the rules of their domain.
        """
        weak = self._weak_passwords(accounts) if enforce else {}
        refused: list[tuple[int, str]] = list(weak.items())
        created = 0
        keep: bool = self.settings.service("server").recoverableSecrets
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="import") as pool:
            for start in range(0, len(accounts), BULK):
                end = min(start + BULK, len(accounts))
                batch = [index for index in range(start, end) if index not in weak]
                hashed = await asyncio.gather(
                    *(loop.run_in_executor(pool, import_password, accounts[index], keep) for index in batch)
                )
                done, failed = await self._import_batch(
                    [(index, accounts[index], stored) for index, stored in zip(batch, hashed, strict=True)], actor
                )
                created += done
                refused.extend(failed)
                if progress is not None:
                    progress(end, len(accounts))
        return ImportResult(created, tuple(sorted(refused)))

    def _weak_passwords(self, accounts: Sequence[NewAccount]) -> dict[int, str]:
        """Index and reason of clear passwords that break the rules of their domain."""
        rules: dict[str, Any] = {}
        weak: dict[int, str] = {}
        for index, account in enumerate(accounts):
            name = account.address.rpartition("@")[2].strip().lower()
            if not account.password:
                continue
            if name not in rules:
                owner = self.domain_by_name(name)
                rules[name] = self.settings.account_values([("domain", owner.id)]) if owner is not None else None
            if rules[name] is None:
                continue  # refused later for its domain
            try:
                check_rules(account.password, rules[name], 0)
            except PasswordRefusedError as error:
                weak[index] = str(error)
        return weak

    async def _import_batch(self, lines: list[ImportLine], actor: Actor) -> tuple[int, list[tuple[int, str]]]:
        # The limits are read here, in the thread that owns the look-ups, not in the writer's.
        limits = {domain.id: self.limit_of(domain.id, ACCOUNTS) for domain in self.domains()}

        def operation(transaction: Transaction) -> tuple[int, list[tuple[int, str]]]:
            return import_lines(transaction, actor, lines, limits, self.ids.next)

        return await self._change(operation)

    # -- life cycle -----------------------------------------------------------------------------------------

    async def rename_account(self, account_id: int, name: str, *, actor: Actor) -> None:
        """Give an account another main name; mailbox, id and aliases stay, the old name becomes free."""
        account = self._need_account(account_id)
        await self._change(self.account_renaming(account_id, account.domain_id, name, actor=actor).operation)

    async def enable_account(self, account_id: int, enabled: bool = True, *, actor: Actor) -> None:
        """Enable or disable; a disabled account neither logs in nor takes mail."""
        account = self._need_account(account_id)
        actor.require("manageAccounts", account.domain_id)
        await self._update(
            actor, account_id, "enable" if enabled else "disable", "enabled = ?, auth_version = auth_version + 1",
            (int(enabled),), {"enabled": enabled},
        )  # fmt: skip

    async def disable_account(self, account_id: int, *, actor: Actor) -> None:
        """`enable_account(account_id, False)`."""
        await self.enable_account(account_id, False, actor=actor)

    async def set_full_name(self, account_id: int, full_name: str, *, actor: Actor) -> None:
        """Display name of the owner, at most 255 characters."""
        account = self._need_account(account_id)
        if actor.account_id != account_id:
            actor.require("manageAccountsContactInformation", account.domain_id)
        if len(full_name) > 255 or any(ord(character) < 32 for character in full_name):
            raise InvalidNameError("a full name has at most 255 characters and no control characters")
        await self._update(actor, account_id, "set fullName", "full_name = ?", (full_name,), {"fullName": full_name})

    async def set_account_class(self, account_id: int, class_id: int, *, actor: Actor) -> None:
        """Put an account into a class of its domain (0: none)."""
        account = self._need_account(account_id)
        await self._change(self.class_change(account_id, account.domain_id, class_id, actor=actor).operation)

    async def set_account_setting(self, account_id: int, setting: str, value: str | None, *, actor: Actor) -> None:
        """Set (None: inherit again) a limit, quota or restriction of one account."""
        account = self._need_account(account_id)
        declared = ACCOUNT.setting(setting)
        actor.require(account_permission(declared.name), account.domain_id)
        await self._store_setting(actor, "account", account_id, declared, value, "account")

    async def _update(
        self, actor: Actor, account_id: int, verb: str, assignment: str, values: tuple[Any, ...], new: dict[str, Any]
    ) -> None:
        def operation(transaction: Transaction) -> None:
            transaction.execute(f"UPDATE account SET {assignment} WHERE id = ?", (*values, account_id))
            if not transaction.changed():
                raise NotFoundError(f"account {account_id} does not exist")
            transaction.record(actor.name, "account", account_id, verb, None, new)

        await self._change(operation)

    # -- passwords ------------------------------------------------------------------------------------------

    async def set_password(
        self,
        account_id: int,
        password: str | None = None,
        *,
        actor: Actor,
        hash: str | None = None,
        enforce: bool = False,
        must_change: bool = False,
    ) -> None:
        """Set a password or a ready hash; every other credential of the account is invalid everywhere on return.

        The account itself (Actor.user) is held to the rules of PWD-01; an administrator only with `enforce`.
        """
        account = self._need_account(account_id)
        own = actor.account_id == account_id
        if not own:
            actor.require("changeAccountsPassword", account.domain_id)
        if (password is None) == (hash is None):
            raise ValueError("give either password or hash")
        if own and password is None:
            raise PermissionDeniedError("a user sets a password, not a hash")
        if password is not None and (own or enforce):
            size = int(str(self.account_settings(account_id)["passHistorySize"].value))
            await self._check_password(account_id, password, size)
        stored = await self.stored_password(password, hash)
        step = self.password_change(account_id, account.domain_id, stored, actor=actor, must_change=must_change)
        await self._change(step.operation)

    async def _check_password(self, account_id: int, password: str, history: int) -> None:
        credentials = self.credentials(account_id)
        changed = credentials.password_changed if credentials else 0
        check_rules(password, self.account_settings(account_id), changed)
        if not history or credentials is None:
            return
        rows = self.database.query(
            "SELECT password FROM password_history WHERE account_id = ? ORDER BY time DESC LIMIT ?",
            (account_id, history),
        )
        old = [credentials.password, *(row[0] for row in rows)]
        await asyncio.to_thread(check_history, password, old[:history])

    async def upgrade_password(self, account_id: int, password: str, verified: str) -> bool:
        """Replace an old form after a successful login by today's, and derive SCRAM keys; the password is unchanged,
        so `auth_version` stays. Does nothing (False) when the stored form is no longer `verified`."""
        stored = await self.stored_password(password, None)

        def operation(transaction: Transaction) -> bool:
            transaction.execute(
                "UPDATE account SET password = ?, scram = ?, recoverable = ? WHERE id = ? AND password = ?",
                (stored.password, stored.scram, stored.recoverable, account_id, verified),
            )
            if not transaction.changed():
                return False
            transaction.record("system", "account", account_id, "upgrade password")
            return True

        return await self._change(operation)

    # -- aliases --------------------------------------------------------------------------------------------

    async def add_account_alias(self, account_id: int, alias: str, *, actor: Actor, days: int = 0, until: int = 0) -> None:
        """Add a name; with `days`, or `until` (unix seconds), a temporary one that takes mail but is no login. Raises
        AlreadyExistsError."""
        account = self._need_account(account_id)
        step = self.alias_addition(account_id, account.domain_id, alias, actor=actor, days=days, until=until)
        await self._change(step.operation)

    async def remove_account_alias(self, account_id: int, alias: str, *, actor: Actor) -> None:
        """Take a name away. Raises NotFoundError."""
        domain_id = self._need_account(account_id).domain_id
        await self._change(self.alias_removal(account_id, domain_id, alias, actor=actor).operation)
