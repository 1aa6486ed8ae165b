"""Another process on the same data directory: does what its standard input says, answers when it is acknowledged."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mailstead.directory import Actor, Directory

ADMIN = Actor.system("other process")


async def serve(directory: Directory) -> None:
    """One verb for each line: `password NAME WORD`, `disable NAME`, `create NAME`, `delete NAME`, `has NAME`, `close DOMAIN`."""
    for line in sys.stdin:
        verb, name, *rest = line.split()
        account = directory.account_by_address(name)
        answer = "done"
        if verb == "create":
            await directory.create_account("example.test", name.partition("@")[0], actor=ADMIN)
        elif verb == "has":
            answer = "no" if account is None else f"{account.enabled} {account.auth_version}"
        elif verb == "close":
            await directory.disable_domain(name, actor=ADMIN)
        elif verb == "setting":
            answer = str(getattr(directory.settings.service(name), rest[0]))
        else:
            assert account is not None
            if verb == "password":
                await directory.set_password(account.id, rest[0], actor=ADMIN)
            elif verb == "disable":
                await directory.disable_account(account.id, actor=ADMIN)
            elif verb == "delete":
                await directory.delete_account(account.id, actor=ADMIN)
        print(answer, flush=True)


if __name__ == "__main__":
    opened = Directory.open(Path(sys.argv[1]))
    asyncio.run(serve(opened))
    opened.close()
