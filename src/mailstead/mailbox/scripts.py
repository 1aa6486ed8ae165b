"""Sieve scripts of an account (RFC 5804): kept, checked before they are kept, one of them active.

Invariants: a script that is kept passed ``sieve.check``; an account has at most ``MAX_SCRIPTS`` of at most ``MAX_OCTETS``
each; a verb returns when its effect is durable.
"""

from __future__ import annotations

import asyncio
import time
import unicodedata

from mailstead.mailbox.base import Accounts, People
from mailstead.mailbox.errors import FolderExists, FolderMissing, LimitReached, MailboxError, StoreUnavailable
from mailstead.mailbox.unique_ids import UniqueIdVerbs
from mailstead.sieve.check import check
from mailstead.store.operations import ChangeScripts
from mailstead.store.service import Store

MAX_SCRIPTS = 32
MAX_OCTETS = 128 * 1024
MAX_NAME_OCTETS = 512
MAX_KEPT = 50_000
MAX_KEPT_TEXT = 16 << 20
CHECKED_AT_ONCE = 2_000
"""Characters of a script that is checked in the event loop."""
KEPT_SECONDS = 60.0


class ScriptMissing(MailboxError):
    """There is no script of that name."""


class ScriptExists(MailboxError):
    """A script of that name exists already."""


class ScriptActive(MailboxError):
    """The active script cannot be deleted."""


class InvalidScriptName(MailboxError):
    """The name is empty, too long or has control characters (RFC 5804 section 1.6)."""


def checked_name(name: str) -> str:
    """A name in its stored form. Raises InvalidScriptName."""
    name = unicodedata.normalize("NFC", name)
    try:
        octets = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidScriptName("the name is not valid Unicode") from None
    forbidden = any(unicodedata.category(c) == "Cc" or c in "\u2028\u2029" for c in name)
    if not name or octets > MAX_NAME_OCTETS or forbidden:
        raise InvalidScriptName(f"a name has 1 to {MAX_NAME_OCTETS} octets and no control characters")
    return name


class ScriptVerbs(UniqueIdVerbs):
    """By account."""

    _script_mark = -1
    _scripts_until = 0.0
    _scripts_kept = 0

    def __init__(self, store: Store, accounts: Accounts, people: People | None = None) -> None:
        super().__init__(store, accounts, people)
        self._active: dict[int, str | None] = {}

    async def scripts(self, account: int) -> list[tuple[str, int, bool]]:
        """(name, octets, active) by name."""
        return self._store.mail_index(await self._ensure(account)).scripts(account)

    async def script(self, account: int, name: str) -> str:
        """A script's text. Raises ScriptMissing."""
        text = self._store.mail_index(await self._ensure(account)).script(account, checked_name(name))
        if text is None:
            raise ScriptMissing("there is no script of that name")
        return text

    def active_script(self, account: int, shard: int) -> str | None:
        """The text of the script that mail runs through, at once. Kept at hand, for every delivery asks."""
        mark, now = self._store.script_mark(), time.monotonic()
        full = len(self._active) >= MAX_KEPT or self._scripts_kept > MAX_KEPT_TEXT
        if mark != self._script_mark or now >= self._scripts_until or full:
            # The time is for a change whose author died before it could tell.
            self._script_mark, self._scripts_until, self._scripts_kept = mark, now + KEPT_SECONDS, 0
            self._active.clear()
        try:
            return self._active[account]
        except KeyError:
            found = self._active[account] = self._store.mail_index(shard).active_script(account)
            self._scripts_kept += len(found or "")
            return found

    async def check_script_space(self, account: int, name: str, size: int) -> None:
        """Raises LimitReached where a script of ``size`` octets would not be kept."""
        name = checked_name(name)
        if size > MAX_OCTETS:
            raise LimitReached(f"a script has at most {MAX_OCTETS} octets")
        names = {known for known, _, _ in await self.scripts(account)}
        if name not in names and len(names) >= MAX_SCRIPTS:
            raise LimitReached(f"no more than {MAX_SCRIPTS} scripts")

    async def check_script(self, text: str) -> None:
        """Say whether it is one. Raises SieveError, LimitReached."""
        octets = len(text.encode("utf-8", "surrogatepass"))
        if octets > MAX_OCTETS:
            raise LimitReached(f"a script has at most {MAX_OCTETS} octets")
        if len(text) <= CHECKED_AT_ONCE:
            check(text)
        else:
            await asyncio.to_thread(check, text)

    async def put_script(self, account: int, name: str, text: str) -> None:
        """Check and keep a script. Raises SieveError, LimitReached, InvalidScriptName."""
        name = checked_name(name)
        await self.check_script_space(account, name, len(text.encode("utf-8", "surrogatepass")))
        await self.check_script(text)
        await self._change_scripts(account, "put", name, text)

    async def delete_script(self, account: int, name: str) -> None:
        """Raises ScriptMissing, ScriptActive."""
        await self._change_scripts(account, "delete", checked_name(name))

    async def rename_script(self, account: int, old: str, new: str) -> None:
        """Raises ScriptMissing, ScriptExists, InvalidScriptName."""
        await self._change_scripts(account, "rename", checked_name(old), checked_name(new))

    async def activate_script(self, account: int, name: str) -> None:
        """Run mail through that script, through none where the name is empty. Raises ScriptMissing."""
        await self._change_scripts(account, "activate", checked_name(name) if name else "")

    async def _change_scripts(self, account: int, verb: str, name: str, value: str = "") -> None:
        shard = await self._ensure(account)
        change = self._store.change([ChangeScripts(shard, account, verb, name, value)], shown=False)
        try:
            await self._done(change)
        except FolderMissing as error:
            raise ScriptMissing(str(error)) from None
        except FolderExists as error:
            raise ScriptExists(str(error)) from None
        except StoreUnavailable:
            raise
        except MailboxError as error:
            raise ScriptActive(str(error)) from None
