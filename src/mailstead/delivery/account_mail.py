"""Mail of the server to the owner of an account: from a template, into INBOX whatever the quota.

Invariants: a template cannot name a file outside ``server.templatesPath``; one that is missing, unreadable or too large is told in
the log, and the built-in text is sent; a value that is put in is one line without controls, and no placeholder in it is
replaced again; no such mail is filtered, restricted or counted.

A notice that goes at most once in a time is claimed in the system database before it is written, so that of all processes one
sends it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailstead.delivery.host import host_name
from mailstead.directory.model import Account
from mailstead.directory.service import Directory
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.message.build import format_address, one_line, text_message
from mailstead.observe.log import get_logger
from mailstead.settings.database import Transaction
from mailstead.settings.written_forms import OWN_DIRECTORIES

log = get_logger("PROCESSING")

MAX_TEMPLATE = 256 * 1024
MAX_VALUE = 1000
_placeholder = re.compile(r"\$([A-Z]+)\b")
_field = re.compile(r"(Subject|From):[ \t]*([^\r\n]*)\r?\n", re.IGNORECASE)


def fill(template: str, fields: Mapping[str, str]) -> str:
    """A template with its placeholders replaced; unknown ones stay."""

    def value(match: re.Match[str]) -> str:
        found = fields.get(match[1])
        return match[0] if found is None else one_line(found)[:MAX_VALUE]

    return _placeholder.sub(value, template)


def read_template(data_dir: Path, templates: str, file: str) -> str:
    """The text of a file below the directory of templates. Raises OSError, ValueError with the reason."""
    root, home = (data_dir / templates).resolve(), data_dir.resolve()
    if home.is_relative_to(root) or any(root.is_relative_to(home / name) for name in OWN_DIRECTORIES):
        raise OSError("server.templatesPath leads to the server's own files")
    path = (root / file).resolve()
    if not path.is_relative_to(root):
        raise OSError("it lies outside the directory of templates")
    if path.stat().st_size > MAX_TEMPLATE:
        raise OSError("it is too large")
    return path.read_bytes().decode("utf-8", "replace")


def account_fields(account: Account) -> dict[str, str]:
    """What every template has."""
    return {"ACCOUNT": account.address, "DOMAIN": account.domain, "FULLNAME": account.full_name or account.address}


class AccountMail:
    """One per process."""

    def __init__(self, directory: Directory, mailbox: Mailbox, data_dir: Path) -> None:
        self._directory = directory
        self._mailbox = mailbox
        self._data_dir = data_dir

    async def compose(
        self, to: str, domain: str, file: str, built_in: str, fields: Mapping[str, str], *, message_id: str | None = None
    ) -> bytes:
        """The message by a template file ("" for the built-in text), from the domain's postmaster."""
        template = await asyncio.to_thread(self._read, file) if file else None
        text = template if template is not None else built_in
        headers: dict[str, str] = {}
        while (match := _field.match(text)) is not None:
            headers[match[1].lower()] = fill(match[2], fields)
            text = text[match.end() :]
        body = fill(text.lstrip("\r\n") if headers else text, fields)
        sender = headers.get("from") or format_address("Postmaster", f"postmaster@{domain}")
        return text_message(
            sender, to, headers.get("subject", "Notice"), body, time.time(), message_id=message_id,
            host=host_name(self._directory.settings),
        )  # fmt: skip

    def _read(self, file: str) -> str | None:
        settings: Any = self._directory.settings.peek("server")
        try:
            return read_template(self._data_dir, str(settings.templatesPath), file)
        except (OSError, ValueError) as error:
            log.warning("template not read, built-in text sent", file=file[:200], reason=str(error))
            return None

    async def put(self, account: Account, octets: bytes) -> None:
        """Into the account's INBOX, past rules and quota. Raises MailboxError."""
        inbox = await self._mailbox.folder(account.id, "INBOX")
        if inbox is not None:
            await self._mailbox.append(inbox, [NewMessage(octets)], limited=False)

    async def claim(self, account_id: int, kind: str, before: int) -> bool:
        """Whether the caller is to send a notice now: none was claimed since `before` (unix time). Raises
        SystemDatabaseError."""
        now = int(time.time())

        def operation(transaction: Transaction) -> bool:
            transaction.execute(
                "INSERT INTO notice (account_id, kind, time) VALUES (?, ?, ?) ON CONFLICT (account_id, kind) "
                "DO UPDATE SET time = excluded.time WHERE time < ?",
                (account_id, kind, now, before),
            )
            return bool(transaction.changed())

        return await self._directory.database.write(operation)

    def claimed(self, account_id: int, kind: str) -> int:
        """When a notice was last claimed (unix time), 0 for never."""
        row = self._directory.database.query_row(
            "SELECT time FROM notice WHERE account_id = ? AND kind = ?", (account_id, kind)
        )
        return int(row[0]) if row is not None else 0
