"""Sieve scripts of accounts, run over the mail that is for them (features FLT-10, FLT-13).

Invariants: a script cannot lose mail by a fault: whatever fails, the message goes where it would have gone without the
script, and the log says so; a script is run once for an account and message, whoever redirects to it.

Scripts run in a thread, for a hostile one may use its whole number of steps. Of a message that is spooled to a file of its
own the header alone is seen: a ``body`` test finds nothing there.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from mailstead.delivery.model import AcceptedMessage
from mailstead.directory.model import Account
from mailstead.mailbox.names import canonical
from mailstead.mailbox.service import Mailbox
from mailstead.message.addresses import parse_addresses
from mailstead.message.decode import decode_header, text_of, walk
from mailstead.message.headers import field_values, header_end
from mailstead.message.html_text import html_to_text
from mailstead.message.index import index_message
from mailstead.message.sections import load_parts
from mailstead.observe.log import fault, get_logger
from mailstead.sieve.actions import Action, Keep
from mailstead.sieve.check import Script, check
from mailstead.sieve.evaluate import RuntimeFailure, evaluate
from mailstead.sieve.grammar import SieveError

log = get_logger("PROCESSING")

MAX_COMPILED = 500
MAX_COMPILED_TEXT = 2 << 20
"""Characters of compiled scripts; what is made of them takes about twenty times as many octets."""
CHECKED_AT_ONCE = 2_000
"""Characters of a script that is compiled in the event loop."""
RUNS_AT_ONCE = 4
MAX_HEADER = 512 * 1024
MAX_BODY = 10 << 20


@dataclass(slots=True)
class ScriptedMail:
    """A message as scripts see it; see ``sieve.actions.Mail``."""

    head: bytes
    octets: bytes
    size: int
    sender: str
    recipient: str
    folders: frozenset[str] = frozenset()
    _last: tuple[tuple[str, tuple[str, ...]], list[str]] | None = None

    def header(self, name: str) -> Sequence[str]:
        """All values of a field."""
        return [decode_header(value).strip() for value in field_values(self.head, name.encode("utf-8", "replace"))]

    def addresses(self, name: str) -> Sequence[str]:
        """All addresses of all fields of that name."""
        values = field_values(self.head, name.encode("utf-8", "replace"))
        return [entry.addr for value in values for entry in parse_addresses(value) if entry.addr]

    def envelope(self, part: str) -> Sequence[str]:
        """Sender or recipient."""
        return [self.sender if part == "from" else self.recipient]

    def body(self, transform: str, types: Sequence[str]) -> Sequence[str]:
        """RFC 5173: the body as it came, or its text parts, or parts of certain types."""
        asked = transform, tuple(types)
        if self._last is None or self._last[0] != asked:
            self._last = asked, self._body(transform, types)
        return self._last[1]

    def _body(self, transform: str, types: Sequence[str]) -> list[str]:
        octets = self.octets
        if transform == "raw":
            return [octets[header_end(octets) :].decode("utf-8", "replace")]
        wanted = [name.lower() for name in types] if transform == "content" else ["text"]
        out = []
        for part in walk(load_parts(index_message(octets).parts)):
            name = f"{part.type}/{part.subtype}".lower()
            if part.children or not any(not one or one in (part.type.lower(), name) for one in wanted):
                continue
            text = text_of(octets, part)
            out.append(html_to_text(text) if transform == "text" and part.subtype.lower() == "html" else text)
        return out

    def mailbox_exists(self, name: str) -> bool:
        """Whether the account can put mail there."""
        return canonical(name) in self.folders


class Scripts:
    """Active scripts of the accounts, compiled."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._compiled: OrderedDict[str, Script | None] = OrderedDict()
        self._characters = 0
        self._runs = asyncio.Semaphore(RUNS_AT_ONCE)

    def has(self, account: Account) -> bool:
        """Whether mail of the account runs through a script, at once."""
        return self._mailbox.active_script(account.id, account.shard) is not None

    async def of(self, account: Account) -> Script | None:
        """The account's active script; None where it has none, or one that this release does not take."""
        text = self._mailbox.active_script(account.id, account.shard)
        if text is None:
            return None
        if text in self._compiled:
            self._compiled.move_to_end(text)
            return self._compiled[text]
        script: Script | None
        try:
            script = check(text) if len(text) <= CHECKED_AT_ONCE else await asyncio.to_thread(check, text)
        except SieveError as error:
            log.error("a script is not valid any more", account=account.address, reason=str(error))
            script = None
        if text not in self._compiled:
            self._characters += len(text)
        self._compiled[text] = script
        while len(self._compiled) > MAX_COMPILED or (self._characters > MAX_COMPILED_TEXT and len(self._compiled) > 1):
            self._characters -= len(self._compiled.popitem(last=False)[0])
        return script

    async def run(self, script: Script, account: Account, recipient: str, message: AcceptedMessage) -> list[Action]:
        """What the account's script wants done with the message. Never raises for what a script does."""
        spool = message.spool
        head = message.trace + (spool.head(MAX_HEADER) if spool is not None else message.body[:MAX_HEADER])
        octets = head
        if "body" in script.extensions:
            if spool is None:
                octets = message.trace + message.body
            elif not spool.external and message.size <= MAX_BODY:
                octets = message.trace + await asyncio.to_thread(spool.octets)
        folders: frozenset[str] = frozenset()
        if "mailbox" in script.extensions:
            visible = await self._mailbox.visible(account.id)
            folders = frozenset(folder.name for folder in visible if set("ip") & set(folder.rights))
        mail = ScriptedMail(head[: header_end(head) or len(head)], octets, message.size, message.sender, recipient, folders)
        try:
            async with self._runs:
                return await asyncio.to_thread(evaluate, script, mail, time.time())
        except RuntimeFailure as error:
            log.warning("script failed, message kept", account=account.address, message=message.id, reason=str(error))
        except Exception as error:  # a fault of ours must not lose mail either
            fault(log, "script failed by our own error, message kept", error, account=account.address, message=message.id)
        return [Keep()]
