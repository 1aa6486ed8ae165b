"""Whether the server that users come from takes mail for one of them who has not come yet (MIG-01): asked at RCPT.

Invariants: nobody's mail is taken that cannot be passed on, so no bounce goes to whoever was named as its sender; an answer
is asked for once and kept for some minutes; where none can be had, the sender is told to come back.
"""

from __future__ import annotations

import asyncio
import enum
import re
import time
from collections.abc import Callable

from mailstead.directory.cache import BoundedCache
from mailstead.migration.domains import MigratingDomains
from mailstead.migration.remote import host_address
from mailstead.observe.log import get_logger

log = get_logger("MIGRATION")

AT_ONCE = 16
WAITING = 256
SECONDS = 30.0
KEPT = {"taken": 600.0, "unknown": 120.0}
_reply = re.compile(rb"([2-5]\d\d)([ -]|$)").match


class Answer(enum.Enum):
    """What the other server says to a recipient."""

    TAKEN = "taken"
    UNKNOWN = "unknown"
    LATER = "later"


class RemoteRecipients:
    """One per process. `hostname()` is the name in EHLO."""

    def __init__(self, domains: MigratingDomains, hostname: Callable[[], str]) -> None:
        self._domains = domains
        self._hostname = hostname
        self._known: BoundedCache[tuple[str, int, str], tuple[Answer, float]] = BoundedCache(50_000)
        self._asking: dict[tuple[str, int, str], asyncio.Task[Answer]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        """Ask no more."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def concerns(self, address: str) -> bool:
        """Whether another server may have the user of an address that is unknown here."""
        return self._domains.smtp_host(address.rpartition("@")[2]) is not None

    async def ask(self, address: str) -> Answer:
        """Whether the other server takes mail for the address."""
        host = self._domains.smtp_host(address.rpartition("@")[2])
        if host is None or not address.isascii() or re.search(r"[\x00-\x20<>\x7f]", address):
            return Answer.UNKNOWN
        key = (*host, address.lower())
        known = self._known.get(key)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= WAITING:
                return Answer.LATER
            task = asyncio.get_running_loop().create_task(self._ask(*key))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, host: str, port: int, address: str) -> Answer:
        try:
            async with self._slots, asyncio.timeout(SECONDS):
                answer = await _conversation(host_address(host), port, self._hostname(), address)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            log.warning("migration: the other mail server cannot be asked", host=host, reason=str(error) or "it took too long")
            return Answer.LATER
        if answer is not Answer.LATER:
            self._known.put((host, port, address), (answer, time.monotonic() + KEPT[answer.value]))
        return answer


async def _conversation(host: str, port: int, hostname: str, address: str) -> Answer:
    """Raises OSError, ValueError, IncompleteReadError."""
    reader, writer = await asyncio.open_connection(host, port, limit=16_384)
    try:
        for command, wanted in (
            ("", 2), (f"EHLO {hostname}", 2), ("MAIL FROM:<>", 2), (f"RCPT TO:<{address}>", 0),
        ):  # fmt: skip
            if command:
                writer.write(command.encode() + b"\r\n")
            code = await _code(reader)
            if wanted and code // 100 != wanted:
                log.warning("migration: the other mail server refuses to be asked", host=host, command=command[:4], code=code)
                return Answer.LATER
        if code // 100 == 2:
            return Answer.TAKEN
        # 550, 551, 553 and their kin: there is no such user; 552 is a full mailbox.
        return Answer.UNKNOWN if code // 100 == 5 and code != 552 else Answer.LATER
    finally:
        writer.write(b"QUIT\r\n")
        writer.close()


async def _code(reader: asyncio.StreamReader) -> int:
    for _ in range(100):
        found = _reply(await reader.readuntil(b"\n"))
        if found is None:
            raise ValueError("no SMTP reply")
        if found[2] != b"-":
            return int(found[1])
    raise ValueError("a reply without end")
