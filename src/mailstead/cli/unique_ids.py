"""`mailstead user pop3-ids`: unique ids that POP3 clients know from another server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from mailstead.cli.bootstrap_option import config_option, find
from mailstead.cli.data_directory import opened, store_beside
from mailstead.directory.model import Account
from mailstead.directory.service import Directory
from mailstead.mailbox.errors import MailboxError
from mailstead.mailbox.service import Mailbox
from mailstead.process.bootstrap import Bootstrap

MAX_LINES = 5_000_000
ROWS = 500


def _read(path: Path) -> dict[str, str]:
    """Message-ID to unique id; the first of several equal Message-IDs counts."""
    found: dict[str, str] = {}
    with path.open("r", encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if number > MAX_LINES:
                raise click.ClickException(f"more than {MAX_LINES} lines")
            message_id, tab, name = line.rstrip("\r\n").partition("\t")
            if not tab or ("@" not in message_id and not message_id.startswith("<")):
                continue  # a heading, or a message without Message-ID
            found.setdefault(message_id.strip(), name.strip())
    return found


async def _set(bootstrap: Bootstrap, directory: Directory, account: Account, wanted: dict[str, str]) -> tuple[int, int]:
    async with store_beside(bootstrap) as store:
        mailbox = Mailbox(store, directory)
        inbox = await mailbox.folder(account.id, "INBOX")
        assert inbox is not None
        view = await mailbox.open(inbox)
        chosen: dict[int, str] = {}
        uids = list(view.uids)
        left = dict(wanted)
        for start in range(0, len(uids), ROWS):
            for uid, message_id in mailbox.rows(view, uids[start : start + ROWS], ("message_id",)):
                name = left.pop(f"<{message_id}>", None) or left.pop(message_id, None)
                if name:
                    chosen[uid] = name
        view.release()
        return (await mailbox.set_unique_ids(inbox, chosen) if chosen else 0), len(uids)


@click.command("pop3-ids")
@config_option
@click.argument("address")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def pop3_ids(config: Path | None, address: str, file: Path) -> None:
    """Keep the POP3 unique ids of messages that came from another server, so that clients do not fetch all again.

    FILE has a line per message: its Message-ID, a tab, the unique id; Dovecot writes it with
    "doveadm -f tab fetch -u USER 'hdr.message-id pop3.uidl' mailbox INBOX".
    """
    wanted = _read(file)
    with opened(config) as directory:
        account = directory.account_by_address(address)
        if account is None:
            raise click.ClickException(f"the account {address} does not exist")
        try:
            done, messages = asyncio.run(_set(find(config), directory, account, wanted))
        except MailboxError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"{done} of {messages} messages in INBOX keep the unique ids of the {len(wanted)} in {file.name}")
