"""Tasks of the background process: begun by a command, shown by ATTACH and PEEK, ended by ABORT.

Invariants: a task goes on when the session that began it ends; the command that begins one answers with what it said where it ends
within START_SECONDS, for programs take the result from that reply; ATTACH answers when the task has ended, at the latest after
ATTACH_SECONDS, so that one reply is one write and no connection is idle for too long.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from mailstead.admin_cli.context import CliContext, Command, Condition, Result, make
from mailstead.admin_cli.grammar import CommandError
from mailstead.admin_cli.responses import Reply, lines_of
from mailstead.admin_cli.syntax import Arguments

ATTACH_SECONDS = 240.0
PEEK_SECONDS = 10
START_SECONDS = 3.0
"""Well within the ten seconds after which programs give a reply up."""
POLL_SECONDS = 0.2
FIRST_POLL_SECONDS = 0.01
VERBS = {"findinvalid": "FINDINVALIDMSG"}
MAX_SHOWN = 5000


def seconds_of(text: str) -> float:
    """A timeout in seconds. Raises CommandError."""
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise CommandError("the timeout is a number of seconds")
    return min(float(text), ATTACH_SECONDS)


async def start(context: CliContext, kind: str, **arguments: Any) -> Reply:
    """Begin a task of the context's domain; what it said where it ends soon."""
    begun = await context.session.services.background.call(
        "maintenance.start", kind=kind, domain=scope_of(context, kind), **arguments
    )
    verb = VERBS.get(kind, kind.upper())
    if begun:
        said, state = await _told(context, kind, START_SECONDS)
        if state != "running":
            return _report(said, state)
    how = "begun" if begun else "under way already, and done once more at its end"
    return Reply(notes=(f"{how}; {verb} ATTACH waits for its end, {verb} PEEK shows how far it is, {verb} ABORT ends it",))


def scope_of(context: CliContext, kind: str) -> int:
    """Compaction is the node's, whoever asks for it."""
    return 0 if kind == "compact" else context.domain_id


async def _told(context: CliContext, kind: str, seconds: float) -> tuple[list[str], str]:
    """What a task says until it ends or the time is over, and its state then."""
    background = context.session.services.background
    end = time.monotonic() + seconds
    shown: list[str] = []
    after, pause = 0, FIRST_POLL_SECONDS
    while True:
        told = await background.call("maintenance.lines", kind=kind, domain=scope_of(context, kind), after=after)
        shown += told["lines"]
        after = told["next"]
        if told["state"] != "running" or time.monotonic() >= end:
            return shown, str(told["state"])
        await asyncio.sleep(pause)
        pause = min(2 * pause, POLL_SECONDS)


def _report(shown: list[str], state: str) -> Reply:
    return Reply([*lines_of("\n".join(shown[-MAX_SHOWN:])), f"state: {state}", ""])


async def follow(context: CliContext, kind: str, seconds: float) -> Reply:
    """What a task says, until it ends or the time is over."""
    return _report(*await _told(context, kind, seconds))


def task_commands(verb: str, kind: str, allowed: Condition | None) -> list[Command]:
    """ATTACH, PEEK and ABORT of a verb."""

    async def attach(context: CliContext, arguments: Arguments) -> Result:
        return await follow(context, kind, ATTACH_SECONDS)

    async def peek(context: CliContext, arguments: Arguments) -> Result:
        return await follow(context, kind, seconds_of(arguments.get("timeout", str(PEEK_SECONDS))))

    async def abort(context: CliContext, arguments: Arguments) -> Result:
        await context.session.services.background.call("maintenance.abort", kind=kind, domain=scope_of(context, kind))
        return None

    return [
        make(f"{verb} attach", "waits for the end of what is under way, and shows what it said", attach, allowed=allowed),
        make(f"{verb} peek [<timeout>]", "shows what is under way for some seconds", peek, allowed=allowed),
        make(f"{verb} abort", "ends what is under way", abort, allowed=allowed),
    ]


def finished_commands(verb: str, allowed: Condition | None) -> list[Command]:
    """The same of a verb whose work is done when it is answered."""

    def none(context: CliContext, arguments: Arguments) -> Result:
        raise CommandError(f"none is under way: {verb} has done its work when it is answered")

    return [
        make(f"{verb} attach", "there is nothing to wait for", none, allowed=allowed),
        make(f"{verb} peek [<timeout>]", "there is nothing to wait for", none, allowed=allowed),
        make(f"{verb} abort", "there is nothing to end", none, allowed=allowed),
    ]
