"""Verbs that only the background process can run, called from the others over a unix stream socket.

Invariants: only this user's processes reach the socket (mode 0600); a call has one answer, given when its work is done; a
caller that goes away
does not stop the work; a verb that is not known, or fails by our fault, is told as such.

One line of JSON each way: `{"verb", "arguments"}`, then `{"result"}`, `{"refused"}` (words for the administrator) or
`{"fault"}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from mailstead.observe.log import fault, get_logger

log = get_logger("SERVER")

MAX_LINE = 16 * 1024 * 1024
CONNECT_SECONDS = 5.0
SOCKET = "background.sock"
Verb = Callable[[Mapping[str, Any]], Awaitable[Any]]


class BackgroundRefusedError(Exception):
    """The verb was refused; the text is for the administrator."""


class BackgroundMissingError(Exception):
    """The background process does not answer now."""


class BackgroundVerbs:
    """The verbs of a background process; in a single process they are called directly."""

    def __init__(self) -> None:
        self._verbs: dict[str, Verb] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, name: str, verb: Verb) -> None:
        """Offer a verb."""
        self._verbs[name] = verb

    async def call(self, verb: str, **arguments: Any) -> Any:
        """Run a verb here. Raises BackgroundRefusedError."""
        found = self._verbs.get(verb)
        if found is None:
            raise BackgroundMissingError(f"there is no verb {verb}")
        return await found(arguments)

    async def listen(self, directory: Path) -> None:
        """Answer other processes of the node."""
        path = directory / SOCKET
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(path), limit=MAX_LINE)
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Listen no more; work that runs is waited for."""
        if self._server is not None:
            self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            line = await reader.readline()
            answer = await self._answer(line)
            writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        except (ValueError, ConnectionError):
            return
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            return {"result": await self.call(str(request["verb"]), **request["arguments"])}
        except BackgroundRefusedError as error:
            return {"refused": str(error)}
        except BackgroundMissingError as error:
            return {"missing": str(error)}
        except Exception as error:
            return {"fault": fault(log, "a background verb failed", error)}


class BackgroundClient:
    """Calls the background process of the node."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / SOCKET

    async def call(self, verb: str, **arguments: Any) -> Any:
        """The verb's result. Raises BackgroundRefusedError, BackgroundMissingError."""
        # Of a scan of a large domain these are megabytes.
        request = await asyncio.to_thread(lambda: json.dumps({"verb": verb, "arguments": arguments}).encode() + b"\n")
        if len(request) > MAX_LINE:
            raise BackgroundRefusedError("this names too much at once; name less")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=MAX_LINE)
        except (OSError, TimeoutError) as error:
            raise BackgroundMissingError("the background process does not answer now") from error
        try:
            writer.write(request)
            await writer.drain()
            line = await reader.readline()
        except ConnectionError as error:
            raise BackgroundMissingError("the background process ended meanwhile") from error
        except ValueError as error:
            raise BackgroundMissingError("the answer of the background process is too long") from error
        finally:
            writer.close()
        if not line:
            raise BackgroundMissingError("the background process ended meanwhile")
        answer = json.loads(line)
        if "refused" in answer:
            raise BackgroundRefusedError(str(answer["refused"]))
        if "result" not in answer:
            raise BackgroundMissingError(f"the background process failed, reference {answer.get('fault', answer.get('missing'))}")
        return answer["result"]
